"""What the bounds of a split amount to: the first look that decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from everloop.stats.split.intervals import Bounds
from everloop.stats.split.metrics import UnitMetric
from everloop.stats.split.rule import SplitRule

__all__ = ["Ruling", "Standing", "Verdict", "bar_of", "first_ruling"]

Floats = NDArray[np.float64]
Verdict = Literal["promote", "keep", "go on", "stop", "cannot tell"]


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """The bounds of all challengers up to a look.

    Attributes:
        decisive: those of the deciding metric, by challenger.
        guards: those of the guardrails, by challenger and guardrail.
        days: how many looks there are at the deciding metric.
        guard_days: how many at the guardrails, some of which need not wait for the truth.
    """

    decisive: list[Bounds]
    guards: list[list[Bounds]]
    days: int
    guard_days: int

    @property
    def looks(self) -> int:
        """The days of both, the last of which is the same."""
        return max(self.days, self.guard_days)

    def until(self, look: int) -> Standing:
        """What was known some days ago, the truth being as late then as it is now."""
        days, guard_days = (max(each - self.looks + look, 0) for each in (self.days, self.guard_days))
        return Standing(
            [each.until(days) for each in self.decisive],
            [[each.until(guard_days) for each in row] for row in self.guards],
            days,
            guard_days,
        )

    @property
    def leader(self) -> int:
        """The number of the challenger that looks best, from 1."""
        return int(np.argmax([_last(each.effect, -math.inf) for each in self.decisive])) + 1


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict with the winner's number, the numbers of those who harmed a guardrail, and the reason."""

    verdict: Verdict
    winner: int | None
    stopped: tuple[int, ...]
    reason: str


def first_ruling(
    primary: UnitMetric,
    guardrails: Sequence[UnitMetric],
    standing: Standing,
    names: Sequence[str],
    rule: SplitRule,
    *,
    mismatch: str = "",
) -> tuple[Ruling, Standing]:
    """The first look's ruling that is one, or the last look's, with the bounds up to it.

    With a mismatch of the sample ratio only harm counts, and the end of the time: something is wrong, which is no
    reason to go on harming, nor to go on for ever.
    """
    ruling, known = _ruling(primary, guardrails, standing.until(0), names, rule), standing.until(0)
    for day in range(1, standing.looks + 1):
        known = standing.until(day)
        ruling = _ruling(primary, guardrails, known, names, rule)
        if ruling.stopped or (ruling.verdict != "go on" and not mismatch):
            break
    is_over = rule.days_before + known.days >= rule.max_days
    if mismatch and ruling.verdict != "stop":
        verdict: Verdict = "keep" if is_over else "cannot tell"
        ruling = Ruling(verdict, None, ruling.stopped, f"nothing is judged by this split: {mismatch}")
    return ruling, known


def bar_of(primary: UnitMetric, rule: SplitRule) -> float:
    """The effect that a challenger must be shown to pass."""
    return -primary.margin if rule.goal == "not worse" else 0.0


def _ruling(
    primary: UnitMetric, guardrails: Sequence[UnitMetric], standing: Standing, names: Sequence[str], rule: SplitRule
) -> Ruling:
    found, days = standing.decisive, standing.days
    stopped = tuple(
        number
        for number, row in enumerate(standing.guards, start=1)
        if any(_last(each.upper, math.inf) < -metric.margin for each, metric in zip(row, guardrails, strict=True))
    )
    if len(stopped) == len(found):
        harmed = ", ".join(_harm(names[number], standing.guards[number - 1], guardrails) for number in stopped)
        return Ruling("stop", None, stopped, f"a guardrail is harmed beyond doubt: {harmed}; the champion stays")
    bar = bar_of(primary, rule)
    running = [number for number in range(1, len(found) + 1) if number not in stopped]
    shown = {number: _shown(primary, found[number - 1], days) for number in running}
    winners = [number for number in running if _last(found[number - 1].lower, -math.inf) > bar]
    if winners:
        best = max(winners, key=lambda number: _last(found[number - 1].effect, -math.inf))
        what = "better" if rule.goal == "better" else f"not worse by more than {primary.margin:g}"
        return Ruling("promote", best, stopped, f"{names[best]} is {what}: {shown[best]}")
    if all(_last(found[number - 1].upper, math.inf) < bar for number in running):
        worst = running[0]
        return Ruling("keep", None, stopped, f"{names[worst]} is worse: {shown[worst]}")
    best = max(running, key=lambda number: _last(found[number - 1].effect, -math.inf))
    if rule.days_before + days >= rule.max_days:
        goal = f"not shown to be {rule.goal} within {rule.max_days} days: {shown[best]}"
        return Ruling("keep", None, stopped, goal)
    if rule.days_before + days < rule.min_days:
        return Ruling("go on", None, stopped, f"{rule.days_before + days} of at least {rule.min_days} closed days")
    return Ruling("go on", None, stopped, f"undecided: {shown[best]}")


def _harm(name: str, row: Sequence[Bounds], guardrails: Sequence[UnitMetric]) -> str:
    worst = [
        _shown(metric, each, len(each.effect))
        for each, metric in zip(row, guardrails, strict=True)
        if _last(each.upper, math.inf) < -metric.margin
    ]
    return f"{name}, {'; '.join(worst)}"


def _shown(metric: UnitMetric, found: Bounds, days: int) -> str:
    effect, lower, upper = (_last(each, math.nan) for each in (found.effect, found.lower, found.upper))
    if not math.isfinite(effect):
        return f"too little is known of {metric.name} after {days} days"
    word = "better" if effect >= 0 else "worse"
    sure = ""
    if math.isfinite(lower) or math.isfinite(upper):
        least, most = (_sized(metric, each) if math.isfinite(each) else "anything" for each in (lower, upper))
        sure = f" (surely from {least} to {most}, above zero is better)"
    return f"{metric.name} {_sized(metric, abs(effect)).lstrip('+')} {word}{sure} over {days} days"


def _sized(metric: UnitMetric, value: float) -> str:
    return f"{value:+.2%}" if metric.scale == "relative" else f"{value:+.4g}"


def _last(column: Floats, empty: float) -> float:
    return float(column[-1]) if len(column) and not np.isnan(column[-1]) else empty
