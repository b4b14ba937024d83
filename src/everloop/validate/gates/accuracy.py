"""Gates on accuracy: finite, better than the baseline, not worse than the champion."""

from __future__ import annotations

from typing import Any

from everloop.validate.gates.measures import compared, number, pick, why
from everloop.validate.gates.pairing import Estimate
from everloop.validate.gates.result import GateResult
from everloop.validate.scores import Scores, skill

__all__ = ["beats_baseline", "finite", "not_worse_than_champion"]


def finite(scores: Scores) -> GateResult:
    """Every forecast of the backtest is a finite number."""
    measure = scores.overall["wape"]
    is_broken = "not finite" in measure.reason
    message = measure.reason if is_broken else f"all {measure.n} forecasts are finite numbers"
    return GateResult("G_FINITE", "finite", not is_broken, "error", message, {"n": measure.n})


def beats_baseline(
    scores: Scores, baseline: Scores, metric: str, least: float, *, saved: Estimate | None = None
) -> GateResult:
    """The skill over the seasonal naive is at least the limit.

    Args:
        scores: the candidate's.
        baseline: the seasonal naive's.
        metric: what is compared.
        least: the limit.
        saved: by which share the candidate's loss is smaller, case by case.
    """
    mine, other = pick(scores, metric), pick(baseline, metric)
    value = skill(mine, other)
    evidence = compared(scores, baseline, metric) | {"skill": value, "min_skill": least} | _interval(saved)
    passed = value is not None and value >= least
    if value is None:
        message = f"{metric} cannot be compared with the seasonal naive's: {why(mine, other)}"
    else:
        relation = "at least" if passed else "less than"
        message = (
            f"{metric} {number(mine)}, the seasonal naive's {number(other)}: skill {value:+.1%}, "
            f"{relation} the {least:+.1%} asked"
        )
        if passed and saved is not None and saved.lower is not None and not saved.is_surely_positive:
            message += "; not beyond chance"
    return GateResult("G_BASELINE", "beats_baseline", passed, "error", message, evidence)


def not_worse_than_champion(
    scores: Scores, champion: Scores | None, metric: str, margin: float, *, saved: Estimate | None = None
) -> GateResult:
    """The candidate is not worse than the champion by more than the margin, or not beyond chance.

    Args:
        scores: the candidate's.
        champion: the champion's recipe's, of the same windows; ``None`` where nobody is in charge.
        metric: what is compared.
        margin: by which share it may be worse.
        saved: by which share the candidate's loss is smaller, case by case; without it the values alone decide.
    """
    code, name = "G_CHAMPION", "not_worse_than_champion"
    mine = pick(scores, metric)
    if champion is None:
        evidence: dict[str, Any] = {
            "metric": metric, "value": mine.value, "champion": None, "margin": margin, "n": mine.n
        }  # fmt: skip
        return GateResult(code, name, True, "error", "no champion", evidence)
    other = pick(champion, metric)
    evidence = compared(scores, champion, metric) | {"margin": margin} | _interval(saved)
    if mine.value is None or other.value is None:
        message = f"{metric} cannot be compared with the champion's: {why(mine, other)}"
        return GateResult(code, name, False, "error", message, evidence)
    limit = other.value * (1 + margin)
    is_within = mine.value <= limit
    is_chance = saved is not None and saved.upper is not None and not saved.is_surely_negative
    message = (
        f"{metric} {mine.value:.4f}, the champion's {other.value:.4f} on the same windows: "
        f"{'within' if is_within else 'above'} the limit {limit:.4f} (margin {margin:.0%})"
    )
    if not is_within and is_chance:
        message += ", which may be chance: the trial on live traffic decides"
    return GateResult(code, name, is_within or is_chance, "error", message, evidence | {"limit": limit})


def _interval(saved: Estimate | None) -> dict[str, Any]:
    return {} if saved is None else {"paired": saved.to_dict()}
