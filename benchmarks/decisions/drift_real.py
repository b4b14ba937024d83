"""Real columns: M5's sales, prices and calendar, by store, in years that begin at different dates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decisions.drift_generators import HISTORY

__all__ = ["RealJob", "real_jobs"]

Floats = NDArray[np.float64]

_FIRST = np.datetime64("2011-01-29").astype("M8[D]").astype(np.int64)
_LENGTH = HISTORY + 365
_STARTS = (0, 422, 845)


@dataclass(frozen=True)
class RealJob:
    """Three years of a store's daily streams; nobody knows whether they drift.

    Attributes:
        case: which columns.
        days: days since 1970.
        streams: shape ``(days, m)``.
        kinds: of each stream.
        names: of each stream.
    """

    case: str
    days: NDArray[np.int64]
    streams: Floats
    kinds: tuple[str, ...]
    names: tuple[str, ...]


def real_jobs() -> tuple[list[RealJob], str]:
    """The jobs, or why there are none."""
    folder = os.environ.get("EVERLOOP_DATA", "")
    if not folder:
        return [], "EVERLOOP_DATA names no folder with real sales"
    try:
        return _jobs(Path(folder) / "m5"), ""
    except (OSError, pl.exceptions.PolarsError) as error:
        return [], str(error)


def _jobs(folder: Path) -> list[RealJob]:
    table = pl.read_parquet(folder / "sales_train_evaluation.parquet")
    names = [name for name in table.columns if name.startswith("d_")]
    calendar = pl.read_csv(folder / "calendar.csv")
    prices = pl.read_parquet(folder / "sell_prices.parquet").with_columns(
        pl.col("item_id").str.head(-4).alias("dept_id"), pl.col("sell_price").cast(pl.Float64).arcsinh().alias("price")
    )
    week_of = calendar["wm_yr_wk"].to_numpy()[: len(names)]
    found = []
    for (store,), part in table.group_by(["store_id"], maintain_order=True):
        parts = {"sales": _sales(part, names), "price": _prices(prices.filter(pl.col("store_id") == store), week_of)}
        parts["calendar"] = _calendar(calendar, len(names), str(store)[:2])
        for case, (streams, labels, kinds) in parts.items():
            for start in _STARTS:
                days = _FIRST + np.arange(start, start + _LENGTH)
                used = streams[start : start + _LENGTH]
                found.append(RealJob(f"M5 {case}", days, used, kinds, labels))
    return found


def _sales(part: pl.DataFrame, names: list[str]) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """The mean and the logarithm of the deviation of arcsinh over a department's items."""
    streams, labels = [], []
    for (department,), own in part.group_by(["dept_id"], maintain_order=True):
        units = np.arcsinh(own.select(names).to_numpy().astype(np.float32))
        spread = units.std(axis=0, ddof=1).astype(np.float64)
        streams += [units.mean(axis=0, dtype=np.float64), np.log(np.where(spread > 0, spread, np.nan))]
        labels += [f"{department} level", f"{department} spread"]
    return np.stack(streams, axis=1), tuple(labels), ("value",) * len(labels)


def _prices(prices: pl.DataFrame, week_of: NDArray[np.int64]) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """The mean and the logarithm of the deviation of arcsinh of the prices of a department, day by day."""
    streams, labels = [], []
    for (department,), own in prices.group_by(["dept_id"], maintain_order=True):
        weeks = own.group_by("wm_yr_wk").agg(pl.col("price").mean(), pl.col("price").std().log().alias("spread"))
        for name in ("price", "spread"):
            value = dict(zip(weeks["wm_yr_wk"].to_list(), weeks[name].to_list(), strict=True))
            streams.append(np.array([value.get(week, np.nan) for week in week_of.tolist()], dtype=np.float64))
            labels.append(f"{department} {name}")
    return np.stack(streams, axis=1), tuple(labels), ("value",) * len(labels)


def _calendar(calendar: pl.DataFrame, number: int, state: str) -> tuple[Floats, tuple[str, ...], tuple[str, ...]]:
    """Whether food stamps may be spent, and whether there is an event: shares of nought or one."""
    snap = calendar[f"snap_{state}"].to_numpy()[:number].astype(np.float64)
    event = calendar["event_name_1"].is_not_null().to_numpy()[:number].astype(np.float64)
    return np.pi * np.stack([snap, event], axis=1), ("snap", "event"), ("share", "share")
