"""What is in stock and on its way, for each series of a batch, from a table that a person gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.errors import DataError, nearest
from everloop.data.panel import join_key

__all__ = ["ON_ORDER", "STOCK", "Stock"]

STOCK, ON_ORDER = "stock", "on_order"
_HINTED = 5000


@dataclass(frozen=True, slots=True)
class Stock:
    """Stock, each of shape ``(n,)``.

    Attributes:
        on_hand: what is there.
        on_order: what was ordered and is on its way.
        notes: what was assumed.
    """

    on_hand: NDArray[np.float64]
    on_order: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @classmethod
    def nothing(cls, count: int) -> Stock:
        """No stock of so many series."""
        return cls(np.zeros(count), np.zeros(count), ("no stock was told: all orders begin with empty shelves",))

    @classmethod
    def of(cls, table: pl.DataFrame, series: Sequence[str], columns: Sequence[str], *, path: str) -> Stock:
        """The stock of some series.

        Args:
            table: a row for each series: its columns, ``stock``, and ``on_order`` where anything is on its way.
            series: the series' texts (``join_key``), in the order wanted; one without a row has no stock.
            columns: the names of the series' columns.
            path: the table's, for errors.

        Raises:
            DataError: a column is missing, a series is unknown or told twice, or a number is none.
        """
        for name in (*columns, STOCK):
            if name not in table.columns:
                hint = nearest(name, table.columns)
                raise DataError("column_missing", f"{path} has no column {name!r}", hint=hint, path=path)
        keys = [join_key(key) for key in zip(*(_texts(table[name]) for name in columns), strict=True)]
        place = {key: number for number, key in enumerate(series)}
        unknown = [key for key in keys if key not in place]
        if unknown:
            raise DataError(
                "stock_series",
                f"{len(unknown)} series of the stock are not forecast, such as {unknown[0]!r}",
                hint=nearest(unknown[0], series[:_HINTED]),
                path=path,
            )
        if len(set(keys)) < len(keys):
            twice = next(key for key, count in Counter(keys).items() if count > 1)
            raise DataError("stock_twice", f"the stock of {twice!r} is told twice", hint="give one row each", path=path)
        rows = np.array([place[key] for key in keys], dtype=np.int64)
        found = np.zeros((2, len(series)))
        notes = []
        for number, name in enumerate((STOCK, ON_ORDER)):
            if name in table.columns:
                found[number, rows] = _numbers(table[name], path)
        if len(keys) < len(series):
            notes.append(f"{len(series) - len(keys)} series have no row in the stock and count as none in stock")
        if (found < 0).any():
            notes.append(f"{int((found < 0).any(axis=0).sum())} series have a stock below zero, which counts as none")
        found = np.maximum(found, 0.0)
        return cls(found[0], found[1], tuple(notes))


def _texts(column: pl.Series) -> list[str]:
    """Cells as the names of series: whole numbers lose the point that empty cells gave them."""
    if column.dtype.is_float():
        return [f"{value:g}" if value is not None and value.is_integer() else str(value) for value in column.to_list()]
    return [str(value) for value in column.to_list()]


def _numbers(column: pl.Series, path: str) -> NDArray[np.float64]:
    """Numbers; an empty cell is zero."""
    given = column.cast(pl.String).str.strip_chars().replace("", None)
    numbers = given.cast(pl.Float64, strict=False)
    wrong = given.is_not_null() & ~numbers.is_finite().fill_null(value=False)
    if wrong.any():
        shown = given.filter(wrong)[0]
        raise DataError(
            "stock_value", f"{shown!r} is no number of units", hint="give numbers, or leave the cell empty", path=path
        )
    return numbers.fill_null(0.0).to_numpy()
