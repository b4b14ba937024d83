"""Ten times as many series as M5: does memory stay bounded, and does time grow no faster than the series?

The panel is M5's last 400 days, copied with other store names; each copied series gets a level of its own and new
noise, so that no two are alike. Sizes are compared by processor seconds, which other work on the machine disturbs
less than the clock.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from forecasting.m5_project import Sales, load_sales, rows_ahead, rows_of, write_settings
from measuring.claims import claim_of
from measuring.memory import cost_of

__all__ = ["measure"]

_DAYS, _HISTORY = 1913, 400
_COPIES = (1, 10)
_GIGABYTES, _INGEST_GIGABYTES, _GROWTH = 20.0, 3.0, 1.25
_STEPS: tuple[tuple[str, ...], ...] = (("ingest",), ("run",), ("forecast", "--out", "forecasts.parquet"))


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Seconds and memory of ``everloop ingest``, ``run`` and ``forecast`` for one and ten times the series.

    Args:
        quick: copies of one store.
    """
    folder = Path(os.environ.get("EVERLOOP_DATA", "")) / "m5"
    if not (folder / "calendar.csv").is_file():
        return [{"skipped": "EVERLOOP_DATA names no folder with M5"}], []
    sales = load_sales(folder, stores=("CA_1",) if quick else ())
    rows = [row for copies in _COPIES for row in _rows_of_size(sales, copies)]
    return rows, _claims(rows)


def _rows_of_size(sales: Sales, copies: int) -> list[dict[str, Any]]:
    """A row a command, for a panel of so many copies."""
    series = copies * len(sales.units)
    rows = []
    with tempfile.TemporaryDirectory(prefix="everloop-scale-") as scratch:
        project = Path(scratch) / "project"
        table_rows = _write(sales, project, copies)
        for step in _STEPS:
            words = [str(project / word) if word.endswith(".parquet") else word for word in step]
            command = [str(Path(sys.executable).parent / "everloop"), *words, "-p", str(project)]
            cost = cost_of(command, log=Path(scratch) / "said.txt")
            found = {name: round(value, 2) for name, value in asdict(cost).items()}
            rows.append({"what": step[0], "series": series, "rows": table_rows} | found)
    return rows


def _write(sales: Sales, folder: Path, copies: int) -> int:
    """A project of so many copies, a file a store; the number of rows of the past."""
    (folder / "data" / "past").mkdir(parents=True)
    (folder / "data" / "future").mkdir()
    write_settings(folder, name="scale", past="past/*.parquet", future="future/*.parquet")
    rng = np.random.default_rng(5)
    stores = sales.names["store_id"]
    height = 0
    for copy in range(copies):
        for store in stores.unique().sort():
            chosen = (stores == store).to_numpy()
            part = _copied(sales, chosen, copy, rng)
            past = rows_of(part, _DAYS - _HISTORY, _DAYS)
            height += past.height
            past.write_parquet(folder / "data" / "past" / f"{store}-{copy}.parquet")
            rows_ahead(part, _DAYS).write_parquet(folder / "data" / "future" / f"{store}-{copy}.parquet")
    return height


def _copied(sales: Sales, chosen: np.ndarray[Any, np.dtype[np.bool_]], copy: int, rng: np.random.Generator) -> Sales:
    """Some series; in a copy, with a store name, a level and noise of its own."""
    names, units = sales.names.filter(pl.Series(chosen)), sales.units[chosen]
    if copy:
        names = names.with_columns(pl.col("store_id") + f"_{copy}")
        level = rng.lognormal(0.0, 0.3, size=(len(units), 1))
        known = np.nan_to_num(units)
        units = np.where(np.isnan(units), np.nan, rng.poisson(known * level)).astype(np.float32)
    return replace(sales, names=names, units=units, price=sales.price[chosen])


def _claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    largest = max(row["series"] for row in rows)
    least = min(row["series"] for row in rows)
    most = max(row["tree_gb"] for row in rows if row["series"] == largest)
    brought = max(row["tree_gb"] for row in rows if row["series"] == largest and row["what"] == "ingest")
    cost = {size: sum(row["cpu_seconds"] for row in rows if row["series"] == size) for size in (least, largest)}
    growth = cost[largest] / largest / (cost[least] / least)
    told = f"most memory with {largest} series"
    return [
        claim_of("scale-memory", told, "GB", _GIGABYTES, most, (most, most), is_most=True),
        claim_of(
            "scale-ingest-memory",
            f"{told}, ingestion alone",
            "GB",
            _INGEST_GIGABYTES,
            brought,
            (brought, brought),
            is_most=True,
        ),
        claim_of(
            "scale-time",
            f"processor seconds a series with {largest} series, over those with {least}",
            "x",
            _GROWTH,
            growth,
            (growth, growth),
            is_most=True,
        ),
    ]
