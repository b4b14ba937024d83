"""The shadow comparison: two releases on the same cases and the same truth.

Both answered the same requests at the same time. The difference of their losses is summed by day and cluster (a store,
say); :mod:`everloop.stats.paired` says what these sums prove. Everything is computed anew from predictions and outcomes
at each look, so late and corrected outcomes may come in any order.

A day counts when its truth has settled. Where half of the stores have not reported yet, the other half would decide
who is better, and an estimate from what happens to come early is not one of the same effect (late labels: see
``docs/explanation/methods/paired-comparison.md``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from everloop.monitor.joining import JoinedForecast
from everloop.stats.evidence import Evidence
from everloop.stats.paired.comparison import PairedLosses, PairedResult, PairedRule, compare_paired
from everloop.stats.paired.losses import Loss

__all__ = ["decide", "pair_cases"]

_SETTLED_SHARE = 0.8
"""A day counts when so much of its truth has come, of the share that days have in the end."""
_LATE_DAYS = 28
"""A day that is so much older than the newest counts as it is: what has not come by then never comes."""

_Case = tuple[int, str, float, float, float]
"""Day, group, the losses of champion and challenger, and how many pairs these are the sums of."""


def pair_cases(
    champion: Sequence[JoinedForecast], shadow: Sequence[JoinedForecast], *, cluster: Callable[[str], str], loss: Loss
) -> PairedLosses:
    """The losses of the champion's answers and of their shadow twins, where the truth has settled.

    Args:
        champion: the champion's answers beside the truth.
        shadow: the challenger's to the same requests.
        cluster: the group of a series' text.
        loss: what an error costs.
    """
    by_id = {each.prediction: each for each in champion}
    asked: dict[int, int] = defaultdict(int)
    known: dict[int, int] = defaultdict(int)
    cases: list[_Case] = []
    for twin in shadow:
        leader = by_id.get(twin.twin or "")
        if leader is None or leader.series != twin.series or not np.array_equal(leader.index, twin.index):
            continue
        is_known = np.isfinite(leader.actual) & np.isfinite(twin.actual)
        for day, count in zip(leader.index.tolist(), is_known.sum(axis=0).tolist(), strict=True):
            asked[day] += len(leader.series)
            known[day] += count
        cases += _cases(leader, twin, is_known, cluster, loss)
    settled = _settled(asked, known)
    kept = [each for each in cases if each[0] in settled]
    return PairedLosses.collect(*([case[place] for case in kept] for place in range(5)))


def _cases(
    leader: JoinedForecast,
    twin: JoinedForecast,
    is_known: NDArray[np.bool_],
    cluster: Callable[[str], str],
    loss: Loss,
) -> list[_Case]:
    """The losses of both, summed by day and group."""
    names, member = np.unique([cluster(each) for each in leader.series], return_inverse=True)
    both = [
        np.where(is_known, loss.of(each.mean, np.where(is_known, each.actual, 0.0)), 0.0) for each in (leader, twin)
    ]
    sums = np.zeros((3, len(names), is_known.shape[1]))
    for place, values in enumerate((*both, is_known)):
        np.add.at(sums[place], member, values)
    found: list[_Case] = []
    for group, step in zip(*np.nonzero(sums[2]), strict=True):
        first, second, count = sums[:, group, step].tolist()
        found.append((int(leader.index[step]), str(names[group]), first, second, count))
    return found


def _settled(asked: dict[int, int], known: dict[int, int]) -> set[int]:
    """The days whose truth has come, as far as it ever comes."""
    shares = {day: known[day] / asked[day] for day in asked if known[day]}
    if not shares:
        return set()
    usual = float(np.median(list(shares.values())))
    newest = max(shares)
    return {day for day, share in shares.items() if share >= _SETTLED_SHARE * usual or day <= newest - _LATE_DAYS}


def decide(
    losses: PairedLosses, rule: PairedRule, *, loss: Loss, cluster: str, name_day: Callable[[int], str] = str
) -> Evidence:
    """Promote, keep, or go on, on the evidence so far.

    Args:
        losses: of both releases.
        rule: how it is decided.
        loss: what the losses are.
        cluster: what a cluster is.
        name_day: the date of a day's number.
    """
    result = compare_paired(losses, rule)
    unit = f"day and {cluster}" if result.unit == "cluster" else "day"
    margin = f", or not worse by more than {rule.margin:.1%}" if rule.margin else ""
    return Evidence(
        question=f"Is the challenger's {loss.noun} smaller than the champion's{margin}?",
        verdict=result.verdict,
        reason=_reason(result, rule, loss),
        effect=result.effect,
        unit=f"share of the champion's {loss.noun}",
        lower=result.lower,
        upper=result.upper,
        n=result.days,
        observation=f"the difference of both losses on one {unit}, over {int(losses.counts.sum())} pairs with truth",
        method=_METHODS[result.unit],
        guarantee=f"a challenger that is not better{' by the margin' if rule.margin else ''} is promoted in at most "
        f"{rule.alpha:.0%} of trials, however often it is looked at, {_CONDITIONS[result.unit]}",
        would_change=_would_change(result, rule),
        series={
            "day": [name_day(day) for day in losses.days.tolist()],
            "champion": losses.champion.sum(axis=1).tolist(),
            "challenger": losses.challenger.sum(axis=1).tolist(),
            **{
                name: [float(value) if np.isfinite(value) else None for value in path]
                for name, path in (
                    ("effect", result.paths.effect),
                    ("lower", result.paths.lower),
                    ("upper", result.paths.upper),
                )
            },
        },
        kind="paired",
        alpha=rule.alpha,
        clusters=len(losses.clusters),
        cluster=cluster,
        warnings=result.warnings,
    )


_METHODS = {
    "cluster": "paired and clustered; asymptotic confidence sequence (Waudby-Smith et al. 2024), with the variance "
    "between clusters and Student's quantiles",
    "day": "paired by day; asymptotic confidence sequence (Waudby-Smith et al. 2024), with long-run variance and "
    "Student's quantiles",
}
_CONDITIONS = {
    "cluster": "while the clusters have little in common, which is checked",
    "day": "while the dependence between days fades within some days",
}


def _reason(result: PairedResult, rule: PairedRule, loss: Loss) -> str:
    if result.effect is None:
        return f"{result.days} of at least {rule.min_days} days of truth"
    shown = f"{loss.noun} {-result.effect:+.1%} against the champion's over {result.days} days"
    if result.lower is None or result.upper is None:
        if result.days < rule.min_days:
            return f"{result.days} of at least {rule.min_days} days of truth: {shown}"
        return f"too early for bounds: {shown}"
    shown += f" (surely between {-result.upper:+.1%} and {-result.lower:+.1%})"
    return {
        "better": f"the challenger is better: {shown}",
        "not worse": f"the challenger is not worse by more than {rule.margin:.1%}: {shown}",
        "worse": f"the challenger is worse: {shown}",
        "time is up": f"not shown to be better within {rule.max_days} days: {shown}",
        "futile": f"will hardly be shown to be better within {rule.max_days} days "
        f"(chance {result.chance or 0.0:.1%}): {shown}",
    }.get(result.why, f"undecided: {shown}")


def _would_change(result: PairedResult, rule: PairedRule) -> str:
    if result.verdict == "promote":
        return "nothing in this trial; live accuracy is watched from now on"
    if result.verdict == "keep":
        return "a new challenger" + ("; or more days: release.max_days" if result.why == "time is up" else "")
    chance = (
        "" if result.chance is None else f"; the chance to be promoted by day {rule.max_days} is {result.chance:.0%}"
    )
    return f"more days of truth{chance}"
