"""M5, all series, default settings: accuracy on several windows, time and memory, beside others.

One window goes the whole way by commands, from the stored table to stored forecasts (``everloop run``, then
``everloop forecast``). The model that wins there is fitted to the data before each of the other windows as well.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.project import load_project
from everloop.data.loading import load_panel
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext, ForecastRequest
from forecasting.batch_project import everloop
from forecasting.m5_project import HORIZON, Sales, load_sales, write_project, wrmsse
from measuring.claims import claim_of

__all__ = ["measure"]

_WINDOWS = (1913, 1857, 1801, 1745)
_PEER_WINDOWS = _WINDOWS[:2]
_LEAST, _GOAL = 0.575, 0.55
_MINUTES, _GIGABYTES = 10.0, 6.0


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """WRMSSE by window, seconds and memory.

    Args:
        quick: one store and one window.
    """
    folder = Path(os.environ.get("EVERLOOP_DATA", "")) / "m5"
    if not (folder / "calendar.csv").is_file():
        return [{"skipped": "EVERLOOP_DATA names no folder with M5"}], []
    windows = _WINDOWS[:1] if quick else _WINDOWS
    sales = load_sales(folder, stores=("CA_1",) if quick else ())
    with tempfile.TemporaryDirectory(prefix="everloop-m5-") as scratch:
        project = Path(scratch) / "project"
        write_project(sales, project, windows[0])
        rows = [*_by_commands(sales, project, windows[0]), *_by_window(sales, project, windows[1:])]
    for days in windows:
        rows += _seasonal_naive(sales, days)
        if not quick and days in _PEER_WINDOWS:
            rows += _peer(folder, days)
    return rows, _claims(rows)


def _by_commands(sales: Sales, project: Path, days: int) -> list[dict[str, Any]]:
    brought = everloop(project, "ingest")
    ran = everloop(project, "run")
    out = project / "forecasts.parquet"
    forecast = everloop(project, "forecast", "--out", str(out))
    found = _in_order(sales, pl.read_parquet(out))
    return [
        _row("everloop run, forecast", days, sales, found, ran[0] + forecast[0], max(ran[1], forecast[1]))
        | {"ingest_seconds": round(brought[0]), "run_seconds": round(ran[0]), "forecast_seconds": round(forecast[0])}
    ]


def _in_order(sales: Sales, frame: pl.DataFrame) -> NDArray[np.float64]:
    """Forecasts as a table of series by days; series that were not on offer yet are zero."""
    wide = frame.pivot("date", index=["item_id", "store_id"], values="forecast", sort_columns=True)
    joined = sales.names.select("item_id", "store_id").join(wide, on=["item_id", "store_id"], maintain_order="left")
    return joined.drop("item_id", "store_id").fill_null(0.0).to_numpy()


def _by_window(sales: Sales, project: Path, windows: tuple[int, ...]) -> list[dict[str, Any]]:
    opened = load_project(project)
    whole = load_panel(opened)[0]
    rows = []
    for days in windows:
        panel = whole.until(whole.cutoff - (_WINDOWS[0] - days), horizon=HORIZON)
        started = time.monotonic()
        model = make_forecaster("lightgbm").fit(panel, FitContext(HORIZON, threads=os.cpu_count() or 1))
        mean = model.forecast(ForecastRequest(HORIZON)).mean
        seconds = time.monotonic() - started
        keys = pl.DataFrame(panel.keys, schema=list(panel.series_columns), orient="row")
        place = sales.names.select("item_id", "store_id").join(
            keys.with_row_index("place"), on=["item_id", "store_id"], how="left", maintain_order="left"
        )["place"]
        found = np.zeros((len(place), HORIZON))
        is_there = place.is_not_null().to_numpy()
        found[is_there] = mean[place.drop_nulls().to_numpy()]
        rows.append(_row("everloop, its trees alone", days, sales, found, seconds, _peak()))
    return rows


def _seasonal_naive(sales: Sales, days: int) -> list[dict[str, Any]]:
    last = sales.units[:, days - 7 : days]
    return [_row("seasonal naive", days, sales, np.tile(last, HORIZON // 7), 0.0, 0.0)]


def _peer(folder: Path, days: int) -> list[dict[str, Any]]:
    """The peer mlforecast, used as its documentation shows, in a process of its own."""
    application = Path(__file__).with_name("mlforecast_app.py")
    command = [sys.executable, str(application), str(folder), str(days)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [{"what": "mlforecast", "days": days, "failed": done.stderr.strip()[-300:]}]
    return [json.loads(done.stdout.strip().splitlines()[-1])]


def _row(
    what: str, days: int, sales: Sales, found: NDArray[np.floating], seconds: float, gigabytes: float
) -> dict[str, Any]:
    error, by_level = wrmsse(sales, found, days)
    actual = sales.units[:, days : days + HORIZON]
    return {
        "what": what,
        "days": days,
        "wrmsse": round(error, 4),
        "by_level": [round(each, 3) for each in by_level],
        "wape": round(float(np.abs(found - actual).sum() / actual.sum()), 4),
        "bias": round(float(found.sum() / actual.sum() - 1), 4),
        "seconds": round(seconds, 1),
        "peak_gb": round(gigabytes, 2),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ours = [row["wrmsse"] for row in rows if row["what"].startswith("everloop")]
    theirs = {row["days"]: row["wrmsse"] for row in rows if row["what"] == "mlforecast" and "wrmsse" in row}
    ratios = [
        row["wrmsse"] / theirs[row["days"]]
        for row in rows
        if row["what"].startswith("everloop") and row["days"] in theirs
    ]
    whole = rows[0]
    minutes, gigabytes = whole["seconds"] / 60, whole["peak_gb"]
    mean, spread = float(np.mean(ours)), (min(ours), max(ours))
    claims = [
        claim_of("wrmsse", "WRMSSE, mean of the windows (least)", "", _LEAST, mean, spread, is_most=True),
        claim_of("wrmsse-goal", "WRMSSE, mean of the windows (goal)", "", _GOAL, mean, spread, is_most=True),
        claim_of("minutes", "table to stored forecasts", "min", _MINUTES, minutes, (minutes, minutes), is_most=True),
        claim_of("memory", "most memory", "GB", _GIGABYTES, gigabytes, (gigabytes, gigabytes), is_most=True),
    ]
    if ratios:
        low, high = min(ratios), max(ratios)
        claims.append(
            claim_of(
                "peer",
                "WRMSSE, of mlforecast's by its documentation",
                "",
                1.0,
                float(np.mean(ratios)),
                (low, high),
                is_most=True,
            )
        )
    return claims
