"""Forecasts in the protocol's terms: from tensors to a query, and from an answer to tensors.

Inputs are ``series`` (BYTES, one text for each series), or one tensor for each series column, and perhaps known-ahead
columns of shape ``[series, steps]``, in which a missing number keeps the stored value. Parameters are ``horizon`` and
``levels``. Outputs are ``forecast``, ``lo-80``, ``hi-80`` ... of shape ``[series, steps]`` and ``time`` of shape
``[steps]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError, nearest
from everloop.data.panel import join_key
from everloop.serve.answers import Answer
from everloop.serve.query import ForecastQuery, level_labels
from everloop.serve.served import Served
from everloop.serve.v2.messages import InputTensor, Wishes

__all__ = ["check_wanted", "forecast_inputs", "forecast_outputs", "outputs_of", "query_of"]


def query_of(tensors: Sequence[InputTensor], parameters: Mapping[str, Any], served: Served) -> ForecastQuery:
    """The question that tensors and parameters ask of a forecaster.

    Raises:
        RequestError: a tensor or parameter is none that it takes.
    """
    columns = served.panel.series_columns
    known = ("series", *columns, *served.panel.known)
    for each in tensors:
        if each.name not in known:
            short = each.name[:80]
            raise RequestError("input_unknown", f"{short!r} is no input", hint=nearest(short, known), path=each.path)
    given = {each.name: each for each in tensors}
    series = _series_of(given, columns)
    n = len(served.keys) if series is None else len(series)
    future = {
        name: _rows_of(tensor, n)
        for name, tensor in given.items()
        if name in served.panel.known and name != "series" and name not in columns
    }
    return ForecastQuery(series, _horizon(parameters), _levels(parameters), future)


def _series_of(
    given: Mapping[str, InputTensor], columns: tuple[str, ...]
) -> tuple[str | Mapping[str, Any], ...] | None:
    """The series that the tensors name; ``None``, which is all, where none does."""
    if "series" in given and "series" not in columns:
        return tuple(_texts(given["series"]))
    if not any(name in given for name in columns):
        return None
    missing = [name for name in columns if name not in given]
    if missing:
        raise RequestError(
            "input_missing",
            f"the series column {missing[0]!r} is missing",
            hint=f"give a tensor for each of {', '.join(columns)}, or 'series' alone",
            path="inputs",
        )
    texts = [_texts(given[name]) for name in columns]
    if len({len(each) for each in texts}) > 1:
        raise RequestError(
            "input_shape", "the series columns have different lengths", hint="one element a series", path="inputs"
        )
    return tuple(join_key(row) for row in zip(*texts, strict=True))


def _texts(tensor: InputTensor) -> list[str]:
    try:
        flat = tensor.array.ravel().tolist()
        return [each.decode("utf-8") if isinstance(each, bytes) else str(each) for each in flat]
    except UnicodeDecodeError:
        raise RequestError(
            "input_data", f"{tensor.name!r} has bytes that are no text in UTF-8", hint="send UTF-8", path=tensor.path
        ) from None


def _rows_of(tensor: InputTensor, n: int) -> list[list[Any]]:
    """A known-ahead tensor as one list for each series, ``None`` where a number is missing."""
    array = tensor.array
    if array.ndim != 2 or array.shape[0] != n:
        raise RequestError(
            "input_shape",
            f"{tensor.name!r} has shape {list(array.shape)}, not [{n}, steps]",
            hint="a row a series",
            path=tensor.path,
        )
    if array.dtype.kind == "O":
        texts = _texts(tensor)
        steps = array.shape[1]
        return [texts[place * steps : (place + 1) * steps] for place in range(n)]
    if array.dtype.kind == "f":
        return [[None if value != value else value for value in row] for row in array.tolist()]
    return list(array.tolist())


def _horizon(parameters: Mapping[str, Any]) -> int | None:
    for name in parameters:
        if name not in ("horizon", "levels"):
            short = name[:80]
            hint = nearest(short, ["horizon", "levels"])
            raise RequestError("field_unknown", f"{short!r} is no parameter", hint=hint, path=f"parameters.{short}")
    value = parameters.get("horizon")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise RequestError(
            "field", f"expected a whole number, got {value!r:.40}", hint="steps", path="parameters.horizon"
        )
    return int(value)


def _levels(parameters: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Levels as a list, a number, or a text with commas, since the protocol's parameters are scalars."""
    value = parameters.get("levels")
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    try:
        if any(isinstance(part, bool) for part in parts):
            raise ValueError
        return tuple(float(part) for part in parts if part != "")
    except (TypeError, ValueError, OverflowError):
        raise RequestError(
            "field", f"expected levels in percent, got {value!r:.60}", hint="'80,95'", path="parameters.levels"
        ) from None


def forecast_inputs(served: Served) -> list[dict[str, Any]]:
    """The inputs as the protocol's metadata names them."""
    ahead = [
        {"name": name, "datatype": "BYTES" if name in served.panel.categories else "FP64", "shape": [-1, -1]}
        for name in sorted(served.panel.known)
    ]
    return [{"name": "series", "datatype": "BYTES", "shape": [-1]}, *ahead]


def forecast_outputs(levels: Sequence[float]) -> list[dict[str, Any]]:
    """The outputs as the protocol's metadata names them."""
    return [
        {"name": "time", "datatype": "BYTES", "shape": [-1]},
        *({"name": name, "datatype": "FP64", "shape": [-1, -1]} for name in _bounds(levels)),
    ]


def check_wanted(wishes: Wishes, levels: Sequence[float]) -> None:
    """Refuse an output that there will not be, before anything is computed.

    Raises:
        RequestError: there is no such output.
    """
    known = ["time", *_bounds(levels)]
    for place, name in enumerate(wishes.outputs):
        if name not in known:
            short = name[:80]
            hint = nearest(short, known)
            raise RequestError("output_unknown", f"{short!r} is no output", hint=hint, path=f"outputs[{place}]")


def outputs_of(answer: Answer, wishes: Wishes) -> dict[str, NDArray[Any]]:
    """The output tensors that are wanted, in the order asked."""
    values = answer.values
    outputs: dict[str, NDArray[Any]] = {"forecast": values.mean}
    for level in values.lower:
        low, high = level_labels(level)
        outputs[low], outputs[high] = values.lower[level], values.upper[level]
    labels = np.empty(len(answer.labels), dtype=object)
    labels[:] = answer.labels
    outputs["time"] = labels
    return {name: outputs[name] for name in wishes.outputs} if wishes.outputs else outputs


def _bounds(levels: Sequence[float]) -> list[str]:
    return ["forecast", *(name for level in levels for name in level_labels(level))]
