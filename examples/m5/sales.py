"""Walmart's M5 data as rows: from the wide sales file, the weekly prices and the calendar, as they were published.

The folder of the files is ``$EVERLOOP_M5``, the store ``$EVERLOOP_M5_STORE`` (``CA_1`` by default, ``ALL`` for all
ten). Files may be CSV, as published, or Parquet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

SERIES = ["item_id", "store_id"]
STATIC = ["dept_id", "cat_id", "state_id"]
DAYS_OF_SALES = 1941
SERIES_AT_ONCE = 500


def history() -> Iterator[pl.DataFrame]:
    """Units sold, a row for each item, store and day on which the store offered the item.

    A week without a price is one in which the item was not offered: its zeros are no demand, and are left out.
    """
    days = calendar().filter(pl.col("day") <= DAYS_OF_SALES)
    for store, wide in stores():
        prices = prices_of(store)
        for block in wide.iter_slices(SERIES_AT_ONCE):
            yield (
                block.unpivot(on=pl.selectors.starts_with("d_"), index=[*SERIES, *STATIC], value_name="units")
                .with_columns(pl.col("variable").str.slice(2).cast(pl.Int32).alias("day"))
                .join(days, on=["day", "state_id"])
                .join(prices, on=["item_id", "wm_yr_wk"])
                .select(*SERIES, "date", "units", "price", "event", "snap", *STATIC)
            )


def ahead() -> Iterator[pl.DataFrame]:
    """Prices, events and SNAP days of the four weeks after the sales."""
    days = calendar().filter(pl.col("day") > DAYS_OF_SALES)
    for store, wide in stores():
        yield (
            wide.select(*SERIES, "state_id")
            .join(days, on="state_id")
            .join(prices_of(store), on=["item_id", "wm_yr_wk"])
            .select(*SERIES, "date", "price", "event", "snap")
        )


def stores() -> Iterator[tuple[str, pl.DataFrame]]:
    """The wide sales of each store that is asked for."""
    wanted = os.environ.get("EVERLOOP_M5_STORE", "CA_1")
    one = folder() / f"sales_train_evaluation_{wanted}.parquet"
    wide = pl.scan_parquet(one) if one.is_file() else table("sales_train_evaluation")
    names = wide.select(pl.col("store_id").unique().sort()).collect()["store_id"].to_list()
    chosen = names if wanted == "ALL" else [wanted]
    if not set(chosen) <= set(names):
        raise SystemExit(f"EVERLOOP_M5_STORE is {wanted!r}; known: ALL, {', '.join(names)}")
    for name in chosen:
        yield name, wide.filter(pl.col("store_id") == name).collect()


def prices_of(store: str) -> pl.DataFrame:
    """A store's price of each item and week."""
    prices = table("sell_prices").filter(pl.col("store_id") == store)
    return prices.select("item_id", pl.col("wm_yr_wk").cast(pl.Int32), pl.col("sell_price").alias("price")).collect()


def calendar() -> pl.DataFrame:
    """Each day of each state: its number, date, week, event and whether SNAP purchases are allowed."""
    days = table("calendar").collect()
    events = pl.concat_str("event_name_1", "event_name_2", separator=" and ", ignore_nulls=True)
    by_state = [
        days.select(
            pl.col("d").str.slice(2).cast(pl.Int32).alias("day"),
            pl.col("date").cast(pl.String).str.to_date(),
            pl.col("wm_yr_wk").cast(pl.Int32),
            pl.when(events == "").then(pl.lit("none")).otherwise(events).alias("event"),
            pl.col(f"snap_{state}").cast(pl.Int8).alias("snap"),
            pl.lit(state).alias("state_id"),
        )
        for state in ("CA", "TX", "WI")
    ]
    return pl.concat(by_state)


def table(name: str) -> pl.LazyFrame:
    """One of the published files."""
    path = folder() / f"{name}.parquet"
    return pl.scan_parquet(path) if path.is_file() else pl.scan_csv(path.with_suffix(".csv"))


def folder() -> Path:
    """Where the published files lie."""
    found = Path(os.environ.get("EVERLOOP_M5") or Path(__file__).parents[3] / "shared" / "data" / "m5")
    if not (found / "calendar.csv").is_file():
        raise SystemExit(f"there is no calendar.csv in {found}: set EVERLOOP_M5 to the folder of the M5 files")
    return found
