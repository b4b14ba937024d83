"""Gates: what a candidate must show before it may be released, each with its evidence and a stable code.

=================  ==========================  ==============================================================
code               name                        passes when
=================  ==========================  ==============================================================
G_FINITE           finite                      every forecast of the backtest is a finite number
G_BASELINE         beats_baseline              1 - metric / seasonal naive's >= ``validate.gates.min_skill``
G_CHAMPION         not_worse_than_champion     metric <= champion's * (1 + ``champion_margin``), same windows
G_BIAS             bias                        |sum (f - a)| / sum |a| <= ``max_bias``
G_COVERAGE         coverage_LEVEL              the share inside is within ``coverage_tolerance`` of the level
=================  ==========================  ==============================================================

A failed gate of severity ``error`` stops a release; one of severity ``warning`` is shown with it. What cannot be
told does not pass. Intervals that are too wide are a warning and not an error: for small counts no whole-number
interval covers exactly 80 %, and the lower end cannot go below zero. The gates compare point estimates over all
windows; the bound on false promotions comes from the trial on live traffic, not from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from everloop.core.settings import GateSettings
from everloop.validate.metrics import Measure
from everloop.validate.scores import Scores, skill

__all__ = ["GateResult", "blocking", "judge"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's verdict.

    Attributes:
        code: the stable code of the kind of gate.
        name: the gate.
        passed: whether it passed.
        severity: what a failure means: ``"error"`` stops the release.
        message: a sentence for a person.
        evidence: the numbers behind it: values, limits, ``n``, values by window.
    """

    code: str
    name: str
    passed: bool
    severity: Severity
    message: str
    evidence: dict[str, Any]

    @property
    def blocks(self) -> bool:
        """Whether it stops the release."""
        return not self.passed and self.severity == "error"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def judge(
    scores: Scores,
    baseline: Scores,
    settings: GateSettings,
    *,
    metric: str,
    levels: Sequence[float],
    champion: Scores | None = None,
) -> tuple[GateResult, ...]:
    """All gates' verdicts on a candidate.

    Args:
        scores: the candidate's.
        baseline: the seasonal naive's, of the same windows.
        settings: the limits.
        metric: the metric that is compared.
        levels: the interval levels that were asked, in percent.
        champion: the champion's scores of the same windows, ``None`` where nobody is in charge.
    """
    return (
        _finite(scores),
        _beats_baseline(scores, baseline, metric, settings.min_skill),
        _not_worse_than_champion(scores, champion, metric, settings.champion_margin),
        _bias(scores, settings.max_bias),
        *[_coverage(scores, level, settings.coverage_tolerance) for level in levels],
    )


def blocking(gates: Sequence[GateResult]) -> list[GateResult]:
    """The gates that stop a release."""
    return [gate for gate in gates if gate.blocks]


def _finite(scores: Scores) -> GateResult:
    measure = scores.overall["wape"]
    is_broken = "not finite" in measure.reason
    message = measure.reason if is_broken else f"all {measure.n} forecasts are finite numbers"
    return GateResult("G_FINITE", "finite", not is_broken, "error", message, {"n": measure.n})


def _beats_baseline(scores: Scores, baseline: Scores, metric: str, least: float) -> GateResult:
    mine, other = _pick(scores, metric), _pick(baseline, metric)
    value = skill(mine, other)
    evidence = _compared(scores, baseline, metric) | {"skill": value, "min_skill": least}
    passed = value is not None and value >= least
    if value is None:
        message = f"{metric} cannot be compared with the seasonal naive's: {_why(mine, other)}"
    else:
        relation = "at least" if passed else "less than"
        message = (
            f"{metric} {_number(mine)}, the seasonal naive's {_number(other)}: skill {value:+.1%}, "
            f"{relation} the {least:+.1%} asked"
        )
    return GateResult("G_BASELINE", "beats_baseline", passed, "error", message, evidence)


def _not_worse_than_champion(scores: Scores, champion: Scores | None, metric: str, margin: float) -> GateResult:
    code, name = "G_CHAMPION", "not_worse_than_champion"
    mine = _pick(scores, metric)
    if champion is None:
        evidence = {"metric": metric, "value": mine.value, "champion": None, "margin": margin, "n": mine.n}
        return GateResult(code, name, True, "error", "no champion", evidence)
    other = _pick(champion, metric)
    evidence = _compared(scores, champion, metric) | {"margin": margin}
    if mine.value is None or other.value is None:
        message = f"{metric} cannot be compared with the champion's: {_why(mine, other)}"
        return GateResult(code, name, False, "error", message, evidence)
    limit = other.value * (1 + margin)
    passed = mine.value <= limit
    message = (
        f"{metric} {mine.value:.4f}, the champion's {other.value:.4f} on the same windows: "
        f"{'within' if passed else 'above'} the limit {limit:.4f} (margin {margin:.0%})"
    )
    return GateResult(code, name, passed, "error", message, evidence | {"limit": limit})


def _bias(scores: Scores, limit: float) -> GateResult:
    measure = _pick(scores, "bias")
    evidence = {"bias": measure.value, "max_bias": limit, "n": measure.n, "by_fold": _by_fold(scores, "bias")}
    if measure.value is None:
        message = f"the bias cannot be told: {measure.reason}"
        return GateResult("G_BIAS", "bias", False, "error", message, evidence)
    passed = abs(measure.value) <= limit
    side = "too high" if measure.value > 0 else "too low"
    message = f"forecasts are {abs(measure.value):.1%} {side} in sum, {'within' if passed else 'above'} {limit:.1%}"
    return GateResult("G_BIAS", "bias", passed, "error", message, evidence)


def _coverage(scores: Scores, level: float, tolerance: float) -> GateResult:
    name = f"coverage_{level:g}"
    measure = _pick(scores, name)
    evidence = {
        "coverage": measure.value,
        "level": level / 100,
        "tolerance": tolerance,
        "n": measure.n,
        "by_fold": _by_fold(scores, name),
    }
    if measure.value is None:
        message = f"the coverage of the {level:g} % intervals cannot be told: {measure.reason}"
        return GateResult("G_COVERAGE", name, False, "warning", message, evidence)
    gap = measure.value - level / 100
    passed = abs(gap) <= tolerance + 1e-12
    message = f"{measure.value:.1%} of {measure.n} actuals lie within the {level:g} % intervals"
    if not passed:
        message += f", {'too many: they are too wide' if gap > 0 else 'too few: they are too narrow'}"
    if measure.reason:
        message += f"; {measure.reason}"
    return GateResult("G_COVERAGE", name, passed, "warning" if gap > 0 else "error", message, evidence)


def _pick(scores: Scores, name: str) -> Measure:
    return scores.overall.get(name, Measure(None, 0, "", "no intervals were asked"))


def _by_fold(scores: Scores, name: str) -> list[float | None]:
    return [fold[name].value if name in fold else None for fold in scores.by_fold]


def _compared(scores: Scores, other: Scores, metric: str) -> dict[str, Any]:
    return {
        "metric": metric,
        "value": _pick(scores, metric).value,
        "other": _pick(other, metric).value,
        "n": _pick(scores, metric).n,
        "by_fold": _by_fold(scores, metric),
        "other_by_fold": _by_fold(other, metric),
    }


def _number(measure: Measure) -> str:
    return "unknown" if measure.value is None else f"{measure.value:.4f}"


def _why(mine: Measure, other: Measure) -> str:
    if mine.value is None:
        return mine.reason
    return f"of the other, {other.reason}" if other.value is None else "the other is perfect"
