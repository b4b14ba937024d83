"""A source's rows by month, of which the last of each key counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from everloop.data.contract import split_duplicates
from everloop.data.spans import Part, Parts
from everloop.data.stack import MonthSpill
from everloop.data.table_columns import Columns

__all__ = ["UniqueMonths"]


class UniqueMonths:
    """Rows by month with unique keys."""

    def __init__(self, spill: MonthSpill, columns: Columns) -> None:
        self._spill = spill
        self._columns = columns

    def __iter__(self) -> Iterator[tuple[str, Parts]]:
        for month, parts in self._spill:
            yield month, _Unique(parts, self._columns)

    def contradictions(self) -> Iterator[pl.DataFrame]:
        """The rows that a later one of the same key contradicts."""
        for _, parts in self._spill:
            for part in parts:
                contradicted = split_duplicates(part.rows, self._columns)[1]
                if contradicted.height:
                    yield contradicted


@dataclass(frozen=True, slots=True)
class _Unique:
    """The parts of a month with unique keys."""

    parts: Parts
    columns: Columns

    def __iter__(self) -> Iterator[Part]:
        for part in self.parts:
            yield Part(part.span, split_duplicates(part.rows, self.columns)[0])
