"""Gates on serving: a release answers as the model that was trained, soon enough, in little enough memory.

They judge what was measured of a release (:mod:`everloop.staging`); what was timed is kept beside the release, not in
it, so that the same content stays the same release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from everloop.validate.gates.result import GateResult

__all__ = ["Outputs", "latency", "memory", "parity"]

Outputs: TypeAlias = Mapping[str, Mapping[str, Sequence[Any]]]
"""Answers by case and output, as JSON values; ``None`` stands for what is no number."""

_SHARE = 95
_MOST_SHOWN = 3


def parity(trained: Outputs, served: Mapping[str, Outputs], *, tolerance: float = 0.0) -> GateResult:
    """What is served equals what the trained model itself answers.

    Args:
        trained: the trained model's own answers.
        served: the answers of each way in which they are served, for the same cases.
        tolerance: the largest relative difference of two numbers; 0 asks for the same bits.
    """
    differing: dict[str, list[str]] = {}
    largest = 0.0
    n = 0
    for way, answers in served.items():
        for case, outputs in trained.items():
            size = _difference(outputs, answers.get(case, {}))
            n += sum(map(len, outputs.values()))
            largest = max(largest, size)
            if size > tolerance:
                differing.setdefault(way, []).append(case)
    evidence: dict[str, Any] = {
        "cases": len(trained),
        "n": n,
        "ways": sorted(served),
        "largest": largest if np.isfinite(largest) else None,
        "tolerance": tolerance,
        "differing": {way: cases[:_MOST_SHOWN] for way, cases in differing.items()},
    }
    if not n:
        message = "there is nothing to ask, so what is served cannot be held against the trained model"
        return GateResult("G_PARITY", "serves_as_trained", False, "warning", message, evidence)
    if differing:
        way, cases = next(iter(differing.items()))
        size_text = f"by up to {largest:.2g} of the number" if np.isfinite(largest) else "in what they hold"
        message = (
            f"served {way}, {len(cases)} of {len(trained)} answers differ from the trained model's {size_text}: "
            + ", ".join(cases[:_MOST_SHOWN])
        )
    else:
        how = "to the bit" if not tolerance else f"to {tolerance:g} of the number"
        message = f"{n} numbers of {len(trained)} answers are served as the trained model gives them, {how}"
    return GateResult("G_PARITY", "serves_as_trained", not differing, "error", message, evidence)


def latency(rounds: Sequence[Sequence[float]], limit: float) -> GateResult:
    """Nineteen of twenty requests are answered within the limit.

    Other work on the machine only ever adds time, so of several rounds the least disturbed one counts.

    Args:
        rounds: the milliseconds that each request of each round took.
        limit: milliseconds.
    """
    shares = [float(np.percentile(each, _SHARE)) for each in rounds if len(each)]
    evidence: dict[str, Any] = {"max_latency_ms": limit, "n": sum(map(len, rounds)), "p95_by_round": shares}
    if not shares:
        message = "no request was timed"
        return GateResult("G_LATENCY", "latency", False, "error", message, evidence)
    best = int(np.argmin(shares))
    evidence |= {"p50_ms": float(np.percentile(rounds[best], 50)), "p95_ms": shares[best]}
    relation = "at most" if shares[best] <= limit else "more than"
    message = (
        f"{_SHARE} % of {len(rounds[best])} requests, each asked of the model alone, take up to {shares[best]:.3g} ms, "
        f"{relation} the {limit:g} ms allowed"
    )
    return GateResult("G_LATENCY", "latency", shares[best] <= limit, "error", message, evidence)


def memory(megabytes: float | None, limit: float, *, before: float | None = None) -> GateResult:
    """A process that serves the release never holds more than the limit.

    Args:
        megabytes: the most that the process held (1 MB is 1,000,000 bytes); ``None`` where the system does not tell.
        limit: likewise.
        before: what it held before the release was loaded.
    """
    evidence: dict[str, Any] = {"max_memory_mb": limit, "peak_mb": megabytes, "before_mb": before}
    if megabytes is None:
        message = "this system does not tell how much memory a process held"
        return GateResult("G_MEMORY", "memory", False, "warning", message, evidence)
    passed = megabytes <= limit
    of_which = "" if before is None else f" ({before:.0f} MB before it was loaded)"
    message = (
        f"a process that serves it holds up to {megabytes:.0f} MB{of_which}, {'at most' if passed else 'more than'} "
        f"the {limit:g} MB allowed"
    )
    return GateResult("G_MEMORY", "memory", passed, "error", message, evidence)


def _difference(trained: Mapping[str, Sequence[Any]], served: Mapping[str, Sequence[Any]]) -> float:
    """The largest relative difference of two answers; infinite where they differ in form, or in what is no number."""
    largest = 0.0
    for name, values in trained.items():
        others = served.get(name)
        if others is None or len(others) != len(values):
            return float("inf")
        for first, second in zip(values, others, strict=True):
            if first == second:
                continue
            if not (isinstance(first, int | float) and isinstance(second, int | float)):
                return float("inf")
            largest = max(largest, abs(first - second) / max(abs(first), abs(second)))
    return largest
