"""The paired comparison: promote the challenger, keep the champion, or go on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from everloop.stats.paired.paths import DAYS_AT_LEAST, PairedPaths, PairedRule, paired_paths
from everloop.stats.sequential import one_sided_widths

__all__ = ["PairedLosses", "PairedResult", "PairedRule", "Verdict", "compare_paired"]

Floats = NDArray[np.float64]
Verdict = Literal["promote", "keep", "go on"]

_SOMEWHAT_COMMON = 1.5


@dataclass(frozen=True, slots=True)
class PairedLosses:
    """The losses of both on the same cases, summed by day and cluster.

    Attributes:
        days: the days that have cases, rising, shape ``(t,)``.
        clusters: the clusters' names, sorted, length ``g``.
        champion: shape ``(t, g)``, zero where there is no case.
        challenger: likewise.
        counts: how many cases.
    """

    days: NDArray[np.int64]
    clusters: tuple[str, ...]
    champion: Floats
    challenger: Floats
    counts: NDArray[np.int64]

    @classmethod
    def collect(
        cls,
        day: ArrayLike,
        cluster: ArrayLike,
        champion: ArrayLike,
        challenger: ArrayLike,
        counts: ArrayLike | None = None,
    ) -> PairedLosses:
        """Sum cases, in any order.

        Each sum is exact before it is rounded once, so the order of the cases does not change a bit of it.

        Args:
            day: the day of each case, whole numbers, shape ``(n,)``.
            cluster: its cluster's name.
            champion: the champion's loss.
            challenger: the challenger's.
            counts: for how many cases each stands; one by default.

        Raises:
            ValueError: a loss is not finite.
        """
        losses = [np.asarray(each, dtype=np.float64) for each in (champion, challenger)]
        if not all(np.isfinite(each).all() for each in losses):
            raise ValueError("losses must be finite")
        days, row = np.unique(np.asarray(day, dtype=np.int64), return_inverse=True)
        names, column = np.unique(np.asarray(cluster, dtype=str), return_inverse=True)
        shape = (len(days), len(names))
        place = row * max(len(names), 1) + column
        order = np.argsort(place, kind="stable")
        cells, begin = np.unique(place[order], return_index=True)
        sums = []
        for each in losses:
            total = np.zeros(shape[0] * shape[1])
            total[cells] = [math.fsum(part) for part in np.split(each[order], begin[1:])] if len(cells) else []
            sums.append(total.reshape(shape))
        number = np.bincount(place, counts, minlength=shape[0] * shape[1]).astype(np.int64).reshape(shape)
        return cls(days, tuple(map(str, names)), sums[0], sums[1], number)


@dataclass(frozen=True, slots=True)
class PairedResult:
    """What a comparison says.

    Attributes:
        verdict: ``"promote"``, ``"keep"`` or ``"go on"``.
        why: ``"better"``, ``"not worse"`` (by more than the margin), ``"worse"``, ``"futile"``, ``"time is up"``,
            ``"too early"`` or ``"undecided"``.
        days: how many days of truth there are.
        effect: the share of the champion's loss that the challenger saves; ``None`` where the champion lost nothing.
        lower: below this with probability at most ``alpha`` over all looks; ``None`` where too little is known.
        upper: likewise above.
        unit: ``"cluster"`` or ``"day"``: what is taken for independent.
        worth: how many independent ones of equal size these are worth.
        chance: the chance to be promoted by the end if what was seen goes on; ``None`` where nothing is known of it.
        warnings: what weakens the evidence and what was done about it.
        paths: the effect and its bounds after each day.
    """

    verdict: Verdict
    why: str
    days: int
    effect: float | None
    lower: float | None
    upper: float | None
    unit: Literal["cluster", "day"]
    worth: float
    chance: float | None
    warnings: tuple[str, ...]
    paths: PairedPaths


def compare_paired(losses: PairedLosses, rule: PairedRule) -> PairedResult:
    """Compare a challenger with the champion on the truth so far.

    The answer depends on the losses alone, not on how often or in which order they were looked at: after a restart, or
    when a late or corrected value comes, the whole of it is computed anew.
    """
    days = len(losses.days)
    paths = paired_paths(losses.champion - losses.challenger, losses.champion, rule)
    if not days or not losses.champion.sum() > 0:
        why = "too early" if days < rule.max_days else "time is up"
        verdict: Verdict = "go on" if why == "too early" else "keep"
        return PairedResult(verdict, why, days, None, None, None, "day", 0.0, None, (), paths)
    effect, lower, upper = (float(path[-1]) for path in (paths.effect, paths.lower, paths.upper))
    is_known = math.isfinite(lower)
    chance = _chance(paths, rule)
    verdict, why = _verdict(days, lower, upper, chance, rule)
    return PairedResult(
        verdict,
        why,
        days,
        effect,
        lower if is_known else None,
        upper if is_known else None,
        "day" if paths.by_day[-1] else "cluster",
        float(paths.worth[-1]),
        chance,
        _warnings(paths, losses, rule),
        paths,
    )


def _verdict(days: int, lower: float, upper: float, chance: float | None, rule: PairedRule) -> tuple[Verdict, str]:
    if lower > -rule.margin:
        return "promote", "better" if lower > 0 else "not worse"
    if upper < -rule.margin:
        return "keep", "worse"
    if days >= rule.max_days:
        return "keep", "time is up"
    if not math.isfinite(lower):
        return "go on", "too early"
    if chance is not None and chance < rule.futility:
        return "keep", "futile"
    return "go on", "undecided"


def _chance(paths: PairedPaths, rule: PairedRule) -> float | None:
    """The chance that the lower bound lies above the margin on the last day.

    This is predictive power (Spiegelhalter, Freedman and Blackburn 1986): the mean of the days to come is drawn from
    what is known of the mean now.
    """
    done = paths.effect.shape[-1]
    half = float(paths.effect[-1] - paths.lower[-1])
    deviation = float(paths.deviation[-1])
    if done >= rule.max_days or not math.isfinite(half) or not deviation > 0:
        return None
    # as long as nothing else is known the spread of a day stays, and the bounds narrow as those of the rule do
    last = half * _narrowing(done, rule)
    spread = deviation * math.sqrt(max(1 - done / rule.max_days, 0.0))
    # the mean at the end is the mean now, and what the days to come may add to it
    return float(special.ndtr((float(paths.effect[-1]) + rule.margin - last) / spread))


def _narrowing(done: int, rule: PairedRule) -> float:
    """The width of the bounds on the last day, of their width now."""
    now, then = one_sided_widths([done, rule.max_days], alpha=rule.alpha, best_at=rule.max_days)
    return float(then / now)


def _warnings(paths: PairedPaths, losses: PairedLosses, rule: PairedRule) -> tuple[str, ...]:
    found = []
    count, worth, common = len(losses.clusters), float(paths.clusters[-1]), float(np.nan_to_num(paths.common[-1]))
    if worth < rule.min_clusters:
        size = f", worth {worth:.1f} of equal size" if count >= rule.min_clusters else ""
        found.append(f"too few clusters ({count}{size}): days are taken as the independent units, which is slower")
    elif paths.by_day[-1]:
        found.append(
            f"the clusters move together (their sum varies {common:.1f} times as much as independent ones would): days "
            "are taken as the independent units, which is slower"
        )
    elif common > _SOMEWHAT_COMMON:
        found.append(f"the clusters have something in common (factor {common:.1f}): the interval was widened for it")
    if paths.by_day[-1] and len(losses.days) >= DAYS_AT_LEAST and not math.isfinite(paths.lower[-1]):
        found.append(
            f"the days hang together so strongly that {len(losses.days)} are worth {paths.worth[-1]:.1f}: no bounds yet"
        )
    return tuple(found)
