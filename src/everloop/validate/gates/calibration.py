"""Gates on calibration: forecasts right in sum, intervals that cover what they say."""

from __future__ import annotations

from typing import Any

from everloop.validate.gates.measures import by_fold, pick
from everloop.validate.gates.pairing import Estimate
from everloop.validate.gates.result import GateResult
from everloop.validate.scores import Scores

__all__ = ["bias", "coverage"]


def bias(scores: Scores, limit: float, *, found: Estimate | None = None) -> GateResult:
    """Forecasts are not too high or too low in sum by more than the limit, or not beyond chance."""
    measure = pick(scores, "bias")
    evidence: dict[str, Any] = {
        "bias": measure.value,
        "max_bias": limit,
        "n": measure.n,
        "by_fold": by_fold(scores, "bias"),
    }
    if found is not None:
        evidence["interval"] = found.to_dict()
    if measure.value is None:
        message = f"the bias cannot be told: {measure.reason}"
        return GateResult("G_BIAS", "bias", False, "error", message, evidence)
    is_within = abs(measure.value) <= limit
    is_chance = found is not None and _may_be_zero(found)
    side = "too high" if measure.value > 0 else "too low"
    message = f"forecasts are {abs(measure.value):.1%} {side} in sum, {'within' if is_within else 'above'} {limit:.1%}"
    if not is_within and is_chance:
        message += ", which may be chance"
    return GateResult("G_BIAS", "bias", is_within or is_chance, "error", message, evidence)


def coverage(scores: Scores, level: float, tolerance: float, *, found: Estimate | None = None) -> GateResult:
    """The share of actual values inside the interval is near its level, or not off beyond chance.

    Too few inside stop a release. Too many warn: for small counts no whole-number interval covers exactly 80 %.
    """
    name = f"coverage_{level:g}"
    measure = pick(scores, name)
    evidence: dict[str, Any] = {
        "coverage": measure.value,
        "level": level / 100,
        "tolerance": tolerance,
        "n": measure.n,
        "by_fold": by_fold(scores, name),
    }
    if found is not None:
        evidence["interval"] = found.to_dict()
    if measure.value is None:
        message = f"the coverage of the {level:g} % intervals cannot be told: {measure.reason}"
        return GateResult("G_COVERAGE", name, False, "warning", message, evidence)
    gap = measure.value - level / 100
    is_within = abs(gap) <= tolerance + 1e-12
    is_chance = found is not None and _may_be_zero(found)
    message = f"{measure.value:.1%} of {measure.n} actuals lie within the {level:g} % intervals"
    if not is_within:
        message += f", {'too many: they are too wide' if gap > 0 else 'too few: they are too narrow'}"
        message += ", which may be chance" if is_chance else ""
    if measure.reason:
        message += f"; {measure.reason}"
    return GateResult(
        "G_COVERAGE", name, is_within or is_chance, "warning" if gap > 0 else "error", message, evidence
    )  # fmt: skip


def _may_be_zero(found: Estimate) -> bool:
    """Whether an interval is known and holds zero."""
    return found.lower is not None and not (found.is_surely_positive or found.is_surely_negative)
