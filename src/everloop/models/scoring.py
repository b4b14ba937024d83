"""Forecasts for callers that speak in rows, such as MLflow's scoring protocol: columns in, columns out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError, nearest
from everloop.data.panel import Panel
from everloop.models.asking import ask
from everloop.models.forecaster import Forecast, Forecaster, ForecastRequest

__all__ = ["score_rows"]

Columns = dict[str, list[Any]]


def score_rows(
    model: Forecaster,
    columns: Mapping[str, Sequence[Any]],
    *,
    horizon: int | None = None,
    levels: Sequence[float] = (),
    time: str = "time",
) -> Columns:
    """Forecasts for rows.

    Without the time column every row names a series, and the answer holds one row for each series and step: the
    series columns, the time column, ``forecast``, and ``lo-80``, ``hi-80`` for each level. With the time column the
    answer holds one row for each row asked, in the same order; known-ahead columns in the rows then stand in for
    the stored values of their dates (a what-if), and an empty cell keeps the stored one.

    Args:
        model: a fitted forecaster.
        columns: equally long lists by column name; times are ISO texts, dates or instants.
        horizon: the steps asked where there is no time column; the model's longest by default.
        levels: the intervals wanted, in percent.
        time: the time column's name.

    Raises:
        RequestError: a column is missing or unknown, a series is unknown, or a time cannot be read or forecast.
    """
    panel = model.series_panel()
    table = {name: list(values) for name, values in columns.items()}
    _check_columns(panel, table, time)
    rows = _series_of_rows(panel, table)
    if time not in table:
        series = np.array(list(dict.fromkeys(rows)), dtype=np.int64)
        if horizon is None and not isinstance(getattr(model, "horizon_", None), int):
            raise RequestError("horizon", "the horizon is not given", hint="send the times wanted, or a horizon")
        steps = horizon if horizon is not None else int(getattr(model, "horizon_", 0))
        answer = ask(model, ForecastRequest(steps, tuple(levels), series))
        index = np.repeat(np.arange(len(series)), steps)
        return _answer(panel, answer, index, np.tile(np.arange(1, steps + 1), len(series)), time)
    step = _steps_of_rows(panel, table[time], time)
    series, index = np.unique(np.array(rows, dtype=np.int64), return_inverse=True)
    reach = int(step.max()) if len(step) else 1
    future = _future_of_rows(panel, table, (len(series), reach), index, step)
    answer = ask(model, ForecastRequest(reach, tuple(levels), series, future))
    return _answer(panel, answer, index, step, time)


def _check_columns(panel: Panel, table: Columns, time: str) -> None:
    known = {*panel.series_columns, time, *panel.known}
    for name in table:
        if name not in known:
            raise RequestError(
                "column_unknown",
                f"{name!r} is no column of the model's input",
                hint=nearest(name, known),
                path=f"columns.{name}",
            )
    missing = [name for name in panel.series_columns if name not in table]
    if missing:
        raise RequestError(
            "column_missing",
            f"the column {missing[0]!r} is missing",
            hint=f"rows name their series by {', '.join(panel.series_columns)}",
            path=f"columns.{missing[0]}",
        )
    if len({len(values) for values in table.values()}) > 1:
        lengths = {name: len(values) for name, values in table.items()}
        raise RequestError(
            "column_lengths", f"columns have different lengths: {lengths}", hint="give one value a row in each column"
        )


def _series_of_rows(panel: Panel, table: Columns) -> list[int]:
    keys = list(zip(*(map(_text, table[name]) for name in panel.series_columns), strict=True))
    numbers = {key: panel.position(key) for key in dict.fromkeys(keys)}
    return [numbers[key] for key in keys]


def _text(value: Any) -> str:
    """A key as the panel spells it: a whole number that came as a float loses its point."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _steps_of_rows(panel: Panel, values: list[Any], time: str) -> NDArray[np.int64]:
    try:
        instants = np.array([_instant(value) for value in values], dtype="M8[us]")
    except (ValueError, TypeError) as error:
        raise RequestError(
            "time_value", f"a time cannot be read: {error}", hint="write ISO dates, such as 2011-12-09", path=time
        ) from None
    frequency = panel.frequency
    is_odd = np.isnat(instants) | ~frequency.is_on_grid(instants)
    if is_odd.any():
        shown = values[int(np.argmax(is_odd))]
        raise RequestError(
            "time_value",
            f"{shown!r} is no instant of the grid",
            hint=f"the grid's step is {frequency.text}; the next instant is {frequency.label(panel.ahead(1)[0])}",
            path=time,
        )
    step = frequency.index(instants) - panel.cutoff
    if (step < 1).any():
        shown = values[int(np.argmin(step))]
        raise RequestError(
            "time_past",
            f"{shown!r} is not after the model's cutoff",
            hint=f"forecasts begin at {frequency.label(panel.ahead(1)[0])}",
            path=time,
        )
    return step


def _instant(value: Any) -> np.datetime64:
    """One instant in UTC, without its zone."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value, "us")


def _future_of_rows(
    panel: Panel, table: Columns, shape: tuple[int, int], index: NDArray[np.int64], step: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    future = {}
    for name in panel.known:
        if name in table:
            block = np.full(shape, np.nan, dtype=np.float32)
            codes = {text: code for code, text in enumerate(panel.categories.get(name, ()))}
            block[index, step - 1] = [_number(value, name, codes) for value in table[name]]
            future[name] = block
    return future


def _number(value: Any, name: str, codes: Mapping[str, int]) -> float:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if codes:
        if str(value) not in codes:
            raise RequestError(
                "future_value",
                f"{value!r} is no value of {name!r} that the model has seen",
                hint=nearest(str(value), codes),
                path=f"columns.{name}",
            )
        return float(codes[str(value)])
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RequestError(
            "future_value", f"{value!r} is no number for {name!r}", hint="give a number", path=f"columns.{name}"
        ) from None


def _answer(panel: Panel, answer: Forecast, index: NDArray[np.int64], step: NDArray[np.int64], time: str) -> Columns:
    """One row for each pair of a row of the forecast and a step."""
    keys = [panel.keys[int(answer.series[row])] for row in index.tolist()]
    out: Columns = {name: [key[place] for key in keys] for place, name in enumerate(panel.series_columns)}
    labels = [panel.frequency.label(instant) for instant in panel.ahead(answer.mean.shape[1])]
    out[time] = [labels[each - 1] for each in step.tolist()]
    out["forecast"] = answer.mean[index, step - 1].tolist()
    for level in sorted(answer.lower):
        out[f"lo-{level:g}"] = _cells(answer.lower[level][index, step - 1])
        out[f"hi-{level:g}"] = _cells(answer.upper[level][index, step - 1])
    return out


def _cells(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers, ``None`` where there is too little evidence for an interval."""
    return [None if math.isnan(value) else value for value in values.tolist()]
