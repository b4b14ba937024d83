"""The seasonal naive: what was sold in the same period of the last season. The bar that others must clear."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from everloop.models.intervals import ErrorPools, PastErrors, no_errors
from everloop.models.state import load_head, load_panel, save_head, save_panel

__all__ = ["SeasonalNaiveForecaster"]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_ORIGINS = 16
_MOST_ERRORS = 4_000_000
"""Past errors that are pooled: those of all series, or where these are more, of some that are drawn."""
_REACH = 120
"""About how many periods back a value is looked for where the last season has none."""


class SeasonalNaiveForecaster:
    """Repeats the newest observed value of the same season: of the same weekday, for days.

    Where that period has no row (a closed day), the season before is asked, and so on; where none has one, the
    series' newest value is taken, and zero where there is none at all. Intervals are conformal over the errors of
    the same rule at past origins.

    Args:
        season: the length of the season in steps; the frequency's usual one where it is ``None``.
    """

    memory: int = 0

    def __init__(self, season: int | None = None) -> None:
        self.season = season

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Measure past errors; there is nothing else to learn.

        Raises:
            ModelError: the season is not positive.
        """
        season = panel.frequency.season if self.season is None else self.season
        if season < 1:
            raise ModelError("season", f"a season of {season} steps cannot be", hint="give a number of 1 or more")
        self.season_ = season
        self.horizon_ = context.horizon
        self.memory = season * (1 + max(2, min(9, _REACH // season)))
        spacing = season if season <= context.horizon else context.horizon
        back = spacing * _ORIGINS
        block = panel.last(self.memory + back)
        block = block[_judged(len(block), back * context.horizon // spacing, context.seed)]
        past = _past_errors(block, season=season, horizon=context.horizon, spacing=spacing, memory=self.memory)
        lowest = 0.0 if not np.nanmin(panel.y, initial=0.0) < 0 else -np.inf
        self.errors_ = ErrorPools.collect(past, horizon=context.horizon, lowest=lowest, seed=context.seed)
        self.panel_ = panel.tail(self.memory)
        return self

    def update(self, panel: Panel) -> Self:
        """A copy that repeats the panel's newest season."""
        new = type(self)(**self.parameters())
        new.season_, new.horizon_, new.memory = self.season_, self.horizon_, self.memory
        new.errors_ = self.errors_
        new.panel_ = panel.tail(self.memory)
        return new

    def forecast(self, request: ForecastRequest) -> Forecast:
        """Forecast the asked series."""
        block = self.panel_.last(self.memory)
        series = np.arange(len(block)) if request.series is None else request.series
        lines = _lines(block[series], season=self.season_, horizon=request.horizon)
        point = Forecast(series, self.panel_.cutoff, lines.mean)
        return self.errors_.forecast(point, lines.spread, request.levels)

    def series_panel(self) -> Panel:
        """The tail of the panel last seen."""
        return self.panel_

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        return {"season": self.season}

    def save(self, folder: Path) -> None:
        """Write the tail and the past errors."""
        head = {"parameters": self.parameters(), "season": self.season_, "horizon": self.horizon_}
        save_head(folder, head | {"memory": self.memory})
        save_panel(folder, self.panel_)
        self.errors_.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        head = load_head(folder)
        model = cls(**head["parameters"])
        model.season_, model.horizon_, model.memory = head["season"], head["horizon"], head["memory"]
        model.panel_ = load_panel(folder)
        model.errors_ = ErrorPools.load(folder)
        return model


@dataclass(frozen=True, slots=True)
class _Lines:
    """Forecasts of shape ``(n, horizon)`` and each series' mean absolute change from season to season."""

    mean: Doubles
    spread: Doubles


def _lines(block: Floats, *, season: int, horizon: int) -> _Lines:
    """What the rule says after the last column of a block whose length is a multiple of the season."""
    n = len(block)
    seasons = block.reshape(n, -1, season)
    filled = _newest(seasons)
    newest = np.take_along_axis(block, _newest_column(block), axis=1)
    last = np.where(np.isnan(filled), newest, filled)
    mean = np.nan_to_num(np.tile(last, -(-horizon // season))[:, :horizon].astype(np.float64))
    changes = np.abs(np.diff(seasons.astype(np.float64), axis=1)).reshape(n, -1)
    # where no season has a season before it, the usual size of the values says how far off one may be
    spread = _row_means(changes)
    return _Lines(mean, np.where(np.isnan(spread), _row_means(np.abs(block.astype(np.float64))), spread))


def _row_means(values: Doubles) -> Doubles:
    """The mean of each row's numbers, NaN where it has none."""
    is_there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(is_there, values, 0.0).sum(axis=1) / is_there.sum(axis=1))


def _newest(seasons: Floats) -> Floats:
    """The newest value of each place in the season, shape ``(n, season)``, NaN where there is none."""
    order = np.arange(seasons.shape[1])[None, :, None]
    last = np.where(np.isnan(seasons), 0, order).max(axis=1, keepdims=True)
    return np.asarray(np.take_along_axis(seasons, last, axis=1)[:, 0, :])


def _newest_column(block: Floats) -> NDArray[np.int64]:
    return np.asarray(np.where(np.isnan(block), 0, np.arange(block.shape[1])).max(axis=1, keepdims=True))


def _judged(n: int, errors: int, seed: int) -> NDArray[np.int64]:
    """The series whose past errors are pooled, of ``n`` that have so many ``errors`` each."""
    most = max(1, _MOST_ERRORS // max(1, errors))
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(derive_seed(seed, "seasonal_naive", "judged")).permutation(n)[:most])


def _past_errors(block: Floats, *, season: int, horizon: int, spacing: int, memory: int) -> PastErrors:
    """The rule's errors at origins every ``spacing`` steps before the block's end."""
    parts: list[tuple[NDArray[Any], ...]] = []
    for back in range(spacing, block.shape[1] - memory + 1, spacing):
        origin = block.shape[1] - back
        past = block[:, origin - memory : origin]
        steps = min(horizon, back)
        has_begun = ~np.isnan(past).all(axis=1)
        if not has_begun.any():
            continue
        lines = _lines(past[has_begun], season=season, horizon=steps)
        truth = block[has_begun, origin : origin + steps].ravel()
        step = np.tile(np.arange(1, steps + 1), int(has_begun.sum()))
        parts.append((truth, lines.mean.ravel(), np.repeat(lines.spread, steps), step))
    if not parts:
        return no_errors()
    return PastErrors(*(np.concatenate(each) for each in zip(*parts, strict=True)))
