"""Panels of real sales, from a folder that EVERLOOP_DATA names: stores of M5 (``m5/``) and Rossmann (``rossmann/``)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.data.panel import Future, Panel

__all__ = ["Wide", "data_folder", "m5_stores", "rossmann"]

_M5_BEGIN = 15_003
_ROSSMANN_BEGIN = 15_706
_DEPARTMENTS = ("dept_id", "cat_id")


@dataclass(frozen=True)
class Wide:
    """Sales as a table of series by days.

    Attributes:
        name: of the set.
        begin: the grid index of the first day.
        y: shape ``(n, days)``, NaN where there is no row.
        first: the first day with a sale.
        keys: of the series, in sorted order.
        static: texts by column.
        price: known ahead, shape of ``y``; NaN where unknown; ``None`` where there is none.
        closed_weekdays: of the shops.
    """

    name: str
    begin: int
    y: NDArray[np.float32]
    first: NDArray[np.int64]
    keys: tuple[tuple[str, ...], ...]
    static: dict[str, NDArray[np.str_]]
    price: NDArray[np.float32] | None = None
    closed_weekdays: frozenset[int] = frozenset()

    def panel(self, days: int, *, horizon: int, rows: NDArray[np.int64] | None = None) -> Panel:
        """The panel as it was after so many days.

        Args:
            days: how many days are known.
            horizon: how many steps prices are known ahead.
            rows: only these series, in rising order, the unsold ones too, each by one period without a value;
                all that had begun where it is ``None``.
        """
        if rows is None:
            rows = np.flatnonzero(self.first < days)
        begin = np.minimum(self.first[rows], days - 1)
        if self.price is not None:
            listed = (~np.isnan(self.price[rows])).argmax(axis=1)
            begin = np.where(self.first[rows] < days, np.minimum(begin, listed), begin)
        lengths = days - begin
        is_inside = np.arange(days)[None, :] >= begin[:, None]
        y = np.where((self.first[rows] < days)[:, None], self.y[rows, :days], np.nan)
        static, categories = {}, {}
        for name, texts in self.static.items():
            labels, codes = np.unique(texts, return_inverse=True)
            static[name], categories[name] = codes[rows].astype(np.float32), tuple(labels.tolist())
        known, future = {}, Future(0, {})
        if self.price is not None:
            known = {"price": self.price[rows, :days][is_inside].astype(np.float32)}
            ahead = np.full((len(rows), horizon), np.nan, dtype=np.float32)
            given = self.price[rows, days : days + horizon]
            ahead[:, : given.shape[1]] = given
            future = Future(horizon, {"price": ahead})
        return Panel(
            Frequency.parse("1d"),
            ("item", "store") if len(self.keys[0]) == 2 else ("store",),
            tuple(self.keys[row] for row in rows.tolist()),
            self.begin + days - 1,
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            y[is_inside].astype(np.float32),
            known=known,
            static=static,
            categories=categories,
            future=future,
            closed_weekdays=self.closed_weekdays,
        )


def data_folder() -> Path | None:
    """The folder with real sales, ``None`` where it is not named."""
    folder = os.environ.get("EVERLOOP_DATA", "")
    return Path(folder) if folder else None


def m5_stores(folder: Path, *stores: str) -> Wide:
    """Some stores of M5, with prices by day."""
    table = (
        pl.scan_parquet(folder / "m5" / "sales_train_evaluation.parquet")
        .filter(pl.col("store_id").is_in(stores))
        .collect()
        .sort("item_id", "store_id")
    )
    days = [name for name in table.columns if name.startswith("d_")]
    y = table.select(days).to_numpy().astype(np.float32)
    weeks = pl.read_csv(folder / "m5" / "calendar.csv", columns=["wm_yr_wk"])["wm_yr_wk"].to_numpy()[: len(days)]
    prices = (
        pl.scan_parquet(folder / "m5" / "sell_prices.parquet")
        .filter(pl.col("store_id").is_in(stores))
        .collect()
        .pivot("wm_yr_wk", index=["item_id", "store_id"], values="sell_price", sort_columns=True)
    )
    prices = table.select("item_id", "store_id").join(prices, on=["item_id", "store_id"], maintain_order="left")
    names = [str(week) for week in np.unique(weeks).tolist()]
    by_week = prices.select(names).to_numpy().astype(np.float32)
    price = by_week[:, np.searchsorted(np.unique(weeks), weeks)]
    keys = tuple(table.select("item_id", "store_id").iter_rows())
    static = {name: table[name].to_numpy().astype(np.str_) for name in _DEPARTMENTS}
    first = (y > 0).argmax(axis=1)
    return Wide("M5 " + "+".join(stores), _M5_BEGIN, y, first, keys, static, price)


def rossmann(folder: Path) -> Wide:
    """Rossmann's stores; they rest on Sundays."""
    table = pl.read_parquet(folder / "rossmann" / "train_days_with_sales.parquet", columns=["Store", "Date", "Sales"])
    wide = table.pivot("Date", index="Store", values="Sales", sort_columns=True).sort(pl.col("Store").cast(pl.String))
    stores = wide["Store"].cast(pl.String).to_list()
    dates = [name for name in wide.columns if name != "Store"]
    held = wide.select(dates).to_numpy().astype(np.float32)
    place = (np.array([name[:10] for name in dates], dtype="M8[D]").astype(np.int64)) - _ROSSMANN_BEGIN
    y = np.full((len(held), int(place.max()) + 1), np.nan, dtype=np.float32)
    y[:, place] = held
    about = pl.read_csv(folder / "rossmann" / "store.csv").with_columns(pl.col("Store").cast(pl.String))
    about = pl.DataFrame({"Store": stores}).join(about, on="Store", how="left", maintain_order="left")
    static = {name: about[name].to_numpy().astype(np.str_) for name in ("StoreType", "Assortment")}
    first = (np.nan_to_num(y) > 0).argmax(axis=1)
    return Wide(
        "Rossmann", _ROSSMANN_BEGIN, y, first, tuple((store,) for store in stores), static, None, frozenset({6})
    )
