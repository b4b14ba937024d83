"""Laying rows out as a panel: months are taken in one by one and reduced to numbers at once.

A panel of tens of millions of rows so takes little more memory than its own arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.errors import DataError
from everloop.core.frequency import Frequency
from everloop.core.settings.project import DataSettings
from everloop.data.panel import Floats, Future, Ints, Panel
from everloop.data.table_columns import Columns

__all__ = ["PanelReader"]

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(slots=True)
class _Codes:
    """Texts met so far and their numbers."""

    numbers: dict[str, int] = field(default_factory=dict)

    def encode(self, column: pl.Series) -> Floats:
        labels = column.unique().drop_nulls().to_list()
        for label in labels:
            self.numbers.setdefault(label, len(self.numbers))
        if not labels:
            return np.full(len(column), np.nan, dtype=np.float32)
        codes = column.replace_strict(
            labels, [self.numbers[label] for label in labels], default=None, return_dtype=pl.Float32
        )
        return codes.to_numpy().astype(np.float32)

    def in_order(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        """The labels in sorted order, and the final code of each number."""
        labels = sorted(self.numbers)
        final = np.empty(len(labels), dtype=np.float32)
        for place, label in enumerate(labels):
            final[self.numbers[label]] = place
        return tuple(labels), final


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A month of rows as numbers: the series, the grid index, the target, and the other columns that change."""

    ids: NDArray[np.uint32]
    index: NDArray[np.int32]
    y: Floats | None
    values: dict[str, Floats]


