"""How long drift takes: a million rows summarised once, a report on new rows, a day of 30,490 series."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from everloop.monitor.drift.streams import kinds_of, plan_streams, streams_of
from everloop.monitor.drift.summaries import join_summaries
from everloop.monitor.drift.tables import Watched, summarize_rows
from everloop.stats.drift.judging import judge
from everloop.stats.drift.reference import learn
from measuring.claims import claim_of_rounds

__all__ = ["measure_speed"]

_ROUNDS = 5
_COLUMNS = tuple(f"c{number}" for number in range(50))
_FIRST = 17_000
_REFERENCE = 730
_WATCHED = Watched(_COLUMNS, frozenset(), "", 1, "at", 1)
_SERIES = Watched(("units", "price"), frozenset(), "", 1, "at", 1)


def measure_speed() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The table and the claims."""
    rng = np.random.default_rng(1)
    table = _frame(rng, np.sort(rng.integers(0, _REFERENCE, 1_000_000)))
    new = _frame(rng, np.full(100_000, _REFERENCE))
    series = _frame(rng, np.full(30_490, _REFERENCE), names=_SERIES.columns)
    reference = summarize_rows(table, _WATCHED)
    plan = plan_streams(reference, columns=_COLUMNS, target="", known_ahead=())
    learnt = learn(reference.periods, streams_of(reference, plan), kinds_of(plan.keys), period_days=1)
    past = summarize_rows(table.filter(pl.col("at") >= _instant(_REFERENCE - 29)), _WATCHED)

    def report() -> None:
        # the days before are kept as their summary: the new rows alone are read
        watched = join_summaries([past, summarize_rows(new, _WATCHED)])
        judge(learnt, watched.periods, streams_of(watched, plan))

    claims = [
        _claim(
            "drift-summary",
            "1,000,000 rows of 50 columns summarised, seconds",
            3,
            lambda: summarize_rows(table, _WATCHED),
        ),
        _claim("drift-report", "a report on 100,000 new rows of 50 columns, seconds", 0.3, report),
        _claim(
            "drift-series", "a day of 30,490 series summarised, seconds", 1, lambda: summarize_rows(series, _SERIES)
        ),
    ]
    tracemalloc.start()
    report()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    claims.append(claim_of_rounds("drift-memory", "memory of that report, MB", "MB", 100, [peak], is_most=True))
    return [], claims


def _instant(day: int) -> datetime:
    return np.datetime64(_FIRST + day, "D").astype("M8[us]").item()


def _frame(rng: np.random.Generator, days: np.ndarray, *, names: tuple[str, ...] = _COLUMNS) -> pl.DataFrame:
    """Rows of so many columns of numbers on some days, counted from the first."""
    at = (_FIRST + days).astype("M8[D]").astype("M8[us]")
    return pl.DataFrame({name: rng.lognormal(size=len(days)) for name in names} | {"at": at})


def _claim(name: str, claim: str, target: float, work: Callable[[], object]) -> dict[str, Any]:
    taken = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return claim_of_rounds(name, claim, "s", target, taken, is_most=True)
