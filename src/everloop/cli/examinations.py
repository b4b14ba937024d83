"""How examinations and gates are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    best = next((each for each in examinations if each.passed), None) if is_choice else None
    won = _windows_won(examinations)
    windows = examinations[0].plan.windows
    first = examinations[0]
    has_cost = any(COST in each.evaluation.scores.overall for each in examinations)
    rows: list[tuple[str, ...]] = [
        (
            each.candidate,
            number(None if each.value == float("inf") else each.value),
            number(None if each.value_of_totals == float("inf") else each.value_of_totals),
            percent(each.evaluation.skill.get(each.metric)),
            *(_money(each) if has_cost else ()),
            *((number(each.evaluation.scores.overall["wape"].value),) if first.metric == COST else ()),
            f"{wins} of {windows}",
            percent(each.evaluation.scores.overall["bias"].value),
            f"{each.backtest.seconds:.1f} s",
            _standing(each, best),
            each.run_id[:12],
        )
        for each, wins in zip(examinations, won, strict=True)
    ]
    rows += [
        (name, *["-"] * (6 + 2 * has_cost + (first.metric == COST)), f"failed: {why}", "-")
        for name, why in (failures or {}).items()
    ]
    metric = first.metric.upper()
    title = (
        f"{len(rows)} candidates on {windows} past windows of {first.plan.horizon} steps, {first.backtest.n_forecasts} "
        f"forecasts each; less {metric} is better"
    )
    columns = (
        "candidate",
        metric,
        "of totals",
        "better than naive by",
        *((f"cost of orders{currency and f' ({currency})'}", "for each sold") if has_cost else ()),
        *(("WAPE",) if first.metric == COST else ()),
        "best in windows",
        "bias",
        "took",
        "verdict",
        "run",
    )
    print_table(columns, rows, title=title if is_choice else "")
    if first.value > min(each.value for each in examinations):
        say(f"{first.candidate} errs least in its totals, of those about as good by {metric} (validate.tie)")


def _money(each: Examination) -> tuple[str, str]:
    """What orders by a candidate cost in all windows, and for each unit sold."""
    measures = each.evaluation.scores.overall
    in_all, cost = (measures[name].value if name in measures else None for name in (COST_IN_ALL, COST))
    return "-" if in_all is None else f"{in_all:,.2f}", number(cost, digits=4)


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
