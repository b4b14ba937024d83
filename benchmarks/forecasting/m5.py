"""M5, all series, default settings, by commands: from the stored table to stored forecasts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecasting.batch_project import everloop
from forecasting.m5_project import Sales, load_sales, row_of, write_project
from measuring.claims import claim_of

__all__ = ["measure"]

_DAYS = 1913
_MINUTES, _GIGABYTES = 10.0, 6.0


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """WRMSSE, seconds and memory of ``everloop run`` and ``everloop forecast``.

    Args:
        quick: one store.
    """
    folder = Path(os.environ.get("EVERLOOP_DATA", "")) / "m5"
    if not (folder / "calendar.csv").is_file():
        return [{"skipped": "EVERLOOP_DATA names no folder with M5"}], []
    sales = load_sales(folder, stores=("CA_1",) if quick else ())
    with tempfile.TemporaryDirectory(prefix="everloop-m5-") as scratch:
        project = Path(scratch) / "project"
        write_project(sales, project, _DAYS)
        rows = _by_commands(sales, project, _DAYS)
    minutes, gigabytes = rows[0]["seconds"] / 60, rows[0]["peak_gb"]
    return rows, [
        claim_of("minutes", "table to stored forecasts", "min", _MINUTES, minutes, (minutes, minutes), is_most=True),
        claim_of("memory", "most memory", "GB", _GIGABYTES, gigabytes, (gigabytes, gigabytes), is_most=True),
    ]


def _by_commands(sales: Sales, project: Path, days: int) -> list[dict[str, Any]]:
    brought = everloop(project, "ingest")
    ran = everloop(project, "run")
    out = project / "forecasts.parquet"
    forecast = everloop(project, "forecast", "--out", str(out))
    found = _in_order(sales, pl.read_parquet(out))
    return [
        row_of("everloop run, forecast", days, sales, found, ran[0] + forecast[0], max(ran[1], forecast[1]))
        | {"ingest_seconds": round(brought[0]), "run_seconds": round(ran[0]), "forecast_seconds": round(forecast[0])}
    ]


def _in_order(sales: Sales, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Forecasts as a table of series by days; series that were not on offer yet are zero."""
    wide = frame.pivot("date", index=["item_id", "store_id"], values="forecast", sort_columns=True)
    joined = sales.names.select("item_id", "store_id").join(wide, on=["item_id", "store_id"], maintain_order="left")
    return joined.drop("item_id", "store_id").fill_null(0.0).to_numpy()
