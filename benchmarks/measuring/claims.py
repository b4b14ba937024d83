"""Claims of a benchmark: what was promised, what was measured, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

__all__ = ["claim_of", "claim_of_rounds", "paired"]


def claim_of(
    name: str,
    claim: str,
    unit: str,
    target: float | None,
    measured: float | None,
    interval: tuple[float, float] | None,
    *,
    is_most: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """A claim; it holds where the whole interval lies on the right side of the target.

    Args:
        name: its id.
        claim: what is claimed, without the figure.
        unit: the figure's unit.
        target: what was promised; at least that, or at most.
        measured: the figure, ``None`` where it could not be measured.
        interval: its lowest and highest plausible value.
        is_most: whether the target is the most that is allowed.
        note: what a reader must know beside it.
    """
    holds = False
    if interval is not None and target is not None:
        holds = bool(interval[1] <= target if is_most else interval[0] >= target)
    found = {
        "id": name,
        "claim": claim,
        "unit": unit,
        "target": target,
        "measured": None if measured is None else round(measured, 3),
        "interval": None if interval is None else [round(float(bound), 3) for bound in interval],
        "holds": holds,
    }
    return found | ({"note": note} if note else {})


def claim_of_rounds(
    name: str,
    claim: str,
    unit: str,
    target: float,
    values: Sequence[float],
    *,
    is_most: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """A claim on a figure that each round gave once: the median counts, lowest and highest are its interval.

    >>> claim_of_rounds("a", "faster, times", "x", 2.0, [2.1, 2.5, 2.2])["holds"]
    True
    >>> claim_of_rounds("a", "faster, times", "x", 2.0, [])["measured"]
    """
    if not values:
        return claim_of(name, claim, unit, target, None, None, is_most=is_most, note=note or "not measured")
    return claim_of(
        name, claim, unit, target, median(values), (min(values), max(values)), is_most=is_most, note=note
    )  # fmt: skip


def paired(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Ratios of what was measured in the same round; empty where one of the two was not measured.

    >>> paired([2.0, 3.0], [1.0, 2.0])
    [2.0, 1.5]
    """
    return [first / second for first, second in zip(over, under, strict=False)]
