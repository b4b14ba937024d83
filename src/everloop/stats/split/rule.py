"""What is asked of a split: error bounds and days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from everloop.stats.split.draws import DRAWS

__all__ = ["SplitRule"]


@dataclass(frozen=True, slots=True)
class SplitRule:
    """What is asked of the evidence.

    Attributes:
        alpha: the bound on promoting a challenger that is not better (or is worse by more than the margin).
        guardrail_alpha: the bound on any false alarm over all guardrails.
        min_days: no verdict before so many days.
        max_days: the day at which the error bounds are spent; undecided by then, the champion stays.
        goal: ``"better"``, or ``"not worse"`` by more than the deciding metric's margin.
        days_before: days of earlier stages of the same experiment, whose share of the error is spent.
        draws: how many draws the critical values rest on.
    """

    alpha: float = 0.05
    guardrail_alpha: float = 0.05
    min_days: int = 7
    max_days: int = 60
    goal: Literal["better", "not worse"] = "better"
    days_before: int = 0
    draws: int = DRAWS

    @property
    def first_look(self) -> int:
        """The first day of the present stage on which anything may be said."""
        return max(self.min_days - self.days_before, 1)
