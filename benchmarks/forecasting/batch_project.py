"""The project of the batch benchmark: a year and more of daily sales, future prices, and a release."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["Shops", "everloop", "make_project", "shops"]

DAYS = 420
"""History in the table; a forecast reads half a year of it."""
HORIZON = 28
_LAST = date(2016, 4, 24)
_SETTINGS = """
[project]
name = "batch"
[data]
source = "data/past.parquet"
future_source = "data/future.parquet"
series = ["store_id", "item_id"]
time = "date"
target = "units"
known_ahead = ["price"]
static = ["dept_id"]
[forecast]
horizon = 28
levels = [80, 95]
[train]
candidates = ["lightgbm"]
[train.options.lightgbm]
max_rows = 500000
windows = 1
[validate]
windows = 1
[validate.gates]
min_skill = -1.0
max_bias = 1.0
coverage_tolerance = 0.5
[tracking]
plots = false
"""


@dataclass(frozen=True)
class Shops:
    """Daily sales of many items in many stores.

    Attributes:
        name: whose.
        sales: a row a store, item and day: ``store_id``, ``item_id``, ``dept_id``, ``date``, ``units``, ``price``.
        prices: the same without ``units``, for the days after.
        last: the last day of the past; three more follow in ``sales``.
    """

    name: str
    sales: pl.LazyFrame
    prices: pl.LazyFrame
    last: date


def shops(*, quick: bool) -> Shops:
    """M5's, where EVERLOOP_DATA names a folder with them; else made ones of the same size (a 30th if ``quick``)."""
    folder = os.environ.get("EVERLOOP_DATA", "")
    if folder and not quick and (Path(folder) / "m5" / "calendar.csv").is_file():
        return _real(Path(folder) / "m5")
    return _made(1_000 if quick else 30_490)


def make_project(folder: Path, source: Shops) -> None:
    """Write the files, ingest the past, and release a model of 100 trees."""
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "everloop.toml").write_text(_SETTINGS, encoding="utf-8")
    source.sales.filter(pl.col("date") <= source.last).sink_parquet(data / "past.parquet")
    for day in range(1, 4):
        is_day = pl.col("date") == source.last + timedelta(days=day)
        source.sales.filter(is_day).sink_parquet(data / f"day-{day}.parquet")
    source.prices.sink_parquet(data / "future.parquet")
    everloop(folder, "run")


def everloop(folder: Path, *words: str) -> tuple[float, float]:
    """Run a command of Everloop's in a process of its own: wall seconds, and the most memory it held in GB.

    Raises:
        RuntimeError: it failed.
    """
    command = [str(Path(sys.executable).parent / "everloop"), *words, "-p", str(folder)]
    measured = [sys.executable, "-c", _MEASURE, *command]
    done = subprocess.run(measured, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"everloop {' '.join(words)}: {done.stderr.strip()[-2000:]}")
    seconds, kilobytes = done.stdout.strip().splitlines()[-1].split()
    return float(seconds), float(kilobytes) / 2**20


_MEASURE = """
import resource, subprocess, sys, time
started = time.monotonic()
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def _real(folder: Path) -> Shops:
    calendar = pl.read_csv(folder / "calendar.csv").select(pl.col("date").str.to_date(), "wm_yr_wk", "d")
    past = calendar.filter(pl.col("date").is_between(_LAST - timedelta(days=DAYS - 1), _LAST + timedelta(days=3)))
    names = ["store_id", "item_id", "dept_id"]
    wide = pl.scan_parquet(folder / "sales_train_evaluation.parquet")
    prices = pl.scan_parquet(folder / "sell_prices.parquet").rename({"sell_price": "price"})
    by_price = ["store_id", "item_id", "wm_yr_wk"]
    sales = (
        wide.select(*names, *past["d"])
        .unpivot(index=names, on=past["d"].to_list(), variable_name="d", value_name="units")
        .join(past.lazy(), on="d")
        .join(prices, on=by_price)
        .select(*names, "date", pl.col("units").cast(pl.Int32), "price")
    )
    ahead = calendar.filter(pl.col("date") > _LAST).lazy()
    future = wide.select(names).join(ahead, how="cross").join(prices, on=by_price).drop("wm_yr_wk", "d")
    return Shops("M5", sales, future.drop("dept_id"), _LAST)


def _made(series: int) -> Shops:
    """Negative binomial counts of series whose rates are log-normal, with a week's season and promotions."""
    rng = np.random.default_rng(7)
    days = [_LAST + timedelta(days=back) for back in range(1 - DAYS, 1 + 3 + HORIZON)]
    n, count = series, len(days)
    week = 1 + 0.3 * np.sin(2 * np.pi * np.arange(count) / 7)
    rate = rng.lognormal(-0.3, 1.0, n)[:, None] * week
    price = np.where(rng.random((n, count // 7 + 1)) < 0.1, 0.8, 1.0).repeat(7, axis=1)[:, :count]
    units = rng.poisson(rng.gamma(2.0, rate / price**2 / 2.0)).astype(np.int32)
    key = {
        "store_id": [f"S{number % 10}" for number in range(n)],
        "item_id": [f"I{number // 10:05d}" for number in range(n)],
        "dept_id": [f"D{number // 10 % 7}" for number in range(n)],
    }
    frame = pl.DataFrame(key).select(pl.all().gather(np.repeat(np.arange(n), count)))
    frame = frame.with_columns(
        pl.Series("date", days * n), pl.Series("units", units.ravel()), pl.Series("price", price.ravel())
    )
    is_past = pl.col("date") <= _LAST + timedelta(days=3)
    future = frame.filter(pl.col("date") > _LAST).drop("units", "dept_id")
    return Shops("made", frame.filter(is_past).lazy(), future.lazy(), _LAST)
