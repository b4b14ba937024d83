"""statsforecast's AutoETS as its documentation shows it: a model of its own for each series, by day of the week.

    python benchmarks/forecasting/autoets_app.py FOLDER DAYS

One year of history, since all of it takes five times as long; prints one JSON row.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import polars as pl
from statsforecast import StatsForecast
from statsforecast.models import AutoETS

sys.path.insert(0, str(Path(__file__).parents[1]))
from forecasting.m5_project import HORIZON, load_sales, row_of, rows_of

_HISTORY = 365


def main(folder: str, days: int) -> None:
    """Fit, forecast, measure, print."""
    sales = load_sales(Path(folder))
    name = pl.concat_str("item_id", "store_id", separator="_").alias("unique_id")
    past = rows_of(sales, days - _HISTORY, days).select(name, pl.col("date").alias("ds"), pl.col("units").alias("y"))
    started = time.monotonic()
    peer = StatsForecast(models=[AutoETS(season_length=7)], freq="1d", n_jobs=os.cpu_count() or 1)
    found = peer.forecast(df=past, h=HORIZON)
    seconds = time.monotonic() - started
    wide = found.pivot("ds", index="unique_id", values="AutoETS", sort_columns=True)
    joined = sales.names.select(name).join(wide, on="unique_id", how="left", maintain_order="left")
    forecast = joined.drop("unique_id").fill_null(0.0).fill_nan(0.0).to_numpy()
    print(json.dumps(row_of("statsforecast, AutoETS", days, sales, forecast, seconds)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
