"""The evidence of a split comparison, in numbers and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.stats.evidence import Evidence
from everloop.stats.split.draws import LARGE_ARM
from everloop.stats.split.intervals import Bounds
from everloop.stats.split.metrics import UnitMetric
from everloop.stats.split.rule import SplitRule

__all__ = ["Setting", "comparison_evidence", "overall_evidence"]


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What all comparisons of a split share.

    Attributes:
        rule: the error bounds and days.
        sizes: how many units each arm has.
        names: what each arm is called, the champion first.
        cluster: what a unit is.
        warnings: what weakens the evidence.
    """

    rule: SplitRule
    sizes: NDArray[np.int64]
    names: tuple[str, ...]
    cluster: str
    warnings: tuple[str, ...]


def comparison_evidence(
    metric: UnitMetric,
    found: Bounds,
    number: int,
    setting: Setting,
    *,
    is_guardrail: bool,
) -> Evidence:
    """One challenger in one metric; the effect is an improvement, above zero whichever way the metric goes."""
    rule, sizes, names = setting.rule, setting.sizes, setting.names
    effect, lower, upper = (_finite(each) for each in (found.effect, found.lower, found.upper))
    days, units = len(found.effect), int(sizes[0] + sizes[number])
    bar = -metric.margin if is_guardrail or rule.goal == "not worse" else 0.0
    verdict = _word(lower, upper, bar, is_guardrail=is_guardrail)
    alpha = rule.guardrail_alpha if is_guardrail else rule.alpha
    unit = "share of the champion's value" if metric.scale == "relative" else metric.name
    what = "not harmed" if is_guardrail else "better" if rule.goal == "better" else "not worse than is borne"
    return Evidence(
        question=f"Is {metric.name} {what} where {names[number]} answers instead of {names[0]}?",
        verdict=verdict,
        reason=_reason(metric, verdict, (effect, lower, upper), days),
        effect=effect,
        unit=f"{unit}, improvement is above zero",
        lower=lower,
        upper=upper,
        n=units,
        observation=f"what one {setting.cluster} came to over {days} closed days",
        method=_method(metric, int(sizes.min())),
        guarantee=_guarantee(alpha, is_guardrail=is_guardrail),
        would_change="more days, or more units" if verdict == "undecided" else "a correction of the truth",
        series={
            "day": list(range(1, days + 1)),
            "effect": _listed(found.effect),
            "lower": _listed(found.lower),
            "upper": _listed(found.upper),
        },
        kind="split",
        alpha=alpha,
        clusters=units,
        cluster=setting.cluster,
        warnings=setting.warnings,
    )


def overall_evidence(leading: Evidence, verdict: str, reason: str, *, guardrails: int, arms: int) -> Evidence:
    """The verdict on the whole split, with the numbers of the challenger that it rests on."""
    beside = f"{arms - 1} challengers and {guardrails} guardrails" if arms > 2 else f"{guardrails} guardrails"
    change = {
        "go on": "more closed days",
        "cannot tell": "a new split whose answers are all stored",
        "promote": "nothing in this split; live accuracy is watched from now on",
        "keep": "a new challenger",
        "stop": "a new challenger that leaves the guardrails alone",
    }[verdict]
    return replace(
        leading,
        question="Shall a challenger take charge, by what the units came to that it answered?",
        verdict=verdict,
        reason=reason,
        guarantee=f"{leading.guarantee}; {beside} beside it, false alarms on any of them likewise bounded",
        would_change=change,
    )


def _word(lower: float | None, upper: float | None, bar: float, *, is_guardrail: bool) -> str:
    if upper is not None and upper < bar:
        return "harmed" if is_guardrail else "worse"
    if lower is not None and lower > bar:
        return "not harmed" if is_guardrail else ("better" if bar == 0 else "not worse")
    return "undecided"


def _reason(metric: UnitMetric, verdict: str, figures: tuple[float | None, ...], days: int) -> str:
    effect, lower, upper = figures
    if effect is None:
        return f"{verdict}: too little is known of {metric.name}"

    def text(value: float | None) -> str:
        if value is None:
            return "anything"
        return f"{value:+.2%}" if metric.scale == "relative" else f"{value:+.4g}"

    word = "better" if effect >= 0 else "worse"
    size = text(abs(effect)).lstrip("+")
    return f"{verdict}: {metric.name} {size} {word} (surely from {text(lower)} to {text(upper)}) over {days} days"


def _method(metric: UnitMetric, smallest: int) -> str:
    value = "ratio of sums, linearised over all arms" if metric.counts is not None else "mean by unit and day"
    less = "; less what was known before (CUPED, Deng et al. 2013, one theta)" if metric.is_adjusted else ""
    dealt = "units dealt anew (studentised randomisation test)"
    drawn = dealt if smallest < LARGE_ARM else "normal paths with the units' covariance"
    spent = "repeated confidence intervals, error spent by day (Lan and DeMets 1983)"
    return f"split by unit; {value}{less}; {spent}, {drawn}"


def _guarantee(alpha: float, *, is_guardrail: bool) -> str:
    what = (
        "any harm is said wrongly, over all guardrails, challengers and days,"
        if is_guardrail
        else "a challenger is wrongly said to be better, over all challengers and days,"
    )
    return (
        f"{what} in at most {alpha:.1%} of splits, however a unit's days depend on each other, as long as units were "
        "dealt at random and act independently"
    )


def _finite(column: NDArray[np.float64]) -> float | None:
    return float(column[-1]) if len(column) and math.isfinite(column[-1]) else None


def _listed(column: NDArray[np.float64]) -> list[Any]:
    return [float(each) if math.isfinite(each) else None for each in column]
