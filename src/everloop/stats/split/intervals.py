"""Bounds on how much better an arm is than the champion's, valid at every look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.stats.split.boundary import boundary
from everloop.stats.split.draws import ArmMeans
from everloop.stats.split.metrics import UnitMetric

__all__ = ["Bounds", "agreeing", "bounds_of", "critical_values"]

Floats = NDArray[np.float64]

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """The improvement of one arm in one metric, at each look; above zero is better, whichever way the metric goes.

    Attributes:
        effect: the estimate; NaN where there is none.
        lower: minus infinity where nothing is known.
        upper: infinity where nothing is known.
    """

    effect: Floats
    lower: Floats
    upper: Floats

    def until(self, days: int) -> Bounds:
        """Those of the first looks."""
        return Bounds(self.effect[:days], self.lower[:days], self.upper[:days])


def critical_values(paths: Floats, spent: Floats, better: list[int]) -> tuple[Floats, Floats]:
    """Critical values for a family of comparisons at once, by the largest statistic (Westfall and Young 1993).

    Args:
        paths: draws of each statistic, shape ``(draws, arms - 1, metrics, days)``.
        spent: what may be spent by each look.
        better: for each metric, 1 where higher is better, -1 where lower is.

    Returns:
        Those for "better", and those for "worse", shape ``(days,)`` each.
    """
    improvement = paths * np.array(better)[:, None]
    above, below = (boundary(each.max(axis=(1, 2)), spent) for each in (improvement, -improvement))
    # a tie with a draw, of which few units have many, must not pass by a rounding error
    return above + _ROUNDING * np.abs(above), below + _ROUNDING * np.abs(below)


def bounds_of(found: ArmMeans, metric: UnitMetric, place: tuple[int, int], critical: tuple[Floats, Floats]) -> Bounds:
    """The bounds of one arm in one metric.

    Relative effects get Fieller's bounds (1954): all ``r`` with ``|m1 - r m0| <= c sqrt(v1 + r^2 v0)``.

    Args:
        found: the arms' means.
        metric: the metric.
        place: the arm, from 1, and the metric's number.
        critical: the critical values for better and worse.
    """
    arm, number = place
    m1, v1 = found.mean[arm, number], found.variance[arm, number]
    m0, v0 = found.mean[0, number], found.variance[0, number]
    above, below = critical if metric.better == "higher" else (critical[1], critical[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric.scale == "absolute":
            effect, error = m1 - m0, np.sqrt(v1 + v0)
            # infinitely many standard errors of zero: still nothing may be said
            lower, upper = effect - _times(above, error), effect + _times(below, error)
        else:
            effect = np.where(m0 > 0, m1 / m0 - 1, np.nan)
            lower, upper = _fieller(m0, m1, v0, v1, above)[0] - 1, _fieller(m0, m1, v0, v1, below)[1] - 1
    blind = ~np.isfinite(effect) | ((v1 + v0 == 0) & (effect == 0))
    lower = np.where(blind | np.isnan(lower), -np.inf, lower)
    upper = np.where(blind | np.isnan(upper), np.inf, upper)
    return Bounds(effect, lower, upper) if metric.better == "higher" else Bounds(-effect, -upper, -lower)


def agreeing(bounds: Bounds, centre: float, score: Floats, critical: tuple[Floats, Floats]) -> Bounds:
    """Bounds that lie beyond ``centre`` exactly where the test of that effect refutes it.

    Args:
        bounds: as they come of the arms' means.
        centre: an effect.
        score: the statistic of its test at each look, above zero where the arm is better than that.
        critical: the critical values for better and worse.
    """
    step = _ROUNDING * max(abs(centre), 1.0)
    is_better, is_worse = score > critical[0], -score > critical[1]
    lower = np.where(is_better, np.maximum(bounds.lower, centre + step), np.minimum(bounds.lower, centre))
    upper = np.where(is_worse, np.minimum(bounds.upper, centre - step), np.maximum(bounds.upper, centre))
    return Bounds(bounds.effect, lower, upper)


def _times(critical: Floats, error: Floats) -> Floats:
    return np.where(np.isfinite(critical), critical * error, np.inf)


def _fieller(m0: Floats, m1: Floats, v0: Floats, v1: Floats, c: Floats) -> tuple[Floats, Floats]:
    """The roots in ``r``; infinite where the denominator may be zero, so that anything may be."""
    square = np.where(np.isfinite(c), c, 0.0) ** 2
    a, b, d = m0**2 - square * v0, m0 * m1, m1**2 - square * v1
    root = np.sqrt(np.maximum(b**2 - a * d, 0.0))
    known = (a > 0) & (m0 > 0) & np.isfinite(c)
    return np.where(known, (b - root) / a, -np.inf), np.where(known, (b + root) / a, np.inf)
