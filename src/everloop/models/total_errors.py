"""Intervals of totals, from the past errors of the totals themselves.

The ends of the series' intervals do not add up to those of a total: errors that are independent cancel, errors that
have one cause do not, and how many are of which kind can be seen in the total alone. So forecasts of past windows are
summed to each total, and the totals' errors are pooled over the totals of a level as a model pools those of its series
(:mod:`everloop.models.intervals`), each in the unit of its total. Windows are few, and errors of a window lie on one
side together; the quantiles are widened by what that takes away (:mod:`everloop.stats.few_windows`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from everloop.models.forecaster import Forecast
from everloop.models.intervals import ErrorPools, PastErrors
from everloop.stats.few_windows import shared_part, widening

__all__ = ["PastTotals", "TotalErrors", "usual_change"]

Floats = NDArray[np.float64]

_FEW = 60
"""With fewer independent errors both sides lend each other theirs: the interval is even about the forecast."""


@dataclass(frozen=True, slots=True)
class PastTotals:
    """Forecasts of the totals of a level beside what came, of some windows; each of shape ``(windows, totals, steps)``.

    Attributes:
        actual: NaN where nothing is known.
        mean: the forecast of the members whose actual value is known.
        unit: the unit of each total at each window's cutoff, shape ``(windows, totals)``; see :func:`usual_change`.
    """

    actual: Floats
    mean: Floats
    unit: Floats

    def without(self, window: int) -> PastTotals:
        """All windows but one."""
        return PastTotals(*(np.delete(each, window, axis=0) for each in (self.actual, self.mean, self.unit)))


@dataclass(frozen=True, slots=True)
class TotalErrors:
    """What the errors of a level's totals were.

    Attributes:
        pools: the errors by step and size of the total.
        count: so many independent errors a pool tells as much as.
        windows: the windows that they come from.
    """

    pools: ErrorPools
    count: float
    windows: int

    @classmethod
    def collect(cls, past: PastTotals, *, lowest: float = -np.inf, seed: int = 0) -> TotalErrors:
        """Learn from past windows.

        Args:
            past: the totals of the windows.
            lowest: no end of an interval lies below.
            seed: of the sample that is kept of very many errors.
        """
        windows, _, horizon = past.mean.shape
        spread = _spread(past.mean, past.unit[:, :, None])
        step = np.broadcast_to(np.arange(1, horizon + 1), past.mean.shape)
        window = np.broadcast_to(np.arange(windows)[:, None, None], past.mean.shape)
        is_usable = np.isfinite(past.actual) & np.isfinite(past.mean) & (spread > 0)
        errors = PastErrors(past.actual[is_usable], past.mean[is_usable], spread[is_usable], step[is_usable])
        found = len(np.unique(window[is_usable]))
        shared = shared_part((errors.truth - errors.mean) / errors.spread, window[is_usable])
        pools = ErrorPools.collect(errors, horizon=horizon, lowest=lowest, seed=seed)
        count = pools.independent(len(errors.truth), found, shared)
        if count < _FEW:
            mirrored = replace(errors, truth=2 * errors.mean - errors.truth)
            both = _together(errors, mirrored)
            pools = ErrorPools.collect(both, horizon=horizon, lowest=lowest, seed=seed)
            count = pools.independent(len(errors.truth), found, shared)
        return cls(pools, count, found)

    def intervals(self, mean: Floats, unit: Floats, levels: Iterable[float]) -> tuple[dict[float, Floats], ...]:
        """The lower and upper ends of totals by level; NaN where there are too few past errors.

        Args:
            mean: the forecast of the totals, shape ``(totals, steps)``.
            unit: the unit of each, shape ``(totals,)``.
            levels: in percent.
        """
        plain = Forecast(np.arange(len(mean)), 0, mean)
        given = self.pools.forecast(plain, _spread(mean, unit[:, None]), levels)
        lower, upper = {}, {}
        for level in given.lower:
            # one window shows nothing of how windows differ
            factor = widening(level, self.count) if self.windows > 1 else np.nan
            low = mean - (mean - given.lower[level]) * factor
            lower[level] = np.maximum(low, self.pools.lowest)
            upper[level] = mean + (given.upper[level] - mean) * factor
        return lower, upper


def usual_change(
    y: NDArray[np.floating], offsets: NDArray[np.int64], season: int, *, periods: int, drop: int = 0
) -> Floats:
    """The unit of each total's errors: the root of the mean square of its changes from season to season.

    NaN for a total that never changed, or is too short.

    Args:
        y: the totals one after another, NaN where nothing is known.
        offsets: where each begins, and the end; shape ``(n + 1,)``.
        season: the lag of a change.
        periods: how far back changes are looked at.
        drop: how many of the last periods are not known yet.

    >>> usual_change(np.array([1.0, 3.0, 1.0, 3.0, 9.0]), np.array([0, 5]), 1, periods=9, drop=1)
    array([2.])
    """
    units = np.full(len(offsets) - 1, np.nan)
    for number in range(len(units)):
        end = max(int(offsets[number + 1]) - drop, int(offsets[number]))
        own = y[offsets[number] : end][-(periods + season) :].astype(np.float64)
        change = own[season:] - own[:-season] if len(own) > season else own[:0]
        change = change[np.isfinite(change)]
        if (change != 0).any():
            units[number] = np.sqrt((change**2).mean())
    return units


def _together(first: PastErrors, second: PastErrors) -> PastErrors:
    return PastErrors(
        np.concatenate([first.truth, second.truth]),
        np.concatenate([first.mean, second.mean]),
        np.concatenate([first.spread, second.spread]),
        np.concatenate([first.step, second.step]),
    )


def _spread(mean: Floats, unit: Floats) -> Floats:
    """The unit of each forecast: its total's, times the root of the forecast's size among its total's."""
    size = np.abs(mean)
    usual = size.mean(axis=-1, keepdims=True)
    relative = np.divide(size, usual, out=np.zeros_like(size), where=usual > 0)
    return np.asarray(unit * np.sqrt(relative))
