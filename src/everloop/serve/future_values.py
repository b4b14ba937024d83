"""Known-ahead values of a what-if, in every form that a request may give them, as a model takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError, nearest
from everloop.data.panel import Panel

__all__ = ["future_column", "with_own"]

Floats = NDArray[np.float32]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def with_own(future: Mapping[str, Any], own: Sequence[Mapping[str, Any]], steps: int) -> dict[str, Any]:
    """The common future values with each series' own ones over them."""
    result = dict(future)
    for name in dict.fromkeys(name for each in own for name in each):
        common = _rows(future.get(name), name, (len(own), steps))
        result[name] = [
            _row(each[name], f"series[{place}].future.{name}", steps) if name in each else common[place]
            for place, each in enumerate(own)
        ]
    return result


def _rows(values: Any, name: str, shape: tuple[int, int]) -> list[list[Any]]:
    """Values of any allowed form as one list for each series."""
    n, steps = shape
    path = f"future.{name}"
    if isinstance(values, list | tuple) and values and all(isinstance(each, list | tuple) for each in values):
        if len(values) != n:
            raise RequestError(
                "future_shape",
                f"{name!r} has {len(values)} lists for {n} series",
                hint="give one list for each series, or one for all",
                path=path,
            )
        return [_row(each, f"{path}[{place}]", steps) for place, each in enumerate(values)]
    row = _row(values, path, steps)
    return [row] * n


def _row(values: Any, path: str, steps: int) -> list[Any]:
    if not isinstance(values, list | tuple):
        return [values] * steps
    if len(values) != steps:
        raise RequestError(
            "future_shape",
            f"{len(values)} values were given for {steps} steps",
            hint="give one value for each step, or a single one for all; null keeps the stored one",
            path=path,
        )
    return list(values)


def future_column(name: str, values: Any, panel: Panel, shape: tuple[int, int]) -> Floats:
    """One column of what-if values as the model takes them, shape ``(series, steps)``.

    Raises:
        RequestError: the panel knows no such column ahead, the values are of another shape, or one is unknown.
    """
    if name not in panel.known:
        hint = nearest(name, panel.known) if panel.known else "this project has no known-ahead columns"
        raise RequestError("future_unknown", f"{name!r} is no known-ahead column", hint=hint, path=f"future.{name}")
    codes = panel.categories.get(name)
    lookup = None if codes is None else {text: float(code) for code, text in enumerate(codes)}
    if not isinstance(values, list | tuple):  # one value for all: the usual what-if
        return np.full(shape, _number(values, lookup, f"future.{name}"), dtype=np.float32)
    rows = _rows(values, name, shape)
    out = np.empty(shape, dtype=np.float32)
    converted: dict[int, list[float]] = {}  # series that share one list share its conversion
    for place, row in enumerate(rows):
        if id(row) not in converted:
            converted[id(row)] = [_number(value, lookup, f"future.{name}") for value in row]
        out[place] = converted[id(row)]
    return out


def _number(value: Any, codes: Mapping[str, float] | None, path: str) -> float:
    """One value as the model takes it: a number, or the code of a text; NaN for null."""
    if value is None:
        return math.nan
    if codes is not None:
        text = value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
        if text not in codes:
            raise RequestError(
                "future_value", f"{text[:60]!r} is no known value", hint=nearest(text[:60], codes), path=path
            )
        return codes[text]
    if not isinstance(value, int | float) or not -_FLOAT32_MAX <= value <= _FLOAT32_MAX:
        raise RequestError(
            "future_value",
            f"expected a number, got {value!r:.60}",
            hint="give numbers, or null to keep the stored value",
            path=path,
        )
    return float(value)
