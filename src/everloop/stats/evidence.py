"""Evidence: the one record behind every decision, in numbers and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Evidence"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why something was decided.

    Attributes:
        question: what was asked, as a sentence.
        verdict: the answer: ``"promote"``, ``"keep"``, ``"go on"``, ``"decay"``, ``"no decay"``, ``"cannot tell"``.
        reason: the answer as a sentence, with its numbers.
        effect: the estimated effect, ``None`` where there is none yet.
        unit: what the effect is measured in.
        lower: the lower bound of the effect, ``None`` where too little is known.
        upper: the upper one.
        n: how many observations (days, say) the bounds rest on.
        observation: what one observation is.
        method: the method and its source.
        guarantee: what is bounded, by how much, and under which conditions.
        would_change: what would change the verdict.
        series: data for a plot, by name, of equal lengths.
    """

    question: str
    verdict: str
    reason: str
    effect: float | None
    unit: str
    lower: float | None
    upper: float | None
    n: int
    observation: str
    method: str
    guarantee: str
    would_change: str
    series: dict[str, list[Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return asdict(self)
