"""Evidence: the one record behind every decision, in numbers and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = ["Evidence"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why something was decided.

    Attributes:
        question: what was asked, as a sentence.
        verdict: the answer: ``"promote"``, ``"keep"``, ``"go on"``, ``"decay"``, ``"no decay"``, ``"drift"``,
            ``"no drift"``, ``"cannot tell"`` and the like.
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
        kind: which decision this is: ``"paired"``, ``"split"``, ``"drift"``, ``"decay"``, ``"gate"`` and the like.
        alpha: the error bound that the decision keeps, ``None`` where it has none.
        clusters: how many independent groups the bounds rest on, ``None`` where observations are not grouped.
        cluster: what one group is, such as ``"store"``.
        warnings: what weakens the evidence, and what was done about it, as sentences.
        is_estimate: whether the effect is an estimate made before the truth is known.
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
    kind: str = ""
    alpha: float | None = None
    clusters: int | None = None
    cluster: str = ""
    warnings: tuple[str, ...] = ()
    is_estimate: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {**asdict(self), "warnings": list(self.warnings)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Evidence:
        """Back from JSON values; what an older version wrote lacks the newer attributes, which get their defaults."""
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in record.items() if name in known}
        return cls(**{**values, "warnings": tuple(values.get("warnings", ()))})