class PanelReader:
    """Takes in months of rows and lays them out as a panel.

    Of rows after the cutoff nothing is taken but known-ahead values up to the horizon.
    """

    def __init__(
        self,
        settings: DataSettings,
        columns: Columns,
        frequency: Frequency,
        *,
        begin: int | None,
        cutoff: int,
        horizon: int,
    ) -> None:
        self.settings = settings
        self.columns = columns
        self.frequency = frequency
        self.begin = begin
        self.cutoff = cutoff
        self.horizon = horizon
        self.moving = [name for name in columns.others if name not in settings.static]
        self.known = [name for name in self.moving if name in settings.known_ahead]
        self.keys = pl.DataFrame(schema={**dict.fromkeys(columns.series, pl.String), "_id": pl.UInt32})
        self.chunks: list[_Chunk] = []
        self.codes: dict[str, _Codes] = {}
        self.static: dict[str, Floats] = {name: np.zeros(0, dtype=np.float32) for name in settings.static}

    def take(self, rows: pl.DataFrame) -> None:
        """Take in a month of observations."""
        rows, index = self._within(rows)
        past = index <= self.cutoff
        early = rows.filter(pl.Series(past))
        ahead = rows.filter(pl.Series(~past)) if not past.all() else rows.clear()
        if early.height:
            ids = self._identify(early)
            values = {name: self._encode(name, early[name]) for name in self.moving}
            self.chunks.append(_Chunk(ids, index[past], _floats(early[self.settings.target]), values))
            for name in self.settings.static:
                self._remember(name, ids, self._encode(name, early[name]))
        self._take_known(ahead, index[~past])

    def take_ahead(self, rows: pl.DataFrame) -> None:
        """Take in known-ahead values of the second source."""
        self._take_known(*self._within(rows))

    def _within(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.int32]]:
        """The rows between the beginning and the horizon, and their grid indices."""
        index = self.frequency.index(rows[self.settings.time].to_numpy().astype("M8[us]")).astype(np.int32)
        keep = index <= self.cutoff + self.horizon
        if self.begin is not None:
            keep &= index >= self.begin
        return (rows, index) if keep.all() else (rows.filter(pl.Series(keep)), index[keep])

    def _take_known(self, rows: pl.DataFrame, index: NDArray[np.int32]) -> None:
        if self.known and rows.height:
            values = {name: self._encode(name, rows[name]) for name in self.known}
            self.chunks.append(_Chunk(self._identify(rows), index, None, values))

    def _identify(self, rows: pl.DataFrame) -> NDArray[np.uint32]:
        names = list(self.columns.series)
        fresh = (
            rows.select(names).unique(maintain_order=True).join(self.keys, on=names, how="anti", maintain_order="left")
        )
        if fresh.height:
            numbers = pl.Series("_id", np.arange(self.keys.height, self.keys.height + fresh.height), dtype=pl.UInt32)
            self.keys = pl.concat([self.keys, fresh.with_columns(numbers)])
        found = rows.select(names).join(self.keys, on=names, how="left", maintain_order="left")
        return found["_id"].to_numpy()

    def _remember(self, name: str, ids: NDArray[np.uint32], values: Floats) -> None:
        """Keep the latest known value of each series; rows come in the order of time."""
        old = self.static[name]
        if len(old) < self.keys.height:
            self.static[name] = np.full(self.keys.height, np.nan, dtype=np.float32)
            self.static[name][: len(old)] = old
        is_known = ~np.isnan(values)
        self.static[name][ids[is_known]] = values[is_known]

    def _encode(self, name: str, column: pl.Series) -> Floats:
        if column.dtype == pl.String:
            return self.codes.setdefault(name, _Codes()).encode(column)
        return _floats(column)

    def panel(self) -> Panel:
        """The panel of what was taken in; see :class:`Panel`."""
        first = np.full(self.keys.height, np.iinfo(np.int32).max, dtype=np.int32)
        for chunk in self.chunks:
            if chunk.y is not None:
                is_known = np.isfinite(chunk.y)
                np.minimum.at(first, chunk.ids[is_known], chunk.index[is_known])
        has_any = first <= self.cutoff
        if not has_any.any():
            day = self.frequency.label(self.frequency.times(np.array([self.cutoff]))[0])
            raise DataError("no_history", f"no series has a target by {day}", hint="is the cutoff before the data?")
        rank, keys = self._order(has_any)
        lengths = np.zeros(len(keys), dtype=np.int64)
        lengths[rank[has_any]] = self.cutoff - first[has_any] + 1
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        final = {name: codes.in_order() for name, codes in self.codes.items()}
        y, columns, ahead = self._lay_out(first, offsets, rank, {name: each[1] for name, each in final.items()})
        kept = self.keys["_id"].to_numpy()[has_any]
        static = {}
        for name, values in self.static.items():
            static[name] = np.full(len(keys), np.nan, dtype=np.float32)
            static[name][rank[kept]] = _recode(values[kept], final[name][1]) if name in final else values[kept]
        return Panel(
            frequency=self.frequency,
            series_columns=tuple(self.columns.series),
            keys=keys,
            cutoff=self.cutoff,
            offsets=offsets,
            y=y,
            known={name: columns[name] for name in self.known},
            observed={name: columns[name] for name in self.moving if name not in self.known},
            static=static,
            categories={name: labels for name, (labels, _) in final.items()},
            future=Future(self.horizon if self.known else 0, ahead),
            closed_weekdays=frozenset(WEEKDAYS.index(day) for day in self.settings.closed_weekdays),
        )

    def _lay_out(
        self, first: NDArray[np.int32], offsets: Ints, rank: Ints, final: dict[str, Floats]
    ) -> tuple[Floats, dict[str, Floats], dict[str, Floats]]:
        """The target, the columns beside it, and the known-ahead blocks; the chunks are used up."""
        y = np.full(offsets[-1], np.nan, dtype=np.float32)
        columns = {name: np.full(offsets[-1], np.nan, dtype=np.float32) for name in self.moving}
        shape = (len(offsets) - 1, self.horizon)
        ahead = {name: np.full(shape, np.nan, dtype=np.float32) for name in self.known}
        base = np.where(rank >= 0, offsets[rank] - first, 0)
        self.chunks.reverse()
        while self.chunks:
            chunk = self.chunks.pop()
            inside = (chunk.index <= self.cutoff) & (chunk.index >= first[chunk.ids])
            place = base[chunk.ids[inside]] + chunk.index[inside]
            after = (chunk.index > self.cutoff) & (rank[chunk.ids] >= 0)
            cell = (rank[chunk.ids[after]], chunk.index[after] - self.cutoff - 1)
            if chunk.y is not None:
                y[place] = chunk.y[inside]
            for name, coded in chunk.values.items():
                values = _recode(coded, final[name]) if name in final else coded
                # the second source fills in what the first one leaves open, and for times to come it is the newer one
                _fill(columns[name], place, values[inside], is_newer=chunk.y is not None)
                if name in ahead:
                    _fill(ahead[name], cell, values[after], is_newer=True)
        return y, columns, ahead

    def _order(self, has_any: NDArray[np.bool_]) -> tuple[Ints, tuple[tuple[str, ...], ...]]:
        """Each series' place among the sorted keys of those that have data, and these keys."""
        kept = self.keys.filter(pl.Series(has_any))
        ordered = sorted(kept.iter_rows(), key=lambda row: row[:-1])
        rank = np.full(self.keys.height, -1, dtype=np.int64)
        rank[[row[-1] for row in ordered]] = np.arange(len(ordered))
        return rank, tuple(tuple(row[:-1]) for row in ordered)


def _floats(column: pl.Series) -> Floats:
    return np.asarray(column.cast(pl.Float32).fill_null(float("nan")).to_numpy(), dtype=np.float32)


def _recode(values: Floats, final: Floats) -> Floats:
    coded = np.full(values.shape, np.nan, dtype=np.float32)
    known = np.isfinite(values)
    coded[known] = final[values[known].astype(np.int64)]
    return coded


def _fill(target: Floats, place: Any, values: Floats, *, is_newer: bool) -> None:
    """Lay known values out; an older source only where there is none yet."""
    chosen = np.isfinite(values)
    if not is_newer:
        chosen &= np.isnan(target[place])
    if isinstance(place, tuple):
        target[place[0][chosen], place[1][chosen]] = values[chosen]
    else:
        target[place[chosen]] = values[chosen]
