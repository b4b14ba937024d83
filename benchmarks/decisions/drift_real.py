"""Real columns: M5's sales, prices and calendar, by store, in years that begin at different dates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from decisions.drift_generators import HISTORY
from everloop.monitor.drift.events import event_columns, plan_events
from everloop.monitor.drift.summaries import Counts, Summary

__all__ = ["SETTLED_ON", "RealJob", "real_jobs"]

Floats = NDArray[np.float64]

_FIRST = np.datetime64("2011-01-29").astype("M8[D]").astype(np.int64)
_LENGTH = HISTORY + 365
_STARTS = (0, 422, 845)
_MARGIN = 28
SETTLED_ON = frozenset({"CA_1", "CA_3", "TX_2", "WI_1", "WI_3"})
"""The stores on which the allowance for levels that wander was settled; the others were held back."""


@dataclass(frozen=True)
class RealJob:
    """Three years of a store's daily streams; nobody knows whether they drift.

    Attributes:
        case: which columns.
        store: whose they are.
        days: days since 1970.
        streams: shape ``(days, m)``.
        kinds: of each stream.
        names: of each stream.
        events: what was known ahead, the day before, on it and after, by what the first two years hold, shape
            ``(days, r)``.
    """

    case: str
    store: str
    days: NDArray[np.int64]
    streams: Floats
    kinds: tuple[str, ...]
    names: tuple[str, ...]
    events: Floats


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
        pl.col("sell_price").cast(pl.Float64).arcsinh().alias("price")
    )
    week_of = calendar["wm_yr_wk"].to_numpy()[: len(names)]
    found = []
    for (store,), part in table.group_by(["store_id"], maintain_order=True):
        units = np.arcsinh(part.select(names).to_numpy().astype(np.float32))
        departments = part["dept_id"].to_numpy()
        price = _prices(prices.filter(pl.col("store_id") == store), part["item_id"].to_list(), week_of)
        calendars = _calendar(calendar, len(names), str(store)[:2])
        for start in _STARTS:
            days = _FIRST + np.arange(start, start + _LENGTH)
            window = slice(start, start + _LENGTH)
            # what comes on sale or leaves is a change; what is asked is whether the items that stay raise alarms
            stays = (units[:, window][:, :_MARGIN] > 0).any(axis=1) & (units[:, window][:, -_MARGIN:] > 0).any(axis=1)
            events = _events(calendar, days)
            for case, values in (("M5 sales", units), ("M5 price", price)):
                streams, labels = _by_department(values[stays, window], departments[stays])
                found.append(RealJob(case, str(store), days, streams, ("value",) * len(labels), labels, events))
            snap = RealJob(
                "M5 calendar", str(store), days, calendars[window], ("share", "share"), ("snap", "event"), events[:, :0]
            )
            found.append(snap)
    return found


def _by_department(values: NDArray[np.float32], departments: NDArray[np.object_]) -> tuple[Floats, tuple[str, ...]]:
    """The mean and the logarithm of the deviation over a department's items, day by day."""
    streams, labels = [], []
    for name in sorted(set(departments.tolist())):
        own = values[departments == name].astype(np.float64)
        known = np.isfinite(own)
        number = np.maximum(known.sum(axis=0), 2)
        mean = np.nansum(own, axis=0) / number
        spread = np.sqrt(np.nansum((own - mean) ** 2, axis=0) / (number - 1))
        streams += [
            mean,
            np.log(np.where(spread > 0, spread, np.nan), where=spread > 0, out=np.full(len(mean), np.nan)),
        ]
        labels += [f"{name} level", f"{name} spread"]
    return np.stack(streams, axis=1), tuple(labels)


def _prices(prices: pl.DataFrame, items: list[str], week_of: NDArray[np.int64]) -> NDArray[np.float32]:
    """Arcsinh of the prices, shape ``(items, days)``, NaN where an item is not on sale."""
    wide = prices.pivot("wm_yr_wk", index="item_id", values="price")
    order = pl.DataFrame({"item_id": items}).join(wide, on="item_id", how="left", maintain_order="left")
    weeks = [str(week) for week in week_of.tolist()]
    missing = [week for week in dict.fromkeys(weeks) if week not in order.columns]
    order = order.with_columns(pl.lit(None, dtype=pl.Float64).alias(week) for week in missing)
    each = list(dict.fromkeys(weeks))
    values = order.select(each).to_numpy().astype(np.float32)
    place = {week: number for number, week in enumerate(each)}
    return values[:, [place[week] for week in weeks]]


def _events(calendar: pl.DataFrame, days: NDArray[np.int64]) -> Floats:
    """The regressors that a release learns at the end of the history."""
    first = int(days[0] - _FIRST)
    found = {}
    for column in ("event_name_1", "event_name_2"):
        values = calendar[column].to_list()[first : first + len(days)]
        names = tuple(sorted({name for name in values if name is not None}))
        counts = np.array([[float(value == name) for name in names] for value in values])
        found[column] = Counts(names, counts, np.ones(len(days)))
    whole = Summary(days, {}, found)
    events = plan_events(whole.at(np.arange(HISTORY)), list(found))
    return event_columns(whole, events, days)


def _calendar(calendar: pl.DataFrame, number: int, state: str) -> Floats:
    """Whether food stamps may be spent, and whether there is an event: arcsines of shares of nought or one."""
    snap = calendar[f"snap_{state}"].to_numpy()[:number].astype(np.float64)
    event = calendar["event_name_1"].is_not_null().to_numpy()[:number].astype(np.float64)
    streams: Floats = np.pi * np.stack([snap, event], axis=1)
    return streams
