"""Laying rows out as a panel, in two readings: the first finds where each series begins, the second fills the arrays.

A panel of any size so takes little more memory than its own arrays and one batch of rows.
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

_INDEX, _PLACE = "_index", "_place"
_CELLS_AT_ONCE = 4_000_000
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


class PanelReader:
    """Takes in batches of rows and lays them out as a panel.

    First :meth:`note` sees every batch of the observations, then :meth:`take` sees them again in the same order, then
    :meth:`take_ahead` those of the second source. Of rows after the cutoff nothing is taken but known-ahead values up
    to the horizon.
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
        self.first = pl.DataFrame(schema={**dict.fromkeys(columns.series, pl.String), _INDEX: pl.Int32})
        self.codes: dict[str, _Codes] = {}
        self.layout: _Layout | None = None

    @property
    def noted(self) -> list[str]:
        """The columns that the first reading needs."""
        return [*self.columns.key, self.settings.target]

    def note(self, rows: pl.DataFrame) -> None:
        """See a batch of observations for the first time: which series have targets, and since when."""
        rows, index = self._within(rows)
        names = list(self.columns.series)
        indexed = rows.select(*names, self.settings.target, pl.Series(_INDEX, index, dtype=pl.Int32))
        has_target = pl.col(self.settings.target).cast(pl.Float32).is_finite() & (pl.col(_INDEX) <= self.cutoff)
        found = indexed.filter(has_target).group_by(names).agg(pl.col(_INDEX).min())
        self.first = pl.concat([self.first, found]).group_by(names).agg(pl.col(_INDEX).min())

    def take(self, rows: pl.DataFrame) -> None:
        """Take in a batch of observations."""
        self._take(*self._within(rows), is_ahead=False)

    def take_ahead(self, rows: pl.DataFrame) -> None:
        """Take in known-ahead values of the second source."""
        self._take(*self._within(rows), is_ahead=True)

    def panel(self) -> Panel:
        """The panel of what was taken in; see :class:`Panel`.

        Raises:
            DataError: no series has a target by the cutoff.
        """
        layout = self._laid_out()
        categories = {}
        for name, codes in self.codes.items():
            categories[name], final = codes.in_order()
            for values in (layout.columns.get(name), layout.ahead.get(name), layout.static.get(name)):
                if values is not None:
                    _recode(values, final)
        return Panel(
            frequency=self.frequency,
            series_columns=tuple(self.columns.series),
            keys=layout.keys,
            cutoff=self.cutoff,
            offsets=layout.offsets,
            y=layout.y,
            known={name: layout.columns[name] for name in self.known},
            observed={name: layout.columns[name] for name in self.moving if name not in self.known},
            static=layout.static,
            categories=categories,
            future=Future(self.horizon if self.known else 0, layout.ahead),
            closed_weekdays=frozenset(WEEKDAYS.index(day) for day in self.settings.closed_weekdays),
        )

    def _take(self, rows: pl.DataFrame, index: NDArray[np.int32], *, is_ahead: bool) -> None:
        if not rows.height:
            return
        layout = self._laid_out()
        place = layout.places(rows)
        is_past = index <= self.cutoff
        inside = (place >= 0) & is_past
        past = place[inside]
        begun = index[inside] >= layout.first[past]
        cells = layout.base[past[begun]] + index[inside][begun]
        inside_begun = np.flatnonzero(inside)[begun]
        after = np.flatnonzero((place >= 0) & ~is_past)
        ahead = (place[after], index[after] - self.cutoff - 1)
        if not is_ahead:
            layout.y[cells] = _floats(rows[self.settings.target])[inside_begun]
        for name in self.known if is_ahead else self.moving:
            values = self._encode(name, rows[name] if name in layout.ahead else _until(rows[name], is_past))
            # the second source fills in what the first one leaves open, and for times to come it is the newer one
            _fill(layout.columns[name], cells, values[inside_begun], is_newer=not is_ahead)
            if name in layout.ahead:
                _fill(layout.ahead[name], ahead, values[after], is_newer=True)
        if is_ahead or not is_past.any():
            return
        for name, kept in layout.static.items():
            # the latest known value counts; rows come in the order of time
            _fill(kept, past, self._encode(name, _until(rows[name], is_past))[inside], is_newer=True)

    def _within(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.int32]]:
        """The rows between the beginning and the horizon, and their grid indices."""
        index = self.frequency.index(rows[self.settings.time].to_numpy().astype("M8[us]")).astype(np.int32)
        keep = index <= self.cutoff + self.horizon
        if self.begin is not None:
            keep &= index >= self.begin
        return (rows, index) if keep.all() else (rows.filter(pl.Series(keep)), index[keep])

    def _encode(self, name: str, column: pl.Series) -> Floats:
        if column.dtype == pl.String:
            return self.codes.setdefault(name, _Codes()).encode(column)
        return _floats(column)

    def _laid_out(self) -> _Layout:
        if self.layout is None:
            if not self.first.height:
                day = self.frequency.label(self.frequency.times(np.array([self.cutoff]))[0])
                raise DataError("no_history", f"no series has a target by {day}", hint="is the cutoff before the data?")
            self.layout = _Layout.of(self)
        return self.layout


