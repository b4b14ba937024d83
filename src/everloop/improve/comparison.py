"""The shadow comparison: two releases on the same cases and the same truth.

Both answered the same requests at the same time. Of each instant the difference of their absolute errors, summed
over series and steps, is one observation; so dependence between series does no harm, and dependence between days
is met by the long-run variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everloop.monitor.joining import JoinedForecast
from everloop.stats.evidence import Evidence
from everloop.stats.sequential import mean_sequence

__all__ = ["PairedDays", "decide", "pair_days"]


@dataclass(frozen=True, slots=True)
class PairedDays:
    """By instant: the absolute errors of both on the same pairs, and the outcomes' absolute sum."""

    index: list[int]
    champion: list[float]
    challenger: list[float]
    actual: list[float]
    pairs: int


def pair_days(champion: Sequence[JoinedForecast], shadow: Sequence[JoinedForecast]) -> PairedDays:
    """The champion's answers and their shadow twins, summed by instant."""
    by_id = {each.prediction: each for each in champion}
    sums: dict[int, list[float]] = {}
    pairs = 0
    for twin in shadow:
        leader = by_id.get(twin.twin or "")
        if leader is None or leader.series != twin.series or not np.array_equal(leader.index, twin.index):
            continue
        known = np.isfinite(leader.actual) & np.isfinite(twin.actual)
        pairs += int(known.sum())
        actual = np.where(known, leader.actual, 0.0)
        first = np.where(known, np.abs(leader.mean - leader.actual), 0.0).sum(axis=0)
        second = np.where(known, np.abs(twin.mean - twin.actual), 0.0).sum(axis=0)
        for place in np.flatnonzero(known.any(axis=0)):
            total = sums.setdefault(int(leader.index[place]), [0.0, 0.0, 0.0])
            total[0] += float(first[place])
            total[1] += float(second[place])
            total[2] += float(np.abs(actual[:, place]).sum())
    order = sorted(sums)
    columns = [[sums[index][part] for index in order] for part in range(3)]
    return PairedDays(order, columns[0], columns[1], columns[2], pairs)


def decide(days: PairedDays, *, alpha: float, min_days: int, max_days: int) -> Evidence:
    """Promote, keep, or go on, on the evidence so far.

    The effect is how much smaller the challenger's absolute error is, as a share of the champion's.
    """
    champion, challenger = np.array(days.champion), np.array(days.challenger)
    scale = float(champion.mean()) if len(champion) else 0.0
    difference = (champion - challenger) / scale if scale > 0 else np.zeros(0)
    result = mean_sequence(difference, alpha=alpha, min_n=min_days, best_at=max_days)
    effect = result.mean if scale > 0 else None
    verdict, reason = _verdict(result.n, effect, result.lower, result.upper, min_days=min_days, max_days=max_days)
    return Evidence(
        question="Is the challenger's error smaller than the champion's?",
        verdict=verdict,
        reason=reason,
        effect=effect,
        unit="share of the champion's absolute error",
        lower=result.lower,
        upper=result.upper,
        n=result.n,
        observation=f"one day's difference of absolute errors, over {days.pairs} pairs of forecast and outcome",
        method="paired; asymptotic confidence sequence (Waudby-Smith et al. 2024) with long-run variance",
        guarantee=f"promotes a challenger that is not better in at most {alpha:.0%} of trials, however often it is "
        "looked at, while the dependence between days is mild (autocorrelation up to about 0.5)",
        would_change={
            "go on": "more days of truth",
            "promote": "nothing in this trial; live accuracy is watched from now on",
            "keep": "a new challenger",
        }[verdict],
        series={
            "index": list(days.index),
            "champion": list(days.champion),
            "challenger": list(days.challenger),
            "actual": list(days.actual),
        },
    )


def _verdict(
    n: int, effect: float | None, lower: float | None, upper: float | None, *, min_days: int, max_days: int
) -> tuple[str, str]:
    if lower is None or upper is None or effect is None:
        return "go on", f"{n} of at least {min_days} days of truth"
    shown = (
        f"error {-effect:+.1%} against the champion's over {n} days (surely between {-upper:+.1%} and {-lower:+.1%})"
    )
    if lower > 0:
        return "promote", f"the challenger is better: {shown}"
    if upper < 0:
        return "keep", f"the challenger is worse: {shown}"
    if n >= max_days:
        return "keep", f"not shown to be better within {max_days} days: {shown}"
    return "go on", f"undecided: {shown}"
