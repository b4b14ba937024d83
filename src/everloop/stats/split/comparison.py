"""The split comparison: one metric that decides, others that must not be harmed, several challengers at once.

Units (users, stores, series) are the clusters: a unit's days may depend on each other as they like, and units need
only have been dealt to the arms at random. Each closed day is a look. Three error bounds hold over all looks:

- a challenger that is not better is said to be so with probability at most ``alpha``, over all challengers together;
- likewise one that is not worse is said to be worse;
- with probability at most ``guardrail_alpha`` any guardrail of any challenger is said to be harmed that is not.

Each is a family that is judged by its largest statistic, whose critical values come from dealing the units anew
(:mod:`everloop.stats.split.draws`) and spend the error day by day (:mod:`everloop.stats.split.boundary`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.stats.evidence import Evidence
from everloop.stats.split.boundary import spending
from everloop.stats.split.draws import DRAWS, arm_means, null_paths, statistic
from everloop.stats.split.intervals import Bounds, agreeing, bounds_of, critical_values
from everloop.stats.split.inversion import inverted_bounds
from everloop.stats.split.metrics import UnitMetric, at_effect, unit_values
from everloop.stats.split.report import Setting, comparison_evidence, overall_evidence
from everloop.stats.split.rule import SplitRule
from everloop.stats.split.verdict import Standing, Verdict, bar_of, first_ruling

__all__ = ["SplitDecision", "compare_arms", "metric_bounds"]

Floats = NDArray[np.float64]

_INVERTED_UNITS = 2_000
"""With more units, a ratio's own standard error is good enough."""


@dataclass(frozen=True, slots=True)
class SplitDecision:
    """What a split shows.

    Attributes:
        verdict: ``"promote"`` the winner, ``"keep"`` the champion, ``"go on"``, ``"stop"`` (every challenger has harmed
            a guardrail: roll back), or ``"cannot tell"`` (the units were not dealt as was set).
        winner: the number of the arm to promote.
        stopped: the numbers of arms that harmed a guardrail.
        reason: a sentence.
        overall: the evidence for the verdict.
        parts: one record for each challenger and metric, the deciding metric first.
    """

    verdict: Verdict
    winner: int | None
    stopped: tuple[int, ...]
    reason: str
    overall: Evidence
    parts: tuple[Evidence, ...]


def metric_bounds(
    metrics: Sequence[UnitMetric],
    arm: NDArray[np.int64],
    arms: int,
    *,
    spent: Floats,
    centres: Sequence[float] | None = None,
    entered: NDArray[np.int64] | None = None,
    draws: int = DRAWS,
) -> list[list[Bounds]]:
    """Bounds for a family of metrics, by challenger and metric, at every look.

    Each metric has a centre, the effect that is to be refuted: whether its bounds leave it is an exact test where each
    unit has just this effect. Further away the bounds rest on large samples.

    Args:
        metrics: the family; their days are the looks.
        arm: the arm of each unit, shape ``(units,)``; 0 is the champion's.
        arms: how many arms there are.
        spent: the error that the family may have made by each look.
        centres: the effects to be refuted, improvements; ``None`` for zeros.
        entered: the day, from 0, on which each unit came in; ``None`` for all on the first.
        draws: how many draws the critical values rest on.

    Raises:
        ValueError: shapes do not fit, or a value is not finite.
    """
    units, days = metrics[0].sums.shape
    _check(metrics, arm, arms)
    first = np.zeros(units, dtype=np.int64) if entered is None else entered
    present = first[:, None] <= np.arange(days)
    middle = [0.0] * len(metrics) if centres is None else list(centres)
    alike = [
        unit_values(at_effect(metric, arm, centre), present) for metric, centre in zip(metrics, middle, strict=True)
    ]
    better = np.array([1 if each.better == "higher" else -1 for each in metrics])
    critical = critical_values(null_paths(alike, present, arm, arms, draws=draws), spent, better.tolist())
    score = statistic(arm_means(alike, present, arm, arms)) * better[:, None]
    found = arm_means([unit_values(metric, present, arm) for metric in metrics], present, arm, arms)
    family: list[list[Bounds]] = [[] for _ in range(arms - 1)]
    for place, (metric, centre) in enumerate(zip(metrics, middle, strict=True)):
        own = [bounds_of(found, metric, (number, place), critical) for number in range(1, arms)]
        if metric.counts is not None and units <= _INVERTED_UNITS:
            own = inverted_bounds(metric, present, arm, np.stack([each.effect for each in own]), critical)
        for number, each in enumerate(own):
            family[number].append(agreeing(each, centre, score[number, place], critical))
    return family


