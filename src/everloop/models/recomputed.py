"""The common part of forecasters whose forecast follows from the last periods alone, for all series at once.

Such a forecaster takes the season out of each series, forecasts what is left, and puts the season back. Nothing is
carried along but the groups' profiles of the fit, so that an update is a new computation over the tail.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from everloop.models.intervals import ErrorPools, PastErrors, error_unit, no_errors
from everloop.models.profiles import Profiles, row_blocks, season_of
from everloop.models.state import load_arrays, load_head, load_panel, save_arrays, save_head, save_panel

__all__ = ["RecomputedForecaster", "block_sizes", "check_weights", "seasonal_mean", "whole_seasons"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Levels = Callable[[Doubles], Doubles]

_JUDGED_SERIES = 2000


class RecomputedForecaster(ABC):
    """A forecaster by a method that takes a block of series and gives their forecasts.

    A subclass stores its parameters, ``history`` (how many of the last periods count) and ``windows`` (on how many
    horizons before the end the intervals are measured) among them, and says what :meth:`levels` are.
    """

    memory: int = 0
    history: int
    windows: int

    @abstractmethod
    def levels(self, y: Doubles, horizon: int) -> Doubles:
        """What comes after the last column of seasonally adjusted series.

        Args:
            y: shape ``(n, periods)``, NaN where there is no value; some rows may be all NaN.
            horizon: the number of steps.

        Returns:
            Shape ``(n, 1)`` where all steps are alike, else ``(n, horizon)``; finite. A row may not depend on others.
        """

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Learn the groups' seasonal profiles and measure past errors.

        Raises:
            ModelError: the history is not positive.
        """
        if self.history < 1:
            raise ModelError("history", f"a history of {self.history} steps cannot be", hint="give 1 or more")
        self.memory = whole_seasons(self.history, season_of(panel))
        self.horizon_ = context.horizon
        self.panel_ = panel.tail(self.memory)
        is_ratio = not bool((panel.y < 0).any())
        lowest = 0.0 if is_ratio else -np.inf
        self.profiles_ = Profiles.learn(panel, panel.last(self.memory), panel.cutoff, is_ratio=is_ratio)
        seed = derive_seed(context.seed, type(self).__name__)
        past = self._past_errors(panel, context, lowest, seed)
        self.errors_ = ErrorPools.collect(past, horizon=context.horizon, lowest=lowest, seed=seed)
        self._look_ahead()
        return self

    def update(self, panel: Panel) -> Self:
        """A copy that has computed anew over the panel's tail, with the groups' profiles of the fit."""
        new = type(self)(**self.parameters())
        new._take_over(self)
        new.panel_ = panel.tail(self.memory)
        new._look_ahead()
        return new

    def forecast(self, request: ForecastRequest) -> Forecast:
        """The forecasts that ``fit`` or ``update`` computed, for the asked series."""
        series = np.arange(self.panel_.n_series) if request.series is None else request.series
        mean = self.mean_[series, : request.horizon]
        unit = error_unit(mean, self.scale_[series, None], self.deviation_[series, None], self.errors_.lowest)
        return self.errors_.forecast(Forecast(series, self.panel_.cutoff, mean), unit, request.levels)

    def series_panel(self) -> Panel:
        """The tail of the panel last seen."""
        return self.panel_

    def save(self, folder: Path) -> None:
        """Write parameters, profiles, forecasts, the tail and past errors."""
        save_head(folder, {"parameters": self.parameters(), "horizon": self.horizon_, "memory": self.memory})
        save_arrays(folder / "ahead", {"mean": self.mean_, "scale": self.scale_, "deviation": self.deviation_})
        self.profiles_.save(folder / "profiles")
        save_panel(folder, self.panel_)
        self.errors_.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        head = load_head(folder)
        model = cls(**head["parameters"])
        model.memory, model.horizon_ = head["memory"], head["horizon"]
        ahead = load_arrays(folder / "ahead", ["mean", "scale", "deviation"])
        model.mean_, model.scale_, model.deviation_ = ahead["mean"], ahead["scale"], ahead["deviation"]
        model.profiles_ = Profiles.load(folder / "profiles")
        model.panel_ = load_panel(folder)
        model.errors_ = ErrorPools.load(folder)
        return model

    def _take_over(self, other: Self) -> None:
        """Take what another has learnt."""
        self.memory, self.horizon_ = other.memory, other.horizon_
        self.profiles_, self.errors_ = other.profiles_, other.errors_

    def _look_ahead(self) -> None:
        """Compute all forecasts from the tail."""
        panel, block = self.panel_, self.panel_.last(self.memory)
        member = self.profiles_.member(panel)
        self.mean_ = np.zeros((panel.n_series, self.horizon_))
        self.scale_, self.deviation_ = np.zeros(panel.n_series), np.zeros(panel.n_series)
        for rows in row_blocks(*block.shape):
            mean = self._ahead(block[rows], self.profiles_, member[rows], panel.cutoff)
            self.mean_[rows] = np.maximum(mean, self.errors_.lowest)
            self.scale_[rows], self.deviation_[rows] = block_sizes(block[rows])

    def _ahead(self, block: NDArray[np.floating], profiles: Profiles, member: Ints, cutoff: int) -> Doubles:
        horizon = self.horizon_
        profile = profiles.of(block, member, cutoff)
        return seasonal_mean(block, profile, horizon, lambda y: self.levels(y, horizon), is_ratio=profiles.is_ratio)

    def _past_errors(self, panel: Panel, context: FitContext, lowest: float, seed: int) -> PastErrors:
        """Errors of some series at origins a horizon apart; each forecast knows what came before it alone."""
        horizon = context.horizon
        span = min(self.windows * horizon, int(panel.lengths.max()) // 3) // horizon * horizon
        if span < 1:
            return no_errors()
        block = panel.last(self.memory + span)
        cut = panel.cutoff - span
        profiles = Profiles.learn(panel, block[:, :-span], cut, is_ratio=bool(np.isfinite(lowest)))
        order = np.random.default_rng(derive_seed(seed, "judged")).permutation(panel.n_series)
        rows = np.sort(order[:_JUDGED_SERIES])
        block, member = block[rows], profiles.member(panel)[rows]
        parts: list[tuple[NDArray[Any], ...]] = []
        for origin in range(cut, panel.cutoff, horizon):
            upto = block.shape[1] - (panel.cutoff - origin)
            before = block[:, upto - self.memory : upto]
            has_begun = ~np.isnan(before).all(axis=1)
            before = before[has_begun]
            truth = block[has_begun, upto : upto + horizon]
            mean = np.maximum(self._ahead(before, profiles, member[has_begun], origin), lowest)
            scale, deviation = block_sizes(before)
            unit = error_unit(mean, scale[:, None], deviation[:, None], lowest)
            step = np.broadcast_to(np.arange(1, horizon + 1), truth.shape)
            parts.append((truth.ravel(), mean.ravel(), unit.ravel(), step.ravel()))
        return PastErrors(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def check_weights(low: float, high: float) -> None:
    """Refuse bounds between which no weight of the newest value can lie.

    Raises:
        ModelError: they are not ``0 < low <= high <= 1``.
    """
    if not 0 < low <= high <= 1:
        raise ModelError(
            "smoothing_weight", f"weights from {low} to {high} cannot be", hint="give 0 < low <= high <= 1"
        )


def whole_seasons(periods: int, season: int) -> int:
    """The least multiple of the season that is no less than ``periods``.

    >>> whole_seasons(400, 7)
    406
    """
    return -(-periods // season) * season


def seasonal_mean(
    block: NDArray[np.floating], profile: Doubles, horizon: int, levels: Levels, *, is_ratio: bool
) -> Doubles:
    """Forecasts of seasonal series by a method for series without season; shape ``(n, horizon)``.

    Args:
        block: shape ``(n, periods)``, a multiple of the season.
        profile: shape ``(n, season)``, see :meth:`everloop.models.profiles.Profiles.of`.
        horizon: the number of steps.
        levels: the method, see :meth:`RecomputedForecaster.levels`.
        is_ratio: whether profiles are ratios rather than differences.
    """
    season = profile.shape[1]
    past = np.tile(profile, block.shape[1] // season)
    ahead = np.tile(profile, -(-horizon // season))[:, :horizon]
    y = block.astype(np.float64)
    return levels(y / past) * ahead if is_ratio else levels(y - past) + ahead


def block_sizes(block: NDArray[np.floating]) -> tuple[Doubles, Doubles]:
    """Each row's mean absolute value and standard deviation, zero where it has no number."""
    is_there = ~np.isnan(block)
    y = np.where(is_there, block, 0.0).astype(np.float64)
    counts = np.maximum(is_there.sum(axis=1), 1)
    mean = y.sum(axis=1) / counts
    variance = np.where(is_there, (y - mean[:, None]) ** 2, 0.0).sum(axis=1) / counts
    return np.abs(y).sum(axis=1) / counts, np.sqrt(variance)
