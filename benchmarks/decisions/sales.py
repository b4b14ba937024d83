"""Real sales, from a folder that EVERLOOP_DATA names: M5 (``m5/``) and Rossmann (``rossmann/``)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Sales", "load_sales"]


@dataclass(frozen=True)
class Sales:
    """Daily sales.

    Attributes:
        name: of the set.
        units: shape ``(series, days)``, NaN where closed.
        cluster: the store of each series, whole numbers from 0, shape ``(series,)``.
        item: the item of each series.
    """

    name: str
    units: NDArray[np.float32]
    cluster: NDArray[np.int64]
    item: NDArray[np.int64]


def load_sales() -> tuple[list[Sales], str]:
    """The sets that are there, and why others are not."""
    folder = os.environ.get("EVERLOOP_DATA", "")
    if not folder:
        return [], "EVERLOOP_DATA names no folder with real sales"
    found, missing = [], []
    for name, load in (("m5", _m5), ("rossmann", _rossmann)):
        try:
            found.append(load(Path(folder) / name))
        except (OSError, pl.exceptions.PolarsError) as error:
            missing.append(f"{name}: {error}")
    return found, "; ".join(missing)


def _m5(folder: Path) -> Sales:
    table = pl.read_parquet(folder / "sales_train_evaluation.parquet")
    days = [name for name in table.columns if name.startswith("d_")]
    units = table.select(days[-800:]).to_numpy().astype(np.float32)
    return Sales("M5", units, _codes(table["store_id"]), _codes(table["item_id"]))


def _rossmann(folder: Path) -> Sales:
    table = pl.read_parquet(folder / "train_days_with_sales.parquet")
    wide = table.pivot("Date", index="Store", values="Sales", sort_columns=True).sort("Store")
    units = wide.drop("Store").to_numpy().astype(np.float32)
    stores = np.arange(len(units))
    return Sales("Rossmann", units, stores, stores)


def _codes(names: pl.Series) -> NDArray[np.int64]:
    return np.unique(names.to_numpy(), return_inverse=True)[1].astype(np.int64)
