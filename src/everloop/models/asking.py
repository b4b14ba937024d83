"""Asking a forecaster: the one door through which backtest, batch and server get their forecasts.

The request is checked against the model once, closed weekdays become zero, and what comes back is checked too, so
that a faulty model is an error with a name and not an odd number on a shelf.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, RequestError, nearest
from everloop.data.panel import Panel, join_key
from everloop.models.closing import closed_steps
from everloop.models.forecaster import Forecast, Forecaster, ForecastRequest

__all__ = ["ask"]

# Bounds are compared after float32 storage and unit changes of a user's own model.
_TOLERANCE = 1e-6


def ask(model: Forecaster, request: ForecastRequest, *, missing_ahead: Literal["last", "error"] = "last") -> Forecast:
    """The model's forecast, checked.

    Args:
        model: a fitted forecaster.
        request: what is asked.
        missing_ahead: whether a known-ahead number that is missing is an error; else the model takes the last known.

    Returns:
        The forecast for exactly the asked series and steps. On closed weekdays it is zero and its interval too. Its
        notes are sorted: those of all series are those of some and of the others.

    Raises:
        RequestError: horizon, levels, series or future values do not fit the model.
        ModelError: the model gave another shape, a value that is not finite, or intervals that cross.
    """
    panel = model.series_panel()
    series = _series(panel, request)
    _check_fit(model, panel, request, len(series))
    if missing_ahead == "error":
        _check_known(panel, request, series)
    levels = tuple(dict.fromkeys(request.levels))
    answer = model.forecast(replace(request, series=series, levels=levels))
    answer = replace(answer, notes=tuple(sorted(set(answer.notes))))
    return _verified(_closed(panel, answer), request, series)


def _series(panel: Panel, request: ForecastRequest) -> NDArray[np.int64]:
    """The numbers of the asked series."""
    if request.series is None:
        return np.arange(panel.n_series)
    series = np.asarray(request.series, dtype=np.int64)
    if series.ndim != 1 or (len(series) and (series.min() < 0 or series.max() >= panel.n_series)):
        raise RequestError(
            "series_unknown",
            f"series are numbered from 0 to {panel.n_series - 1}",
            hint="find a series' number by its key: panel.position(key)",
            path="series",
        )
    return series


def _check_fit(model: Forecaster, panel: Panel, request: ForecastRequest, n: int) -> None:
    """Raise where horizon, levels or future values do not fit the model."""
    if request.horizon < 1:
        raise RequestError(
            "horizon", f"a horizon of {request.horizon} steps cannot be", hint="ask at least 1 step", path="horizon"
        )
    fitted = getattr(model, "horizon_", None)
    if isinstance(fitted, int) and request.horizon > fitted:
        raise RequestError(
            "horizon",
            f"the model forecasts at most {fitted} steps, not {request.horizon}",
            hint="ask fewer steps, or set forecast.horizon and train again",
            path="horizon",
        )
    for level in request.levels:
        if not 0 < level < 100:
            raise RequestError(
                "level", f"{level} is not a level in percent", hint="give levels between 0 and 100", path="levels"
            )
    shape = (n, request.horizon)
    for name, values in request.future.items():
        if name not in panel.known:
            raise RequestError(
                "future_unknown", f"{name!r} is no known-ahead column", hint=nearest(name, panel.known), path="future"
            )
        if values.shape != shape:
            raise RequestError(
                "future_shape",
                f"the future values of {name!r} have shape {values.shape}, not {shape}",
                hint="give one value for each series and step; null keeps the stored one",
                path=f"future.{name}",
            )
        if np.isinf(values).any():
            raise RequestError(
                "future_value", f"a future value of {name!r} is infinite", hint="give numbers", path=f"future.{name}"
            )


def _check_known(panel: Panel, request: ForecastRequest, series: NDArray[np.int64]) -> None:
    """Raise for a known-ahead number that neither the panel nor the request knows."""
    horizon = request.horizon
    for name in sorted(set(panel.known) - set(panel.categories)):
        values = np.full((len(series), horizon), np.nan, dtype=np.float32)
        if name in panel.future.columns:
            stored = panel.future.columns[name][series, :horizon]
            values[:, : stored.shape[1]] = stored
        if name in request.future:
            values = np.where(np.isnan(request.future[name]), values, request.future[name])
        values[:, closed_steps(panel, horizon)] = 0.0
        where = np.argwhere(np.isnan(values))
        if len(where):
            key = join_key(panel.keys[int(series[where[0][0]])])
            raise RequestError(
                "future_missing",
                f"{name!r} of series {key!r} is not known at step {where[0][1] + 1} ({len(where)} values are missing)",
                hint="bring the values by data.future_source, send them, or set data.missing_ahead = 'last'",
                path=f"future.{name}",
            )


def _closed(panel: Panel, answer: Forecast) -> Forecast:
    """The forecast with zeros on closed weekdays."""
    closed = closed_steps(panel, answer.mean.shape[1]) if answer.mean.ndim == 2 else np.zeros(0, dtype=np.bool_)
    if not closed.any():
        return answer

    def shut(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(closed[None, :], 0.0, values)

    return replace(
        answer,
        mean=shut(answer.mean),
        lower={level: shut(values) for level, values in answer.lower.items()},
        upper={level: shut(values) for level, values in answer.upper.items()},
    )


def _verified(answer: Forecast, request: ForecastRequest, series: NDArray[np.int64]) -> Forecast:
    """The forecast, if it is what a forecast must be."""
    shape = (len(series), request.horizon)
    if answer.mean.shape != shape or not np.array_equal(answer.series, series):
        raise _fault("forecast_shape", f"a forecast of shape {answer.mean.shape} for {shape} was given")
    if not np.isfinite(answer.mean).all():
        raise _fault("forecast_value", "a forecast is not finite")
    slack = _TOLERANCE * (1.0 + np.abs(answer.mean))
    inner_low, inner_high = answer.mean, answer.mean
    for level in sorted(request.levels):
        low, high = answer.lower.get(level), answer.upper.get(level)
        if low is None or high is None or low.shape != shape or high.shape != shape:
            raise _fault("forecast_levels", f"there is no interval of level {level:g} in the forecast")
        if np.isinf(low).any() or np.isinf(high).any() or (np.isnan(low) != np.isnan(high)).any():
            raise _fault("forecast_value", f"an interval of level {level:g} is not finite")
        if (low > inner_low + slack).any() or (high < inner_high - slack).any():
            raise _fault(
                "forecast_levels", f"the interval of level {level:g} does not hold the forecast or a lower level"
            )
        inner_low, inner_high = np.fmin(low, inner_low), np.fmax(high, inner_high)
    return answer


def _fault(code: str, sentence: str) -> ModelError:
    return ModelError(code, sentence, hint="the forecaster is faulty; see everloop.models.checks")
