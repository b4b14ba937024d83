"""How examinations and gates are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everloop.cli.output import number, percent, print_table
from everloop.validate.examination import Examination
from everloop.validate.gates.result import in_words

__all__ = ["examination_record", "print_examinations", "print_gates"]


def print_examinations(examinations: Sequence[Examination]) -> None:
    """Candidates side by side."""
    rows = [
        (
            each.candidate,
            number(None if each.value == float("inf") else each.value),
            percent(each.evaluation.skill.get(each.metric)),
            percent(each.evaluation.scores.overall["bias"].value),
            each.backtest.n_forecasts,
            "yes" if each.passed else "no: " + ", ".join(gate.name for gate in each.gates if gate.blocks),
            each.run_id[:12],
        )
        for each in examinations
    ]
    metric = examinations[0].metric.upper()
    print_table(("candidate", metric, "better than naive by", "bias", "n", "passed", "run"), rows)


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
