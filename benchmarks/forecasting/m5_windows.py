"""M5, all series: the trees that win by default, fitted before each of several windows, beside others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from everloop.core.project import load_project
from everloop.data.loading import load_panel
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext, ForecastRequest
from forecasting.batch_project import everloop
from forecasting.m5_project import HORIZON, Sales, load_sales, row_of, write_project
from measuring.claims import claim_of

__all__ = ["measure"]

_WINDOWS = (1913, 1857, 1801, 1745)
_PEERS = {"mlforecast": _WINDOWS[:2], "autoets": _WINDOWS[:1]}
"""The windows that each peer forecasts. AutoGluon-TimeSeries is not among them: it brings CUDA's packages."""
_LEAST, _GOAL = 0.575, 0.55
Found = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def measure(*, quick: bool) -> Found:
    """WRMSSE by window.

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
        everloop(project, "ingest")
        rows = _by_window(sales, project, windows)
    for days in windows:
        rows += _seasonal_naive(sales, days)
        rows += [_peer(name, folder, days) for name, at in _PEERS.items() if days in at and not quick]
    return rows, _claims(rows)


def _by_window(sales: Sales, project: Path, windows: tuple[int, ...]) -> list[dict[str, Any]]:
    opened = load_project(project)
    whole = load_panel(opened, horizon=HORIZON)[0]
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
        rows.append(row_of("everloop, lightgbm", days, sales, found, seconds))
    return rows


def _seasonal_naive(sales: Sales, days: int) -> list[dict[str, Any]]:
    last = sales.units[:, days - 7 : days]
    return [row_of("seasonal naive", days, sales, np.tile(last, HORIZON // 7), 0.0)]


def _peer(name: str, folder: Path, days: int) -> dict[str, Any]:
    """A peer, used as its documentation shows, in a process of its own."""
    application = Path(__file__).with_name(f"{name}_app.py")
    command = [sys.executable, str(application), str(folder), str(days)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"what": name, "days": days, "failed": done.stderr.strip()[-300:]}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def _claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ours = [row["wrmsse"] for row in rows if row["what"].startswith("everloop")]
    theirs = {row["days"]: row["wrmsse"] for row in rows if row["what"] == "mlforecast" and "wrmsse" in row}
    ratios = [
        row["wrmsse"] / theirs[row["days"]]
        for row in rows
        if row["what"].startswith("everloop") and row["days"] in theirs
    ]
    mean, spread = float(np.mean(ours)), (min(ours), max(ours))
    claims = [
        claim_of("wrmsse", "WRMSSE, mean of the windows (least)", "", _LEAST, mean, spread, is_most=True),
        claim_of("wrmsse-goal", "WRMSSE, mean of the windows (goal)", "", _GOAL, mean, spread, is_most=True),
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
