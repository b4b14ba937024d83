"""mlforecast as its documentation shows it for daily retail: one LightGBM on lags of the horizon and more.

    python benchmarks/forecasting/mlforecast_app.py FOLDER DAYS

Two years of history, Tweedie 1.1, 100 trees, lags and rolling means at 28 days and more, date features, price, events
and food-stamp days; prints one JSON row.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import lightgbm
import polars as pl
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean

sys.path.insert(0, str(Path(__file__).parents[1]))
from forecasting.m5_project import HORIZON, load_sales, row_of, rows_of

_HISTORY = 730
_STATIC = ["item_id", "store_id", "dept_id", "cat_id", "state_id"]
_EVENTS = ["event_name_1", "event_type_1", "event_name_2", "event_type_2"]


def main(folder: str, days: int) -> None:
    """Fit, forecast, measure, print."""
    sales = load_sales(Path(folder))
    categories = [pl.col(name).cast(pl.Categorical) for name in (*_STATIC, *_EVENTS)]
    frame = rows_of(sales, days - _HISTORY, days + HORIZON).with_columns(
        pl.concat_str("item_id", "store_id", separator="_").cast(pl.Categorical).alias("unique_id")
    )
    frame = frame.with_columns(categories).rename({"date": "ds", "units": "y"}).to_pandas()
    last = frame["ds"].sort_values().unique()[-HORIZON - 1]
    past = frame[frame["ds"] <= last]
    ahead = frame[frame["ds"] > last].drop(columns=["y", *_STATIC])
    ahead = ahead[ahead["unique_id"].isin(past["unique_id"].unique())]
    started = time.monotonic()
    peer = MLForecast(
        models={"lgb": lightgbm.LGBMRegressor(objective="tweedie", tweedie_variance_power=1.1, verbosity=-1, n_jobs=2)},
        freq="D",
        lags=[28, 35, 42],
        lag_transforms={28: [RollingMean(7), RollingMean(28)], 35: [RollingMean(7), RollingMean(28)]},
        date_features=["year", "month", "day", "dayofweek", "quarter", "week"],
    )
    peer.fit(past, static_features=_STATIC)
    found = peer.predict(HORIZON, X_df=ahead)
    seconds = time.monotonic() - started
    wide = pl.from_pandas(found.astype({"unique_id": str})).pivot(
        "ds", index="unique_id", values="lgb", sort_columns=True
    )
    order = sales.names.select(pl.concat_str("item_id", "store_id", separator="_").alias("unique_id"))
    values = order.join(wide, on="unique_id", how="left", maintain_order="left").drop("unique_id").fill_null(0.0)
    forecast = values.to_numpy()
    print(json.dumps(row_of("mlforecast", days, sales, forecast, seconds)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
