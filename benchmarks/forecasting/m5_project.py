"""The M5 set as a project of Everloop's, as it was after some day, and its official measure.

WRMSSE is that of Makridakis, Spiliotis, Assimakopoulos (2022), "M5 accuracy competition", eqs. 1 and 2: the root mean
squared scaled error of the series of twelve levels, weighted by their money in the last 28 days; the scale is the mean
squared difference of days that follow one another, since the first sale.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

__all__ = [
    "HORIZON",
    "Sales",
    "load_sales",
    "row_of",
    "rows_ahead",
    "rows_of",
    "write_project",
    "write_settings",
    "wrmsse",
]

HORIZON = 28
FIRST_DAY = date(2011, 1, 29)
_NAMES = ("item_id", "dept_id", "cat_id", "store_id", "state_id")
_EVENTS = ("event_name_1", "event_type_1", "event_name_2", "event_type_2")
_LEVELS: tuple[tuple[str, ...], ...] = (
    (),
    ("state_id",),
    ("store_id",),
    ("cat_id",),
    ("dept_id",),
    ("state_id", "cat_id"),
    ("state_id", "dept_id"),
    ("store_id", "cat_id"),
    ("store_id", "dept_id"),
    ("item_id",),
    ("item_id", "state_id"),
    ("item_id", "store_id"),
)
_SETTINGS = """
[project]
name = "{name}"
[data]
source = "data/{past}"
future_source = "data/{future}"
series = ["store_id", "item_id"]
time = "date"
target = "units"
known_ahead = ["price", "snap", "event_name_1", "event_type_1", "event_name_2", "event_type_2"]
static = ["dept_id", "cat_id", "state_id"]
[tracking]
plots = false
"""


@dataclass(frozen=True)
class Sales:
    """All of M5.

    Attributes:
        names: a row a series: item, department, category, store, state.
        units: shape ``(series, days)``.
        prices: ``store_id``, ``item_id``, ``wm_yr_wk``, ``price``.
        calendar: a row a day, beyond the last sale too.
        price: shape ``(series, days)``, NaN where the item was not on offer.
    """

    names: pl.DataFrame
    units: NDArray[np.float32]
    prices: pl.DataFrame
    calendar: pl.DataFrame
    price: NDArray[np.float32]


def load_sales(folder: Path, *, stores: tuple[str, ...] = ()) -> Sales:
    """Read M5's files; only some stores where they are named."""
    table = pl.read_parquet(folder / "sales_train_evaluation.parquet")
    prices = pl.read_parquet(folder / "sell_prices.parquet").rename({"sell_price": "price"})
    if stores:
        table, prices = (frame.filter(pl.col("store_id").is_in(stores)) for frame in (table, prices))
    table = table.sort("item_id", "store_id")
    calendar = pl.read_csv(folder / "calendar.csv").with_columns(pl.col("date").str.to_date())
    days = [name for name in table.columns if name.startswith("d_")]
    weeks = calendar["wm_yr_wk"].to_numpy()
    by_week = table.select("item_id", "store_id").join(
        prices.pivot("wm_yr_wk", index=["item_id", "store_id"], values="price", sort_columns=True),
        on=["item_id", "store_id"],
        maintain_order="left",
    )
    known = np.unique(weeks)
    columns = [pl.col(str(week)) if str(week) in by_week.columns else pl.lit(None).alias(str(week)) for week in known]
    price = by_week.select(columns).to_numpy().astype(np.float32)[:, np.searchsorted(known, weeks)]
    return Sales(table.select(_NAMES), table.select(days).to_numpy().astype(np.float32), prices, calendar, price)


def write_project(sales: Sales, folder: Path, days: int) -> None:
    """A project that knows the first ``days``, and prices, events and food-stamp days of the 28 days after them."""
    data = folder / "data"
    data.mkdir(parents=True)
    write_settings(folder, name="m5", past="past.parquet", future="future.parquet")
    rows_of(sales, 0, days).write_parquet(data / "past.parquet")
    rows_ahead(sales, days).write_parquet(data / "future.parquet")


def write_settings(folder: Path, *, name: str, past: str, future: str) -> None:
    """The settings of a project of such sales, whose rows lie in ``data/PAST`` and ``data/FUTURE``."""
    text = _SETTINGS.format(name=name, past=past, future=future)
    (folder / "everloop.toml").write_text(text, encoding="utf-8")


def rows_of(sales: Sales, first: int, end: int) -> pl.DataFrame:
    """A row a series and day on which it was on offer."""
    n = len(sales.units)
    price = sales.price[:, first:end]
    row, day = np.nonzero(~np.isnan(price))
    units = np.full(price.shape, np.nan, dtype=np.float32)
    known = sales.units[:, first:end]
    units[:, : known.shape[1]] = known
    dates = pl.Series("date", [FIRST_DAY + timedelta(days=each) for each in range(first, end)], dtype=pl.Date)
    calendar = sales.calendar[first:end]
    snap = np.stack([calendar[f"snap_{state}"].to_numpy() for state in ("CA", "TX", "WI")])
    state = np.searchsorted(["CA", "TX", "WI"], sales.names["state_id"].to_numpy().astype(str))
    assert n == len(state)
    return pl.DataFrame(
        [
            *(sales.names[name].gather(row) for name in ("store_id", "item_id", "dept_id", "cat_id", "state_id")),
            dates.gather(day),
            pl.Series("units", units[row, day]),
            pl.Series("price", price[row, day]),
            pl.Series("snap", snap[state[row], day].astype(np.float32)),
            *(calendar[name].gather(day) for name in _EVENTS),
        ]
    )


def rows_ahead(sales: Sales, first: int) -> pl.DataFrame:
    """What is known ahead of the 28 days from ``first`` on."""
    return rows_of(sales, first, first + HORIZON).drop("units", "dept_id", "cat_id", "state_id")


def wrmsse(sales: Sales, forecast: NDArray[np.floating], days: int) -> tuple[float, list[float]]:
    """WRMSSE of forecasts of the 28 days after ``days``, shape ``(series, 28)``: overall and by level."""
    past, actual = sales.units[:, :days].astype(np.float64), sales.units[:, days : days + HORIZON].astype(np.float64)
    money = (past[:, -HORIZON:] * np.nan_to_num(sales.price[:, days - HORIZON : days])).sum(axis=1)
    by_level = []
    for level in _LEVELS:
        group = (
            sales.names.select(pl.struct(level).rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
            if level
            else np.zeros(len(past), dtype=np.int64)
        )
        total = sparse.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))))
        history = total @ past
        begun = np.arange(days - 1)[None, :] >= (history > 0).argmax(axis=1)[:, None]
        scale = (np.diff(history, axis=1) ** 2 * begun).sum(axis=1) / np.maximum(begun.sum(axis=1), 1)
        error = ((total @ (forecast - actual)) ** 2).mean(axis=1)
        weight = total @ money
        counts = scale > 0
        by_level.append(float((weight[counts] * np.sqrt(error[counts] / scale[counts])).sum() / weight.sum()))
    return float(np.mean(by_level)), by_level


def row_of(
    what: str, days: int, sales: Sales, found: NDArray[np.floating], seconds: float, gigabytes: float | None = None
) -> dict[str, Any]:
    """A row of a table: errors of forecasts of shape ``(series, 28)``, their time, and the memory where it is known."""
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
        **({} if gigabytes is None else {"peak_gb": round(gigabytes, 2)}),
    }
