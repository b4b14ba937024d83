"""How long drift takes: a million rows summarised once, a report on new rows, a day of 30,490 series."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from everloop.stats.drift.judging import judge
from everloop.stats.drift.reference import learn
from everloop.stats.drift.summaries import summarise_numbers
from measuring.claims import claim_of_rounds

__all__ = ["measure_speed"]

_ROUNDS = 5
_COLUMNS = 50


def measure_speed() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The table and the claims."""
    rng = np.random.default_rng(1)
    table = np.asfortranarray(rng.lognormal(size=(1_000_000, _COLUMNS)))
    new = table[:100_000]
    days = np.arange(730) + 17_000
    reference = learn(days, rng.normal(size=(730, 2 * _COLUMNS)), ["value"] * 2 * _COLUMNS)
    past = rng.normal(size=(29, 2 * _COLUMNS))

    def report() -> None:
        sums = summarise_numbers(new)
        today = np.concatenate([sums.mean, sums.log_deviation])[None]
        judge(reference, days[-1] + 1 + np.arange(30), np.concatenate([past, today]))

    series = rng.poisson(1.3, (30_490, 2)).astype(np.float64)
    claims = [
        _claim(
            "drift-summary", "1,000,000 rows of 50 columns summarised, seconds", 3, lambda: summarise_numbers(table)
        ),
        _claim("drift-report", "a report on 100,000 new rows of 50 columns, seconds", 0.3, report),
        _claim("drift-series", "a day of 30,490 series summarised, seconds", 1, lambda: summarise_numbers(series)),
    ]
    tracemalloc.start()
    report()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    claims.append(claim_of_rounds("drift-memory", "memory of that report, MB", "MB", 100, [peak], is_most=True))
    return [], claims


def _claim(name: str, claim: str, target: float, work: Callable[[], object]) -> dict[str, Any]:
    taken = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return claim_of_rounds(name, claim, "s", target, taken, is_most=True)
