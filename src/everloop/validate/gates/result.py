"""The verdict of one gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

__all__ = ["GateResult", "Severity", "blocking", "in_words", "waived"]

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
        waived: why a failure is let pass; it stays with the release.
    """

    code: str
    name: str
    passed: bool
    severity: Severity
    message: str
    evidence: dict[str, Any]
    waived: str = ""

    @property
    def blocks(self) -> bool:
        """Whether it stops the release."""
        return not self.passed and self.severity == "error" and not self.waived

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def blocking(gates: Sequence[GateResult]) -> list[GateResult]:
    """The gates that stop a release."""
    return [gate for gate in gates if gate.blocks]


def in_words(gate: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict of a gate's JSON values in a word, and why.

    >>> in_words({"passed": False, "severity": "error", "message": "too low", "waived": "a new shop"})
    ('waived', 'too low; waived: a new shop')
    """
    message = str(gate["message"])
    if gate["passed"]:
        return "passed", message
    if gate.get("waived"):
        return "waived", f"{message}; waived: {gate['waived']}"
    return "warning" if gate["severity"] == "warning" else "failed", message


def waived(gates: Sequence[GateResult], reasons: Mapping[str, str]) -> tuple[GateResult, ...]:
    """The verdicts with the reasons for which failures are let pass, by a gate's code or name."""
    return tuple(
        gate if gate.passed else replace(gate, waived=reasons.get(gate.name, reasons.get(gate.code, "")))
        for gate in gates
    )
