"""What a person plans to launch, from a table: series that are in no data yet, and what is known of their days ahead.

A row describes a series by its own and all static columns; empty cells stand for what is not known. Known-ahead columns
are a series' own for all steps, or, where the table has the time's column, for the period that the row is of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.errors import DataError, NotFoundError, nearest
from everloop.data.conforming import read_number, read_text, read_time
from everloop.data.panel import Panel, join_key
from everloop.data.sources import read_file
from everloop.serve.served import Served

__all__ = ["LaunchPlan", "read_plan"]

Ints = NDArray[np.int64]
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_HINTED = 5000


def read_plan(file: Path) -> pl.DataFrame:
    """The rows of a CSV or Parquet file, read as data are: the cells of a CSV stay texts.

    Raises:
        NotFoundError: there is no such file.
        DataError: it is neither, or cannot be read.
    """
    if not file.is_file():
        raise NotFoundError("file_missing", f"there is no file {file}", hint="check the path", path=str(file))
    parts = list(read_file(file))
    return pl.concat(parts) if parts else pl.DataFrame()


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """New series as a question asks for them.

    Attributes:
        series: for each its own columns, ``"static"`` and ``"future"``, as
            :class:`~everloop.serve.query.ForecastQuery` takes them, in the order of their keys, so that neither the
            order of the rows nor the format of the file matters.
        notes: what of the table does nothing, or is not there.
    """

    series: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: pl.DataFrame, served: Served, *, time: str, horizon: int, path: str) -> LaunchPlan:
        """The plan in a table.

        Args:
            table: the rows; texts where the file has no types.
            served: the release that is asked; its panel tells which columns there are, and which texts a column has.
            time: the name of the time's column.
            horizon: how many steps are asked.
            path: the table's, for errors.

        Raises:
            DataError: a column is missing or unknown, a series is known, told twice or told in two ways, or a value or
                date cannot be.
        """
        return _Reader(table, served, time, horizon, path).plan()


@dataclass(frozen=True, slots=True)
class _Reader:
    table: pl.DataFrame
    served: Served
    time: str
    horizon: int
    path: str

    @property
    def panel(self) -> Panel:
        return self.served.panel

    def plan(self) -> LaunchPlan:
        self._check_columns()
        keys = self._keys()
        rows: dict[tuple[str, ...], list[int]] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        self._check_new(list(rows))
        steps = self._steps() if self.time in self.table.columns else None
        self._check_once(rows, steps)
        static = {name: self._values(name, "static_value") for name in self.panel.static}
        known = {name: self._values(name, "future_value") for name in self.panel.known if name in self.table.columns}
        # a column without any value is as if it were not there
        known = {name: values for name, values in known.items() if any(value is not None for value in values)}
        series = []
        for key in sorted(rows):
            own = rows[key]
            told = {name: self._one(name, values, own, key) for name, values in static.items()}
            future = {name: self._ahead(values, own, key, steps) for name, values in known.items()}
            named = dict(zip(self.panel.series_columns, key, strict=True))
            series.append({**named, "static": told, "future": future})
        return LaunchPlan(tuple(series), self._notes(rows, steps) if steps is not None else ())

    def _check_columns(self) -> None:
        panel, columns = self.panel, self.table.columns
        needed = (*panel.series_columns, *panel.static)
        for name in needed:
            if name not in columns:
                found = nearest(name, columns) if columns else "the file is empty"
                why = "; leave its cells empty where it is not known" if name in panel.static else ""
                raise DataError(
                    "column_missing", f"{self.path} has no column {name!r}", hint=f"{found}{why}", path=self.path
                )
        known = list(dict.fromkeys((*needed, self.time, *panel.known)))
        for name in columns:
            if name not in known:
                raise DataError(
                    "launch_column",
                    f"{self.path} has a column {name!r}, which tells nothing of a series that is new",
                    hint=f"{nearest(name, known)}; leave out what is none of them",
                    path=self.path,
                )
        if not self.table.height:
            raise DataError(
                "launch_empty", f"{self.path} has no rows", hint="give a row for each new series", path=self.path
            )

    def _keys(self) -> list[tuple[str, ...]]:
        columns = [read_text(self.table[name]) for name in self.panel.series_columns]
        for column in columns:
            if column.null_count():
                row = int(column.is_null().arg_max() or 0)
                raise DataError(
                    "launch_series",
                    f"row {row + 1} of {self.path} has no {column.name!r}",
                    hint=f"a series is named by {', '.join(self.panel.series_columns)}",
                    path=self.path,
                )
        return list(zip(*(column.to_list() for column in columns), strict=True))

    def _check_new(self, keys: Sequence[tuple[str, ...]]) -> None:
        known = [key for key in keys if join_key(key) in self.served.positions]
        if known:
            told = "is no new series" if len(known) == 1 else f"and {len(known) - 1} more are no new series"
            raise DataError(
                "launch_known",
                f"{join_key(known[0])!r} {told}: the model knows it from the data",
                hint="leave it out; it is forecast with the others",
                path=self.path,
            )

    def _check_once(self, rows: Mapping[tuple[str, ...], list[int]], steps: Ints | None) -> None:
        """Raise where two rows tell the same, or no row of a series tells anything."""
        where, hint = "", f"give one row each; for values by date, add the column {self.time!r}"
        if steps is not None:
            where, hint = " for one period", f"give one row for each series and period of {self.panel.frequency.text}"
        for key, own in rows.items():
            told = Counter([0] * len(own) if steps is None else steps[own].tolist())
            step, count = told.most_common(1)[0]
            if count > 1:
                at = [row + 1 for row in own if steps is None or steps[row] == step]
                raise DataError(
                    "launch_twice",
                    f"{join_key(key)!r} is in rows {at[0]} and {at[1]} of {self.path}{where}",
                    hint=hint,
                    path=self.path,
                )
            if steps is not None and not self._is_ahead(steps[own]).any():
                raise DataError(
                    "launch_dates",
                    f"no row of {join_key(key)!r} in {self.path} is of a date that is forecast",
                    hint=f"the forecast goes from {self.served.labels[0]} to {self.served.labels[self.horizon - 1]}",
                    path=self.path,
                )

    def _is_ahead(self, steps: Ints) -> NDArray[np.bool_]:
        return (steps >= 0) & (steps < self.horizon)

    def _steps(self) -> Ints:
        """The step of the forecast that each row is of; less than 0 or past the last one for other dates."""
        raw = self.table[self.time]
        times = read_time(raw)
        if times.null_count():
            row = int(times.is_null().arg_max() or 0)
            raise DataError(
                "launch_time",
                f"row {row + 1} of {self.path} has {raw[row]!r} in {self.time!r}, which is no date",
                hint=f"write it as {self.served.labels[0]}; without the column a row is of all dates",
                path=self.path,
            )
        panel = self.panel
        return panel.frequency.index(times.to_numpy()) - panel.cutoff - 1

    def _values(self, name: str, code: str) -> list[Any]:
        """A column's values: numbers or known texts, ``None`` for empty cells."""
        raw = self.table[name]
        texts = self.panel.categories.get(name)
        if texts is not None:
            read = read_text(raw)
            unknown = sorted(set(read.drop_nulls().unique().to_list()) - set(texts))
            if unknown:
                raise DataError(
                    code,
                    f"{self.path} has {unknown[0][:60]!r} in {name!r}, which no series of the data has",
                    hint=f"{nearest(unknown[0][:60], texts[:_HINTED])}; leave the cell empty if it is not known",
                    path=self.path,
                )
            return read.to_list()
        read = read_number(raw)
        blank = pl.Series([str(value).strip() in ("", "None", "nan") for value in raw.to_list()], dtype=pl.Boolean)
        wrong = (read.is_null() & ~blank) | (read.abs() > _FLOAT32_MAX).fill_null(value=False)
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            raise DataError(
                code,
                f"row {row + 1} of {self.path} has {raw[row]!r:.60} in {name!r}, which is no number",
                hint="give a number, or leave the cell empty if it is not known",
                path=self.path,
            )
        return read.to_list()

    def _one(self, name: str, values: Sequence[Any], rows: Sequence[int], key: tuple[str, ...]) -> Any:
        first = values[rows[0]]
        for row in rows:
            if values[row] != first:
                raise DataError(
                    "launch_static",
                    f"{name!r} of {join_key(key)!r} is {first!r} in row {rows[0] + 1} of {self.path} and "
                    f"{values[row]!r} in row {row + 1}",
                    hint="a static column has one value; repeat it in each row of the series",
                    path=self.path,
                )
        return first

    def _ahead(self, values: Sequence[Any], rows: Sequence[int], key: tuple[str, ...], steps: Ints | None) -> list[Any]:
        """A series' values of all steps, ``None`` where none is told."""
        if steps is None:
            return [values[rows[0]]] * self.horizon
        ahead: list[Any] = [None] * self.horizon
        for row in rows:
            if 0 <= steps[row] < self.horizon:
                ahead[steps[row]] = values[row]
        return ahead

    def _notes(self, rows: Mapping[tuple[str, ...], list[int]], steps: Ints) -> tuple[str, ...]:
        """Which rows do nothing, and which are not there."""
        is_ahead = self._is_ahead(steps)
        others = int((~is_ahead).sum())
        short = sum(int(is_ahead[own].sum()) < self.horizon for own in rows.values())
        notes = []
        if others:
            first, last = self.served.labels[0], self.served.labels[self.horizon - 1]
            are = "row is" if others == 1 else "rows are"
            notes.append(f"{others} {are} left out of {self.path}: the forecast goes from {first} to {last}")
        if short:
            have = "has" if short == 1 else "have"
            notes.append(f"{short} new series {have} no row for some dates, whose known-ahead values count as not told")
        return tuple(notes)
