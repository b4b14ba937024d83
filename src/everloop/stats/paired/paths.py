"""The effect and its bounds at every look, for one comparison or for thousands of simulated ones.

The model: on day ``t`` and in cluster ``g`` (a store, say) the champion loses ``a[t, g]`` in all, and the challenger
``a[t, g] - d[t, g]``. The effect is ``sum(d) / sum(a)``: by which share of its loss the champion is beaten.

The error of the effect comes from ``r = d - effect * a`` (the delta method). Two ways to its variance:

- *clusters*: the sums of ``r`` over all days, one for each cluster, are independent, however much the days of one
  cluster hang together (Liang and Zeger 1986; Cameron and Miller 2015, section II). This needs enough clusters of
  comparable size, and that they have little in common.
- *days*: the sums of ``r`` over all clusters, one for each day, with their long-run variance. This needs many days, and
  dependence that fades; it bears any dependence between clusters.

Whether clusters have something in common is measured: the variance over days of the clusters' sum, over the sum of
their variances. Somewhat above one it widens the interval; where it is plainly above one, or where the clusters are
worth too few equal ones, days take over.

Bounds are those of the asymptotic confidence sequence (:mod:`everloop.stats.sequential`) for the number of days, so
they hold at every look; a quantile of the normal distribution in it is replaced by that of Student's with the degrees
of freedom which the variance has, as is usual for few clusters (Cameron and Miller 2015, section VI.C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from everloop.stats.paired.dependence import common_share_is_plain, effective_number, long_run_variances
from everloop.stats.sequential import one_sided_widths

__all__ = ["DAYS_AT_LEAST", "PairedPaths", "PairedRule", "paired_paths"]

Floats = NDArray[np.float64]

_WEEK = 7
"""What is common to clusters needs a week to be measured at all."""
DAYS_AT_LEAST = 14
"""Days as units give no bounds before."""
_CAUTION = 1.5
"""The autocorrelation of days is taken for so many standard errors higher than it looks: it is known from few days,
and too low a one makes false winners (with 1: 12 % of trials at an autocorrelation of 0.9, with 1.5: 4 %)."""
_PLAIN_ERROR = 0.005
"""How often independent clusters may be taken for dependent ones."""
_PRIOR_DAYS = 3.0
"""Few days say little of what clusters have in common: so many days of independence are put to them."""
_COMMON_AT = 0.5
"""From so much above one on, the interval is at least as wide as days as units would make it."""
_CLUSTERS_WORTH = 3.0
"""With so many clusters the interval by days is at least as wide as the one by clusters."""
_DAYS_WORTH = 8.0
"""Days that are worth fewer independent ones give no bounds."""


@dataclass(frozen=True, slots=True)
class PairedRule:
    """How a comparison decides.

    Attributes:
        alpha: the bound on promoting a challenger that is not better, over all looks together.
        margin: the share of the champion's loss by which the challenger may be worse and yet be promoted; 0 asks for
            a better one.
        min_days: no verdict before.
        max_days: the end; who is not shown to be better by then is not promoted.
        min_clusters: clusters that are worth fewer equal ones give way to days.
        futility: where the chance to be promoted by the end falls below this, the comparison ends.
        looks: ``"every"`` for bounds that hold at every look together, ``"once"`` for those of the last day alone.
    """

    alpha: float = 0.05
    margin: float = 0.0
    min_days: int = 14
    max_days: int = 42
    min_clusters: float = 5.0
    futility: float = 0.02
    looks: Literal["every", "once"] = "every"


@dataclass(frozen=True, slots=True)
class PairedPaths:
    """What is known after each day; every array has shape ``(..., days)``.

    Attributes:
        effect: the share of the champion's loss that the challenger saves; NaN where the champion lost nothing.
        lower: the effect is below this with probability at most ``alpha``, over all days; ``-inf`` where too little
            is known.
        upper: likewise above; ``inf``.
        deviation: the standard error of the effect.
        by_day: whether days are the units, not clusters.
        common: the variance over days of the clusters' sum, over the sum of their variances.
        clusters: how many equal clusters these are worth.
        worth: the degrees of freedom of the variance, and one.
    """

    effect: Floats
    lower: Floats
    upper: Floats
    deviation: Floats
    by_day: NDArray[np.bool_]
    common: Floats
    clusters: Floats
    worth: Floats


def paired_paths(difference: Floats, baseline: Floats, rule: PairedRule) -> PairedPaths:
    """Effect and bounds after each day.

    Args:
        difference: the champion's loss less the challenger's, summed by day and cluster, shape ``(..., days,
            clusters)``; zero where a cluster has no case.
        baseline: the champion's loss, likewise.
        rule: the comparison's rule.
    """
    days = np.arange(1.0, difference.shape[-2] + 1)
    lost = np.cumsum(baseline, axis=-2)
    saved = np.cumsum(difference, axis=-2)
    total = lost.sum(axis=-1)
    safe = np.where(total > 0, total, np.nan)
    effect = saved.sum(axis=-1) / safe
    common = _common(difference, baseline, effect, days)
    clusters = effective_number(lost)
    count = np.maximum((lost > 0).sum(axis=-1), 2)
    between = ((saved - effect[..., None] * lost) ** 2).sum(axis=-1) * count / (count - 1) / safe**2
    first = _WEEK if rule.looks == "every" else len(days)
    along, worth = _along_days(difference.sum(axis=-1), baseline.sum(axis=-1), effect, safe, first)
    shrunk = (np.nan_to_num(common, nan=1.0) * (days - 1) + _PRIOR_DAYS) / (days - 1 + _PRIOR_DAYS)
    weight = np.clip((shrunk - 1) / _COMMON_AT, 0.0, 1.0)
    mixed = np.fmax(between * np.maximum(shrunk, 1.0), between + weight * np.nan_to_num(along - between))
    is_common = (days >= _WEEK) & common_share_is_plain(np.nan_to_num(common), days, error=_PLAIN_ERROR)
    by_day = is_common | (clusters < rule.min_clusters)
    tail = np.full(days.shape, rule.alpha)
    if rule.looks == "every":
        tail = special.ndtr(-one_sided_widths(days, alpha=rule.alpha, best_at=rule.max_days) * np.sqrt(days))
    by_clusters = _half(mixed, clusters, tail)
    by_days = np.fmax(_half(along, worth, tail), np.where(clusters >= _CLUSTERS_WORTH, by_clusters, 0.0))
    is_known = np.where(by_day, (worth >= _DAYS_WORTH) & (days >= DAYS_AT_LEAST), clusters > 1)
    half = np.where(by_day, by_days, by_clusters)
    half = np.where(is_known & np.isfinite(half) & (days >= rule.min_days), half, np.inf)
    variance = np.where(by_day, along, mixed)
    centre = np.nan_to_num(effect)
    return PairedPaths(
        effect,
        centre - half,
        centre + half,
        np.sqrt(variance),
        by_day,
        common,
        clusters,
        np.where(by_day, worth, clusters),
    )


def _half(variance: Floats, worth: Floats, tail: Floats) -> Floats:
    """Half the width of an interval: Student's quantile for so many independent groups or days."""
    quantile: Floats = -special.stdtrit(np.maximum(worth - 1, 1.0), tail)
    return quantile * np.sqrt(variance)


