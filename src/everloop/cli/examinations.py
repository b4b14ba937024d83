"""How examinations and gates are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from everloop.cli.output import number, percent, print_table, say
from everloop.validate.examination import Examination
from everloop.validate.gates.result import in_words
from everloop.validate.ordering import COST, COST_IN_ALL

__all__ = ["examination_record", "print_examinations", "print_gates"]


def print_examinations(
    examinations: Sequence[Examination], failures: Mapping[str, str] | None = None, *, currency: str = ""
) -> None:
    """Candidates side by side, best first, and who was chosen; then those that could not be examined, with why.

    What their orders cost stands beside, where costs are set.

    Args:
        examinations: best first.
        failures: why others could not be examined, by name.
        currency: what money is called.
    """
    is_choice = len(examinations) + len(failures or {}) > 1
    first = examinations[0]
    columns = _columns(examinations, currency=currency, is_choice=is_choice)
    rows = [tuple(cell(each) for cell in columns.values()) for each in examinations]
    empty = ["-"] * (len(columns) - 3)
    rows += [(name, *empty, f"failed: {why}", "-") for name, why in (failures or {}).items()]
    title = (
        f"{len(rows)} candidates on {first.plan.windows} past windows of {first.plan.horizon} steps, "
        f"{first.backtest.n_forecasts} forecasts each; less {first.metric.upper()} is better"
    )
    print_table(tuple(columns), rows, title=title if is_choice else "")
    if first.value > min(each.value for each in examinations):
        metric = first.metric.upper()
        say(f"{first.candidate} errs least in its totals, of those about as good by {metric} (validate.tie)")


def _columns(
    examinations: Sequence[Examination], *, currency: str, is_choice: bool
) -> dict[str, Callable[[Examination], str]]:
    """What is shown of each candidate, by the head of its column; the last two are the verdict and the run."""
    first = examinations[0]
    best = next((each for each in examinations if each.passed), None) if is_choice else None
    wins = dict(zip((each.run_id for each in examinations), _windows_won(examinations), strict=True))
    shown: dict[str, Callable[[Examination], str]] = {
        "candidate": lambda each: each.candidate,
        first.metric.upper(): lambda each: _finite(each.value),
        "of totals": lambda each: _finite(each.value_of_totals),
        "better than naive by": lambda each: percent(each.evaluation.skill.get(each.metric)),
    }
    if any(COST in each.evaluation.scores.overall for each in examinations):
        shown[f"cost of orders{currency and f' ({currency})'}"] = _money
        shown["for each sold"] = lambda each: _overall(each, COST, digits=4)
    if first.metric == COST:
        shown["WAPE"] = lambda each: _overall(each, "wape")
    return shown | {
        "best in windows": lambda each: f"{wins[each.run_id]} of {first.plan.windows}",
        "bias": lambda each: percent(each.evaluation.scores.overall["bias"].value),
        "took": lambda each: f"{each.backtest.seconds:.1f} s",
        "verdict": lambda each: _standing(each, best),
        "run": lambda each: each.run_id[:12],
    }


def _finite(value: float) -> str:
    return number(None if value == float("inf") else value)


def _overall(each: Examination, name: str, **form: int) -> str:
    measure = each.evaluation.scores.overall.get(name)
    return number(None if measure is None else measure.value, **form)


def _money(each: Examination) -> str:
    """What orders by a candidate cost in all windows."""
    measure = each.evaluation.scores.overall.get(COST_IN_ALL)
    return "-" if measure is None or measure.value is None else f"{measure.value:,.2f}"


def _standing(each: Examination, best: Examination | None) -> str:
    """What became of a candidate."""
    if not each.passed:
        return "failed: " + ", ".join(gate.name for gate in each.gates if gate.blocks)
    return "chosen" if each is best else "passed"


def _windows_won(examinations: Sequence[Examination]) -> list[int]:
    """In how many windows each candidate is the best of all; the first of equals."""
    won = [0] * len(examinations)
    for window in range(len(examinations[0].evaluation.scores.by_fold)):
        measures = [each.evaluation.scores.by_fold[window].get(each.metric) for each in examinations]
        known = [(each.value, place) for place, each in enumerate(measures) if each and each.value is not None]
        if known:
            won[min(known)[1]] += 1
    return won


def print_gates(gates: Sequence[dict[str, Any]]) -> None:
    """Gates with their verdicts."""
    rows = [(gate["name"], *in_words(gate)) for gate in gates]
    print_table(("gate", "verdict", "why"), rows)


def examination_record(examination: Examination) -> dict[str, Any]:
    """An examination as JSON values."""
    return {
        "candidate": examination.candidate,
        "run_id": examination.run_id,
        "passed": examination.passed,
        "summary": examination.summary(),
        "scores": examination.evaluation.scores.to_dict(),
        "gates": [gate.to_dict() for gate in examination.gates],
    }
