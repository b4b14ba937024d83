"""Rossmann's shops, six weeks ahead from several origins: the default trees beside others, by WAPE on open days."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext, ForecastRequest
from measuring.claims import claim_of

__all__ = ["HORIZON", "load_shops", "measure"]

HORIZON = 42
_ORIGINS = 4
_CANDIDATES: dict[str, tuple[str, dict[str, Any]]] = {
    "seasonal naive": ("seasonal_naive", {}),
    "statistical": ("statistical", {}),
    "lightgbm": ("lightgbm", {}),
    "lightgbm, neighbours": ("lightgbm", {"neighbours": True}),
}
_NUMBERS = ("Promo", "SchoolHoliday")
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Shops:
    """A table of shops by days for each column, NaN on days without sales.

    Attributes:
        keys: of the shops.
        days: their dates.
        columns: by name; ``StateHoliday`` is a code, the others are numbers.
        static: by name: codes and their texts.
        distance: to the next competitor.
    """

    keys: tuple[tuple[str, ...], ...]
    days: NDArray[np.datetime64]
    columns: dict[str, _Floats]
    static: dict[str, tuple[_Floats, tuple[str, ...]]]
    distance: _Floats

    def panel(self, days: int) -> Panel:
        """All that was known after so many days, with the columns known for the horizon after them."""
        n, until = len(self.keys), self.columns["Sales"].shape[1]
        frequency = Frequency.parse("1d")
        names = (*_NUMBERS, "StateHoliday")
        whole = Panel(
            frequency,
            ("Store",),
            self.keys,
            int(frequency.index(self.days[-1:])[0]),
            np.arange(n + 1) * until,
            self.columns["Sales"].ravel(),
            known={name: self.columns[name].ravel() for name in names},
            static={name: codes for name, (codes, _) in self.static.items()} | {"CompetitionDistance": self.distance},
            categories={name: texts for name, (_, texts) in self.static.items()} | {"StateHoliday": ("a", "b", "c")},
        )
        return whole.until(whole.cutoff - (until - days), horizon=HORIZON)


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """WAPE by origin, seconds, and the ratios to the seasonal naive and to mlforecast.

    Args:
        quick: one origin.
    """
    folder = Path(os.environ.get("EVERLOOP_DATA", "")) / "rossmann"
    if not (folder / "store.csv").is_file():
        return [{"skipped": "EVERLOOP_DATA names no folder with Rossmann's sales"}], []
    table = _table(folder)
    shops = load_shops(folder)
    rows: list[dict[str, Any]] = []
    for origin in range(1 if quick else _ORIGINS):
        days = len(shops.days) - HORIZON * (origin + 1)
        actual = shops.columns["Sales"][:, days : days + HORIZON]
        for name, (candidate, options) in _CANDIDATES.items():
            rows.append(_row(name, origin, actual, lambda c=candidate, o=options, d=days: _ours(shops, c, o, d)))
        rows.append(_row("mlforecast", origin, actual, lambda d=days: _peer(table, shops, d)))
    return rows, _claims(rows)


def _table(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "train_days_with_sales.parquet").with_columns(pl.col("Date").cast(pl.Date))


def load_shops(folder: Path) -> _Shops:
    """Read Rossmann's files."""
    table, stores = _table(folder), pl.read_csv(folder / "store.csv", infer_schema_length=None)
    order = sorted(table["Store"].unique().to_list(), key=str)
    days = pl.date_range(table["Date"].min(), table["Date"].max(), eager=True)  # type: ignore[call-overload]
    place = {store: number for number, store in enumerate(order)}
    row = table["Store"].replace_strict(place).to_numpy()
    column = (table["Date"] - days[0]).dt.total_days().to_numpy()
    columns = {}
    for name in ("Sales", *_NUMBERS, "StateHoliday"):
        block = np.full((len(order), len(days)), np.nan, dtype=np.float32)
        values = (
            table[name].replace_strict({"a": 0, "b": 1, "c": 2}, default=None)
            if name == "StateHoliday"
            else table[name]
        )
        block[row, column] = values.cast(pl.Float32).to_numpy()
        columns[name] = block
    stores = stores.filter(pl.col("Store").is_in(order)).sort(pl.col("Store").cast(pl.String))
    static = {}
    for name in ("StoreType", "Assortment"):
        texts, codes = np.unique(stores[name].to_numpy().astype(str), return_inverse=True)
        static[name] = (codes.astype(np.float32), tuple(texts.tolist()))
    distance = stores["CompetitionDistance"].cast(pl.Float32).to_numpy()
    return _Shops(tuple((str(store),) for store in order), days.to_numpy(), columns, static, distance)


