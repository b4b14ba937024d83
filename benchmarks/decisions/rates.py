"""Rates with their intervals, and the claims about them."""

from __future__ import annotations

from typing import Any

from scipy.stats import binomtest

from measuring.claims import claim_of

__all__ = ["at_most", "rate_row"]


def rate_row(what: str, case: str, events: int, runs: int, **more: Any) -> dict[str, Any]:
    """A line of the table: how often something happened, with the exact binomial interval of 95 %."""
    low, high = _interval(events, runs)
    row = {"what": what, "case": case, "runs": runs, "rate": round(events / runs, 4)}
    return {**row, "low": round(low, 4), "high": round(high, 4), **more}


def at_most(name: str, claim: str, events: int, runs: int, alpha: float, *, note: str = "") -> dict[str, Any]:
    """The claim that a rate is at most ``alpha``: the rate itself is, and its interval ends below 1.5 ``alpha``."""
    low, high = _interval(events, runs)
    found = claim_of(name, claim, "share", 1.5 * alpha, events / runs, (low, high), is_most=True, note=note)
    found["holds"] = found["holds"] and events / runs <= alpha
    return found | {"alpha": alpha}


def _interval(events: int, runs: int) -> tuple[float, float]:
    found = binomtest(events, runs).proportion_ci(0.95, method="exact")
    return float(found.low), float(found.high)
