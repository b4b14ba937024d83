"""Exponential smoothing (ETS), a model for each series: level and season, and a trend for months and longer.

Parameters are estimated with statsforecast's own ETS; forecasts are computed at ``fit`` and ``update`` and kept as
arrays, so that serving needs NumPy alone. Only additive forms are tried, since demand holds zeros; a trend is left
out for steps shorter than a month, where it costs eight times the time and mostly harms far steps.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.models.closing import is_closed, open_season
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from everloop.models.intervals import ErrorPools, PastErrors, error_unit, no_errors
from everloop.models.smoothing import Smoothing, fit_smoothing, plain_smoothing
from everloop.models.state import load_arrays, load_head, load_panel, save_arrays, save_head, save_panel

__all__ = ["ETSForecaster"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_JUDGED_SERIES = 300
_STATE = tuple(each.name for each in fields(Smoothing))


class ETSForecaster:
    """AutoETS for each series, among the additive forms, by AICc.

    Closed weekdays are taken out of the grid and shorten the season. A series that is constant, or shorter than
    two seasons, is smoothed with a fixed weight; so is one that appears first in an update. An update walks on
    with the parameters of the fit.

    Args:
        history: how many of the last periods parameters are estimated from.
        trend: whether a trend is tried; for steps of a month and longer where it is ``None``.
        windows: how many horizons before the end the intervals are measured on, by parameters estimated before.
    """

    memory: int = 0

    def __init__(self, history: int = 400, *, trend: bool | None = None, windows: int = 3) -> None:
        self.history = history
        self.trend = trend
        self.windows = windows

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Estimate the parameters of each series and measure past errors.

        Raises:
            ModelError: the history is not positive.
        """
        if self.history < 1:
            raise ModelError("history", f"a history of {self.history} steps cannot be", hint="give 1 or more")
        self.memory = self.history
        self.horizon_ = context.horizon
        self.panel_ = panel.tail(self.history)
        grid = _Grid.of(self.panel_, self.history)
        self.start_ = self._fitted(grid, context.threads)
        lowest = -np.inf if bool((panel.y < 0).any()) else 0.0
        past = self._past_errors(panel, context)
        seed = derive_seed(context.seed, "ets")
        self.errors_ = ErrorPools.collect(past, horizon=context.horizon, lowest=lowest, seed=seed)
        self._look_ahead(grid)
        return self

    def update(self, panel: Panel) -> Self:
        """A copy that has walked on to the panel's cutoff with the same parameters."""
        new = type(self)(**self.parameters())
        new.memory, new.horizon_, new.errors_ = self.memory, self.horizon_, self.errors_
        new.panel_ = panel.tail(self.memory)
        grid = _Grid.of(new.panel_, self.memory)
        before = _Grid.of(self.panel_, self.memory)
        # the fit's state stands before its history: walk it on to the beginning of the new one
        gone = before.index <= panel.cutoff - self.memory
        walked = self.start_.advance(before.y[:, gone], before.first)
        rows = {key: row for row, key in enumerate(self.panel_.keys)}
        known = np.array([rows.get(key, -1) for key in new.panel_.keys], dtype=np.int64)
        is_known = known >= 0
        start = Smoothing.join([walked.take(known[is_known]), plain_smoothing(grid.y[~is_known], grid.season)])
        order = np.argsort(np.concatenate([np.flatnonzero(is_known), np.flatnonzero(~is_known)]))
        new.start_ = start.take(order)
        new._look_ahead(grid)
        return new

    def forecast(self, request: ForecastRequest) -> Forecast:
        """The forecasts that ``fit`` or ``update`` computed, for the asked series."""
        series = np.arange(self.panel_.n_series) if request.series is None else request.series
        mean = self.mean_[series, : request.horizon]
        unit = error_unit(mean, self.scale_[series, None], self.deviation_[series, None], self.errors_.lowest)
        return self.errors_.forecast(Forecast(series, self.panel_.cutoff, mean), unit, request.levels)

    def series_panel(self) -> Panel:
        """The history of the panel last seen."""
        return self.panel_

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        return {"history": self.history, "trend": self.trend, "windows": self.windows}

    def save(self, folder: Path) -> None:
        """Write parameters, states, forecasts, history and past errors."""
        save_head(folder, {"parameters": self.parameters(), "horizon": self.horizon_})
        arrays = {name: getattr(self.start_, name) for name in _STATE}
        arrays |= {"mean": self.mean_, "scale": self.scale_, "deviation": self.deviation_}
        save_arrays(folder / "smoothing", arrays)
        save_panel(folder, self.panel_)
        self.errors_.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; statsforecast is not imported."""
        head = load_head(folder)
        model = cls(**head["parameters"])
        model.memory, model.horizon_ = model.history, head["horizon"]
        arrays = load_arrays(folder / "smoothing", [*_STATE, "mean", "scale", "deviation"])
        model.start_ = Smoothing(**{name: arrays[name] for name in _STATE})
        model.mean_, model.scale_, model.deviation_ = arrays["mean"], arrays["scale"], arrays["deviation"]
        model.panel_ = load_panel(folder)
        model.errors_ = ErrorPools.load(folder)
        return model

    def _fitted(self, grid: _Grid, threads: int) -> Smoothing:
        has_trend = grid.is_monthly if self.trend is None else self.trend
        return fit_smoothing(grid.y, grid.season, grid.first, has_trend=has_trend, threads=threads)

    def _look_ahead(self, grid: _Grid) -> None:
        """Compute all forecasts from the state at the cutoff."""
        now = self.start_.advance(grid.y, grid.first)
        is_open = ~is_closed(self.panel_, self.panel_.cutoff + 1 + np.arange(self.horizon_))
        mean = np.zeros((self.panel_.n_series, self.horizon_))
        mean[:, is_open] = now.ahead(grid.first + grid.y.shape[1], int(is_open.sum()))
        self.mean_ = np.maximum(mean, self.errors_.lowest)
        self.scale_, self.deviation_ = _size(grid.y)

    def _past_errors(self, panel: Panel, context: FitContext) -> PastErrors:
        """Errors of some series at origins a horizon apart, with parameters from before the first of them."""
        horizon = context.horizon
        wanted = max(self.windows * horizon, 4 * panel.frequency.season)
        span = min(wanted, int(panel.lengths.max()) // 3) // horizon * horizon
        if span < 1:
            return no_errors()
        order = np.random.default_rng(derive_seed(context.seed, "ets", "judged")).permutation(panel.n_series)
        series = np.sort(order[:_JUDGED_SERIES])
        grid = _Grid.of(panel, self.history + span, series)
        cut = panel.cutoff - span
        before = replace(grid, index=grid.index[grid.index <= cut], y=grid.y[:, grid.index <= cut])
        has_begun = ~np.isnan(before.y).all(axis=1)
        state = self._fitted(replace(before, y=before.y[has_begun]), context.threads)
        y = grid.y[has_begun]
        lowest = -np.inf if bool((panel.y < 0).any()) else 0.0
        parts: list[tuple[NDArray[Any], ...]] = []
        done = 0
        for origin in range(cut, panel.cutoff, horizon):
            upto = int(np.searchsorted(grid.index, origin, side="right"))
            state = state.advance(y[:, done:upto], grid.first + done)
            done = upto
            ahead = (grid.index > origin) & (grid.index <= origin + horizon)
            truth = y[:, ahead]
            mean = np.maximum(state.ahead(grid.first + upto, truth.shape[1]), lowest)
            scale, deviation = _size(y[:, max(0, upto - self.history) : upto])
            unit = error_unit(mean, scale[:, None], deviation[:, None], lowest)
            step = np.broadcast_to(grid.index[ahead] - origin, truth.shape)
            parts.append((truth.ravel(), mean.ravel(), unit.ravel(), step.ravel()))
        return PastErrors(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@dataclass(frozen=True, slots=True)
class _Grid:
    """The last periods of some series without closed weekdays.

    Attributes:
        index: the grid index of each open period, shape ``(periods,)``.
        first: the ordinal of the first of them among all open periods since 1970.
        season: the length of the season in open periods.
        y: shape ``(n, periods)``.
        is_monthly: whether a step is made of months.
    """

    index: Ints
    first: int
    season: int
    y: Doubles
    is_monthly: bool

    @classmethod
    def of(cls, panel: Panel, periods: int, series: Ints | None = None) -> _Grid:
        y = panel.last(periods)
        index = panel.cutoff - periods + 1 + np.arange(periods)
        season = open_season(panel)
        is_shortened = season != panel.frequency.season
        is_open = ~is_closed(panel, index) if is_shortened else np.ones(periods, dtype=np.bool_)
        index = index[is_open]
        first = _open_ordinal(panel, int(index[0])) if is_shortened and len(index) else panel.cutoff - periods + 1
        values = (y if series is None else y[series])[:, is_open].astype(np.float64)
        return cls(index, first, season, values, panel.frequency.is_monthly)


def _open_ordinal(panel: Panel, index: int) -> int:
    """How many open days lie between the first Monday of 1970's era and a day."""
    day = int(panel.frequency.times(np.array([index])).astype("M8[D]").astype(np.int64)[0]) + 3
    opened = [weekday for weekday in range(7) if weekday not in panel.closed_weekdays]
    return day // 7 * len(opened) + sum(weekday < day % 7 for weekday in opened)


def _size(y: Doubles) -> tuple[Doubles, Doubles]:
    """Each series' mean absolute value and standard deviation, zero where there is no number."""
    is_there = ~np.isnan(y)
    counts = np.maximum(is_there.sum(axis=1), 1)
    mean = np.where(is_there, y, 0.0).sum(axis=1) / counts
    scale = np.where(is_there, np.abs(y), 0.0).sum(axis=1) / counts
    variance = np.where(is_there, (y - mean[:, None]) ** 2, 0.0).sum(axis=1) / counts
    return scale, np.sqrt(variance)