def _row(name: str, origin: int, actual: _Floats, forecast: Callable[[], NDArray[np.floating]]) -> dict[str, Any]:
    started = time.monotonic()
    found = forecast()
    is_open = ~np.isnan(actual)
    demand = float(actual[is_open].sum())
    return {
        "what": name,
        "origin": origin,
        "wape": round(float(np.abs(found - actual)[is_open].sum()) / demand, 4),
        "bias": round(float((found - actual)[is_open].sum()) / demand, 4),
        "seconds": round(time.monotonic() - started, 1),
    }


def _ours(shops: _Shops, candidate: str, options: dict[str, Any], days: int) -> NDArray[np.floating]:
    model = make_forecaster(candidate, options).fit(shops.panel(days), FitContext(HORIZON, threads=os.cpu_count() or 1))
    return model.forecast(ForecastRequest(HORIZON)).mean


def _peer(table: pl.DataFrame, shops: _Shops, days: int) -> NDArray[np.floating]:
    """The peer mlforecast as its documentation shows: gaps filled, lags of the horizon and more, date features."""
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    first, last = shops.days[0], shops.days[days + HORIZON - 1]
    grid = pl.DataFrame({"Store": table["Store"].unique(maintain_order=True)}).join(
        pl.DataFrame({"Date": pl.Series(shops.days[: days + HORIZON]).cast(pl.Date)}), how="cross"
    )
    names = ["Store", "Date", "Sales", "Promo", "SchoolHoliday", "Open"]
    frame = grid.join(table.select(names), on=["Store", "Date"], how="left").fill_null(0)
    frame = frame.filter(pl.col("Date").is_between(pl.lit(first).cast(pl.Date), pl.lit(last).cast(pl.Date)))
    frame = frame.with_columns(pl.col("Date").cast(pl.Datetime("ns")))
    frame = frame.rename({"Store": "unique_id", "Date": "ds", "Sales": "y"}).sort("unique_id", "ds")
    cut = frame["ds"].unique().sort()[days - 1]
    past, ahead = frame.filter(pl.col("ds") <= cut), frame.filter(pl.col("ds") > cut).drop("y")
    model = MLForecast(
        models={"lgb": LGBMRegressor(verbosity=-1, n_jobs=os.cpu_count())},
        freq="D",
        lags=[42, 49, 56],
        lag_transforms={42: [RollingMean(7), RollingMean(28)]},
        date_features=["dayofweek", "day", "week", "month", "year"],
    )
    model.fit(past.to_pandas(), static_features=[])
    found = pl.from_pandas(model.predict(HORIZON, X_df=ahead.to_pandas()))
    wide = found.pivot("ds", index="unique_id", values="lgb", sort_columns=True)
    return wide.sort(pl.col("unique_id").cast(pl.String)).drop("unique_id").to_numpy()


def _claims(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_what: dict[str, list[float]] = {}
    for row in rows:
        by_what.setdefault(row["what"], []).append(row["wape"])
    ours = np.array(by_what["lightgbm"])
    claims = []
    for name in ("seasonal naive", "mlforecast"):
        ratios = ours / np.array(by_what[name])
        interval = (float(ratios.min()), float(ratios.max()))
        claims.append(
            claim_of(f"wape-{name}", f"WAPE, of that of {name}", "", 1.0, float(ratios.mean()), interval, is_most=True)
        )
    return claims