def compare_arms(
    primary: UnitMetric,
    guardrails: Sequence[UnitMetric],
    arm: NDArray[np.int64],
    names: Sequence[str],
    *,
    rule: SplitRule,
    cluster: str = "unit",
    entered: NDArray[np.int64] | None = None,
    mismatch: str = "",
) -> SplitDecision:
    """Judge the challengers of a split against its champion.

    The first look at which something is decided stands, and the evidence is that of this look: whoever looks seldom,
    or anew after a restart, gets the answer that a look on each day would have given.

    Args:
        primary: the metric that decides.
        guardrails: metrics that must not be harmed by more than their margin, over the same units; they may have more
            days than the deciding metric, where they need not wait for the truth.
        arm: the arm of each unit, shape ``(units,)``; 0 is the champion's.
        names: what each arm is called, the champion first.
        rule: the error bounds and days.
        cluster: what a unit is, for the words.
        entered: the day, from 0, on which each unit came in.
        mismatch: what the sample ratio test found wrong; nothing is judged then.

    Raises:
        ValueError: shapes do not fit, or a value is not finite.
    """
    longest = max(rule.max_days - rule.days_before, 0)
    primary, guardrails = primary.until(longest), [each.until(longest) for each in guardrails]

    def bounds(metrics: Sequence[UnitMetric], alpha: float, first: int, bars: list[float]) -> list[list[Bounds]]:
        days = metrics[0].sums.shape[1] if metrics else 0
        if not days or len(arm) < 2:
            return [[Bounds(*(np.zeros(0),) * 3)] * len(metrics)] * (len(names) - 1)
        spent = spending(days, alpha=alpha, horizon=rule.max_days, first=first, before=rule.days_before)
        return metric_bounds(metrics, arm, len(names), spent=spent, centres=bars, entered=entered, draws=rule.draws)

    decisive = bounds([primary], rule.alpha, rule.first_look, [bar_of(primary, rule)])
    # harm is looked for from the first day on: it is what a small share of the traffic is to find soon
    guards = bounds(guardrails, rule.guardrail_alpha, 1, [-each.margin for each in guardrails])
    days = primary.sums.shape[1]
    standing = Standing([row[0] for row in decisive], guards, days, guardrails[0].sums.shape[1] if guardrails else days)
    ruling, standing = first_ruling(primary, guardrails, standing, names, rule, mismatch=mismatch)
    sizes = np.bincount(arm, minlength=len(names))
    setting = Setting(rule, sizes, tuple(names), cluster, _warnings(sizes, rule, primary))
    parts = [
        comparison_evidence(metric, found, number, setting, is_guardrail=place > 0)
        for place, metric in enumerate((primary, *guardrails))
        for number, found in enumerate(
            standing.decisive if place == 0 else [row[place - 1] for row in standing.guards], start=1
        )
    ]
    leader = ruling.winner or standing.leader
    overall = overall_evidence(
        parts[leader - 1], ruling.verdict, ruling.reason, guardrails=len(guardrails), arms=len(names)
    )
    return SplitDecision(ruling.verdict, ruling.winner, ruling.stopped, ruling.reason, overall, tuple(parts))


def _warnings(sizes: NDArray[np.int64], rule: SplitRule, primary: UnitMetric) -> tuple[str, ...]:
    found = []
    fewest = int(sizes.min()) if len(sizes) else 0
    ways = math.comb(int(sizes.sum()), fewest)
    if ways < 2 / rule.alpha:
        found.append(
            f"{int(sizes.sum())} units can be dealt in {ways} ways only: too few for any verdict at this alpha"
        )
    elif fewest < 10:
        found.append(
            f"an arm has {fewest} units: the bounds rest on dealing them anew, which is exact only where the arms are "
            "alike in all respects; they are wide, and a difference in spread alone can disturb them"
        )
    if not primary.is_adjusted:
        found.append("nothing known before the split reduces the variance: it will take longer than it need")
    return tuple(found)


def _check(metrics: Sequence[UnitMetric], arm: NDArray[np.int64], arms: int) -> None:
    shape = metrics[0].sums.shape
    if any(each.sums.shape != shape for each in metrics) or arm.shape != shape[:1]:
        raise ValueError("all metrics need the same units and days, and an arm for each unit")
    if len(arm) and (arm.min() < 0 or arm.max() >= arms):
        raise ValueError(f"arms are numbered from 0 to {arms - 1}")
