"""Measures of a backtest as gates read them."""

from __future__ import annotations

from typing import Any

from everloop.validate.metrics import Measure
from everloop.validate.scores import Scores

__all__ = ["by_fold", "compared", "number", "pick", "why"]


def pick(scores: Scores, name: str) -> Measure:
    """A measure over all windows."""
    return scores.overall.get(name, Measure(None, 0, "", "no intervals were asked"))


def by_fold(scores: Scores, name: str) -> list[float | None]:
    """Its values by window."""
    return [fold[name].value if name in fold else None for fold in scores.by_fold]


def compared(scores: Scores, other: Scores, metric: str) -> dict[str, Any]:
    """A metric of both, for the evidence."""
    return {
        "metric": metric,
        "value": pick(scores, metric).value,
        "other": pick(other, metric).value,
        "n": pick(scores, metric).n,
        "by_fold": by_fold(scores, metric),
        "other_by_fold": by_fold(other, metric),
    }


def number(measure: Measure) -> str:
    """A value in words."""
    return "unknown" if measure.value is None else f"{measure.value:.4f}"


def why(mine: Measure, other: Measure) -> str:
    """Why two measures cannot be compared."""
    if mine.value is None:
        return mine.reason
    return f"of the other, {other.reason}" if other.value is None else "the other is perfect"
