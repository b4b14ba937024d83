"""How long the forecasts of all series take, from a stored release to rows in a table, and after one more day of data.

Each figure is the wall time of a command in a process of its own, from its start to its end.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import delete

from everloop.core.project import load_project
from everloop.store.engine import open_store
from everloop.store.schema import predictions
from forecasting.batch_project import HORIZON, Shops, everloop, make_project, shops
from measuring.claims import claim_of_rounds

__all__ = ["measure"]

_ROUNDS = 3
_FIRST_SECONDS, _NEXT_SECONDS = 60.0, 30.0


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Seconds and memory of ``everloop forecast`` into each kind of place.

    Args:
        quick: a thousand series instead of 30,490.
    """
    source = shops(quick=quick)
    with tempfile.TemporaryDirectory(prefix="everloop-batch-") as scratch:
        folder = Path(scratch) / "project"
        make_project(folder, source)
        rows = _from_a_release(folder, Path(scratch), source)
        rows += _day_after_day(folder, Path(scratch), source)
    return rows, _claims(rows)


def _from_a_release(folder: Path, scratch: Path, source: Shops) -> list[dict[str, Any]]:
    """The same forecasts into each place, made anew each time."""
    places = {
        "Parquet": lambda number: str(scratch / f"{number}.parquet"),
        "Delta": lambda number: f"delta:{scratch / f'lake-{number}'}",
        "SQLite": lambda number: f"sqlite:///{scratch / f'{number}.db'}",
    }
    rows = []
    for kind, place in places.items():
        for number in range(_ROUNDS):
            _forget(folder)
            seconds, memory = everloop(folder, "forecast", "--out", place(number))
            rows.append(_row(source, "from a stored release", kind, seconds, memory))
    height = pl.read_parquet(scratch / "0.parquet").height
    seconds, memory = everloop(folder, "forecast", "--out", str(scratch / "again.parquet"))
    rows.append(_row(source, "made before, written only", "Parquet", seconds, memory))
    return [row | {"rows": height} for row in rows]


def _day_after_day(folder: Path, scratch: Path, source: Shops) -> list[dict[str, Any]]:
    """Three more days, one by one: brought in, forecast and added to one Delta table."""
    lake = f"delta:{scratch / 'days'}"
    everloop(folder, "forecast", "--out", lake)
    rows = []
    for day in range(1, _ROUNDS + 1):
        took = everloop(folder, "ingest", "--set", f"data.source=data/day-{day}.parquet")
        rows.append(_row(source, "ingest one more day", "the versioned table", *took))
        took = everloop(folder, "forecast", "--out", lake)
        height = pl.read_delta(str(scratch / "days")).filter(pl.col("cutoff") == pl.col("cutoff").max()).height
        rows.append(_row(source, "after one more day", "Delta", *took) | {"rows": height})
    return rows


def _forget(folder: Path) -> None:
    """Delete the stored predictions, so that the next ones are computed."""
    store = open_store(load_project(folder).store_url)
    with store.write() as tx:
        tx.execute(delete(predictions))
    store.close()


def _row(source: Shops, what: str, place: str, seconds: float, memory: float) -> dict[str, Any]:
    return {
        "sales": source.name,
        "what": what,
        "place": place,
        "seconds": round(seconds, 2),
        "peak_gb": round(memory, 2),
    }


def _claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def seconds(what: str) -> list[float]:
        return [row["seconds"] for row in rows if row["what"] == what]

    height = rows[0]["rows"]
    note = f"{height // HORIZON} series of {rows[0]['sales']}, {HORIZON} steps, two levels; a LightGBM of 100 trees"
    first = "forecasts of all series from a stored release to stored and written forecasts, seconds"
    later = "the same after one more day of data, into a table that has the days before, seconds"
    return [
        claim_of_rounds(
            "batch-first", first, "s", _FIRST_SECONDS, seconds("from a stored release"), is_most=True, note=note
        ),
        claim_of_rounds(
            "batch-next", later, "s", _NEXT_SECONDS, seconds("after one more day"), is_most=True, note=note
        ),
    ]