def _common(difference: Floats, baseline: Floats, effect: Floats, days: Floats) -> Floats:
    """The variance over days of the clusters' sum, over the sum of their variances, after each day."""

    def spread(d: Floats, a: Floats, share: Floats, number: Floats) -> Floats:
        """Squared deviations of ``d - share * a`` from their mean over the days so far; time is the axis of days."""
        squares = [np.cumsum(each, axis=-1) for each in (d * d, d * a, a * a)]
        sums = np.cumsum(d, axis=-1) - share * np.cumsum(a, axis=-1)
        return squares[0] - 2 * share * squares[1] + share**2 * squares[2] - sums**2 / number

    each = spread(np.swapaxes(difference, -1, -2), np.swapaxes(baseline, -1, -2), effect[..., None, :], days)
    together = spread(difference.sum(axis=-1), baseline.sum(axis=-1), effect, days)
    apart = each.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((days > 1) & (apart > 0), np.maximum(together, 0.0) / apart, np.nan)


def _along_days(
    difference: Floats, baseline: Floats, effect: Floats, total: Floats, first: int
) -> tuple[Floats, Floats]:
    """The variance of the effect by days as units, and how many independent days they are worth, from a day on."""
    variance = np.full(effect.shape, np.nan)
    worth = np.zeros(effect.shape)
    for count in range(max(first, _WEEK), effect.shape[-1] + 1):
        last = count - 1
        rest = difference[..., :count] - effect[..., last, None] * baseline[..., :count]
        found, number = long_run_variances(np.nan_to_num(rest), caution=_CAUTION)
        variance[..., last] = found * count / total[..., last] ** 2
        worth[..., last] = number
    return variance, worth
