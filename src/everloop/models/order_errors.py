"""What the demand of several periods together may be, from the past errors of such sums.

The quantile of a sum over time is not the sum of the periods' quantiles: errors of single days cancel, those of a level
do not. So forecasts of past windows are summed over the periods that an order has to last, and the errors of these sums
are pooled over series by size, each in its own unit, as a model pools those of single steps
(:mod:`everloop.models.intervals`). An order looks at one side: the quantile may lie below the forecast. Errors of few
windows are widened as those of totals are (:mod:`everloop.stats.few_windows`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.models.intervals import ErrorPools, PastErrors, error_unit
from everloop.stats.conformal import upper_rank
from everloop.stats.few_windows import shared_part, widening
from everloop.stats.newsvendor import Demand

__all__ = ["PastSums", "SumErrors", "spread_of_sums"]

Floats = NDArray[np.float64]

_NEAR_MIDDLE = 2.0
"""The least level in percent whose widening is asked for: at 0 it is the ratio of two zeros."""


@dataclass(frozen=True, slots=True)
class PastSums:
    """Forecasts of sums over time beside what came; each of shape ``(windows, n_series)``.

    Attributes:
        actual: NaN where nothing is known.
        mean: the forecast of the periods whose actual value is known.
        spread: the unit of the errors, as known at each window's cutoff.
    """

    actual: Floats
    mean: Floats
    spread: Floats

    def only(self, windows: NDArray[np.bool_]) -> PastSums:
        """Some of the windows."""
        return PastSums(self.actual[windows], self.mean[windows], self.spread[windows])


@dataclass(frozen=True, slots=True)
class SumErrors:
    """What the errors of sums over time were.

    Attributes:
        pools: the errors by size of the forecast.
        count: so many independent errors a pool tells as much as.
    """

    pools: ErrorPools
    count: float

    @classmethod
    def collect(cls, past: PastSums, *, seed: int = 0) -> SumErrors:
        """Learn from past windows.

        Args:
            past: the sums of the windows.
            seed: of the sample that is kept of very many errors.
        """
        is_usable = np.isfinite(past.actual) & np.isfinite(past.mean) & (past.spread > 0)
        window = np.broadcast_to(np.arange(len(past.mean))[:, None], past.mean.shape)[is_usable]
        ones = np.ones(int(is_usable.sum()), dtype=np.int64)
        errors = PastErrors(past.actual[is_usable], past.mean[is_usable], past.spread[is_usable], ones)
        pools = ErrorPools.collect(errors, horizon=1, lowest=0.0, seed=seed)
        shared = shared_part((errors.truth - errors.mean) / np.maximum(errors.spread, pools.floor), window)
        return cls(pools, pools.independent(len(ones), len(np.unique(window)), shared))

    def demand(self, mean: Floats, spread: Floats, ratio: Floats) -> tuple[Floats, Demand]:
        """The quantile of each series' demand, and demand as the past errors have it.

        Args:
            mean: the forecast of the sums, shape ``(n,)``.
            spread: the unit of each one's errors, likewise.
            ratio: with which probability demand stays at or below the quantile, likewise.

        Returns:
            The quantiles, never below zero, NaN where there are too few past errors; and the demand.
        """
        scores = self.pools.scores
        pool = np.searchsorted(self.pools.size_ends, np.abs(mean))
        scale = np.maximum(spread, self.pools.floor) * self._factors(ratio)
        counts = scores.counts[pool]
        pairs = zip(counts.tolist(), ratio.tolist(), strict=True)
        rank = np.array([upper_rank(count, q) if q > 0 else 0 for count, q in pairs], dtype=np.int64)
        is_known = (rank >= 1) & (rank <= counts)
        score = np.full(len(mean), np.nan)
        score[is_known] = scores.scores[(scores.offsets[pool] + rank - 1)[is_known]]
        level = np.maximum(mean + score * scale, 0.0)
        return level, Demand(mean, scale, pool, scores.scores, scores.offsets)

    def _factors(self, ratio: Floats) -> Floats:
        """By how much the errors are widened for each ratio."""
        found, of = np.unique(ratio, return_inverse=True)
        factors = [
            widening(max(abs(2.0 * q - 1.0) * 100.0, _NEAR_MIDDLE), self.count) if np.isfinite(q) else np.nan
            for q in found.tolist()
        ]
        return np.array(factors)[of.ravel()]


def spread_of_sums(mean: Floats, usual: Floats, deviation: Floats, periods: int) -> Floats:
    """The unit of the errors of sums over some periods, as :func:`everloop.models.intervals.error_unit` has it.

    Args:
        mean: the forecast of the sums, shape ``(n,)``.
        usual: the mean of each series in a period, likewise.
        deviation: its standard deviation in a period, likewise; NaN where it is not known.
        periods: how many are summed.
    """
    return error_unit(mean, usual * periods, deviation * np.sqrt(periods), 0.0)