@dataclass(frozen=True, slots=True)
class _Layout:
    """The panel's arrays, filled batch by batch; ``base[i] + index`` is a cell of series ``i``."""

    order: pl.DataFrame
    keys: tuple[tuple[str, ...], ...]
    first: NDArray[np.int32]
    offsets: Ints
    base: Ints
    y: Floats
    columns: dict[str, Floats]
    ahead: dict[str, Floats]
    static: dict[str, Floats]

    @classmethod
    def of(cls, reader: PanelReader) -> _Layout:
        """Empty arrays for the series that the reader noted, in sorted order."""
        names = list(reader.columns.series)
        ordered = reader.first.sort(names)
        first = ordered[_INDEX].to_numpy()
        n = ordered.height
        offsets = np.concatenate([[0], np.cumsum(reader.cutoff - first.astype(np.int64) + 1)]).astype(np.int64)
        return cls(
            order=ordered.select(*names, pl.Series(_PLACE, np.arange(n), dtype=pl.Int64)),
            keys=tuple(ordered.select(names).iter_rows()),
            first=first,
            offsets=offsets,
            base=offsets[:-1] - first,
            y=_unknown(offsets[-1]),
            columns={name: _unknown(offsets[-1]) for name in reader.moving},
            ahead={name: _unknown((n, reader.horizon)) for name in reader.known},
            static={name: _unknown(n) for name in reader.settings.static},
        )

    def places(self, rows: pl.DataFrame) -> Ints:
        """The number of each row's series, -1 for one without any target."""
        names = [name for name in self.order.columns if name != _PLACE]
        found = rows.select(names).join(self.order, on=names, how="left", maintain_order="left")
        return found[_PLACE].fill_null(-1).to_numpy()


def _unknown(shape: int | tuple[int, int]) -> Floats:
    return np.full(shape, np.nan, dtype=np.float32)


def _floats(column: pl.Series) -> Floats:
    return np.asarray(column.cast(pl.Float32).fill_null(float("nan")).to_numpy(), dtype=np.float32)


def _until(column: pl.Series, is_past: NDArray[np.bool_]) -> pl.Series:
    """A column without what comes after the cutoff."""
    return column if is_past.all() else column.set(pl.Series(~is_past), None)


def _recode(values: Floats, final: Floats) -> None:
    """Give codes their final numbers, in place and piece by piece."""
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CELLS_AT_ONCE):
        piece = flat[start : start + _CELLS_AT_ONCE]
        is_known = np.isfinite(piece)
        piece[is_known] = final[piece[is_known].astype(np.int64)]


def _fill(target: Floats, place: Any, values: Floats, *, is_newer: bool) -> None:
    """Lay known values out; an older source only where there is none yet."""
    chosen = np.isfinite(values)
    if not is_newer:
        chosen &= np.isnan(target[place])
    if isinstance(place, tuple):
        target[place[0][chosen], place[1][chosen]] = values[chosen]
    else:
        target[place[chosen]] = values[chosen]
