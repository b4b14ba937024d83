"""From the table to what models and monitors see: the panel up to a cutoff, and the truth of a window.

Months are read one after the other and reduced at once to numbers, so that a panel of tens of millions of rows
takes little more memory than its own arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.errors import DataError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.core.settings import DataSettings
from everloop.data import table
from everloop.data.panel import Floats, Future, Ints, Panel, join_key
from everloop.data.table import DatasetVersion
from everloop.data.table_columns import INGESTED_AT, KNOWN_AT, Columns

__all__ = ["load_panel", "truth"]

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def load_panel(
    project: Project, *, version: int | None = None, cutoff: datetime | None = None, history: int = 0, horizon: int
) -> tuple[Panel, DatasetVersion]:
    """The panel of a dataset version.

    Args:
        project: the project.
        version: the version's number; the newest by default.
        cutoff: the last instant that may be known; by default the last with any target. Nothing after it enters
            but known-ahead values.
        history: how many periods up to the cutoff are read; 0 means all.
        horizon: how many periods of known-ahead values are wanted.

    Raises:
        DataError: there are no data, or none by the cutoff, or known-ahead values are missing where the settings
            say that this is an error.
    """
    settings = project.settings.data
    dataset = table.head(project.table, version)
    if dataset is None:
        raise DataError("no_data", "there are no data yet", hint="bring some: everloop ingest")
    columns = Columns.of_observations(settings)
    start = table.earliest(project.table, settings.time)
    frequency = Frequency.parse(settings.frequency)
    if start is not None:
        frequency = frequency.anchored_for(start)
    end = frequency.index_of(cutoff) if cutoff is not None else _last_index(project, dataset, frequency)
    begin = end - history + 1 if history else None
    reader = _Reader(settings, columns, frequency)
    first = "" if begin is None else str(frequency.times(np.array([begin]))[0])[:7]
    for _, rows in table.read_periods(project.table, version=dataset.version, columns=columns.all, first=first):
        reader.take(rows)
    if table.head(project.future_table) is not None:
        ahead = Columns.of_future(settings)
        for _, rows in table.read_periods(project.future_table, columns=ahead.all, first=first):
            reader.take_ahead(rows.drop_nulls(settings.time))
    panel = reader.panel(end, begin, horizon)
    if settings.missing_ahead == "error":
        _refuse_missing(panel, horizon)
    return panel, dataset


def truth(project: Project, *, since: datetime, version: int | None = None) -> pl.DataFrame:
    """The known targets of instants at or after ``since``.

    Returns:
        A frame of ``series`` (text), ``time``, ``actual``, ``ingested_at`` (last changed) and ``known_at`` (first
        known), each instant in microseconds without a zone.
    """
    settings = project.settings.data
    empty = pl.DataFrame(
        schema={
            "series": pl.String,
            "time": pl.Datetime("us"),
            "actual": pl.Float64,
            "ingested_at": pl.Datetime("us"),
            "known_at": pl.Datetime("us"),
        }
    )
    if table.head(project.table, version) is None:
        return empty
    start = since.astimezone(UTC).replace(tzinfo=None)
    names = [*settings.series, settings.time, settings.target, INGESTED_AT, KNOWN_AT]
    parts = [empty]
    for _, rows in table.read_periods(project.table, version=version, columns=names, first=f"{start:%Y-%m}"):
        known = rows.filter((pl.col(settings.time) >= start) & pl.col(settings.target).is_not_null())
        parts.append(
            known.select(
                _key_text(settings.series).alias("series"),
                pl.col(settings.time).alias("time"),
                pl.col(settings.target).alias("actual"),
                pl.col(INGESTED_AT).alias("ingested_at"),
                pl.col(KNOWN_AT).alias("known_at"),
            )
        )
    return pl.concat(parts)


def _key_text(series: list[str]) -> pl.Expr:
    """What :func:`everloop.data.panel.join_key` gives, for a whole column."""
    escaped = [
        pl.col(name).str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F", literal=True)
        for name in series
    ]
    return pl.concat_str(escaped, separator="/")


def _last_index(project: Project, dataset: DatasetVersion, frequency: Frequency) -> int:
    """The grid index of the last known target."""
    settings = project.settings.data
    latest = table.last_known(project.table, settings.time, settings.target, version=dataset.version)
    if latest is None:
        raise DataError("no_target", f"no row has a {settings.target!r} yet", hint="is data.target the right column?")
    return frequency.index_of(latest)


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


class _Reader:
    """Takes in months of rows and lays them out as a panel."""

    def __init__(self, settings: DataSettings, columns: Columns, frequency: Frequency) -> None:
        self.settings = settings
        self.columns = columns
        self.frequency = frequency
        self.moving = [name for name in columns.others if name not in settings.static]
        self.keys = pl.DataFrame(schema={**dict.fromkeys(columns.series, pl.String), "_id": pl.UInt32})
        self.ids: list[NDArray[np.uint32]] = []
        self.index: list[NDArray[np.int32]] = []
        self.y: list[Floats] = []
        self.values: dict[str, list[Floats]] = {name: [] for name in self.moving}
        self.codes: dict[str, _Codes] = {}
        self.static: dict[str, dict[int, float]] = {name: {} for name in settings.static}

    def take(self, rows: pl.DataFrame) -> None:
        """Take in a month of observations."""
        if not rows.height:
            return
        ids = self._identify(rows)
        self._append(rows, ids, rows[self.settings.target].cast(pl.Float32).fill_null(float("nan")).to_numpy())
        for name in self.settings.static:
            encoded = self._encode(name, rows[name])
            latest = pl.DataFrame({"id": ids, "value": encoded}).filter(pl.col("value").is_not_nan())
            self.static[name].update(latest.group_by("id", maintain_order=True).last().iter_rows())

    def take_ahead(self, rows: pl.DataFrame) -> None:
        """Take in known-ahead values of the second source."""
        present = rows.join(self.keys, on=list(self.columns.series), how="semi")
        if present.height:
            missing = [pl.lit(None).cast(pl.Float64).alias(name) for name in self.moving if name not in present.columns]
            full = present.with_columns(missing)
            ids = self._identify(full)
            self._append(full, ids, np.full(full.height, np.nan, dtype=np.float32))

    def _append(self, rows: pl.DataFrame, ids: NDArray[np.uint32], y: Floats) -> None:
        times = rows[self.settings.time].to_numpy().astype("M8[us]")
        self.ids.append(ids)
        self.index.append(self.frequency.index(times).astype(np.int32))
        self.y.append(y.astype(np.float32))
        for name in self.moving:
            self.values[name].append(self._encode(name, rows[name]))

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

    def _encode(self, name: str, column: pl.Series) -> Floats:
        if column.dtype == pl.String:
            return self.codes.setdefault(name, _Codes()).encode(column)
        return column.cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32)

    def panel(self, cutoff: int, begin: int | None, horizon: int) -> Panel:
        """The panel up to a cutoff; see :class:`Panel`."""
        ids = np.concatenate(self.ids) if self.ids else np.zeros(0, dtype=np.uint32)
        index = np.concatenate(self.index) if self.index else np.zeros(0, dtype=np.int32)
        y = np.concatenate(self.y) if self.y else np.zeros(0, dtype=np.float32)
        self.ids, self.index, self.y = [], [], []
        is_past = index <= cutoff
        if begin is not None:
            is_past &= index >= begin
        first = np.full(self.keys.height, np.iinfo(np.int32).max, dtype=np.int32)
        observed = is_past & np.isfinite(y)
        np.minimum.at(first, ids[observed], index[observed])
        has_any = first <= cutoff
        if not has_any.any():
            day = self.frequency.label(self.frequency.times(np.array([cutoff]))[0])
            raise DataError("no_history", f"no series has a target by {day}", hint="is the cutoff before the data?")
        rank, keys = self._order(has_any)
        lengths = np.zeros(len(keys), dtype=np.int64)
        lengths[rank[has_any]] = cutoff - first[has_any] + 1
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        in_panel = is_past & has_any[ids]
        in_panel &= index >= np.where(has_any, first, 0)[ids]
        place = offsets[rank[ids[in_panel]]] + (index[in_panel] - first[ids[in_panel]])
        ahead = (index > cutoff) & (index <= cutoff + horizon) & has_any[ids]
        ahead_place = (rank[ids[ahead]], index[ahead] - cutoff - 1)
        known, past, columns, categories = {}, {}, {}, {}
        for name in self.moving:
            values = np.concatenate(self.values.pop(name))
            if name in self.codes:
                categories[name], final = self.codes[name].in_order()
                values = _recode(values, final)
            laid_out = np.full(offsets[-1], np.nan, dtype=np.float32)
            laid_out[place] = values[in_panel]
            if name not in self.settings.known_ahead:
                past[name] = laid_out
                continue
            known[name] = laid_out
            block = np.full((len(keys), horizon), np.nan, dtype=np.float32)
            _place_known(block, ahead_place, values[ahead])
            columns[name] = block
        target = np.full(offsets[-1], np.nan, dtype=np.float32)
        target[place] = y[in_panel]
        static = self._static(rank, has_any, len(keys), categories)
        return Panel(
            frequency=self.frequency,
            series_columns=tuple(self.columns.series),
            keys=keys,
            cutoff=cutoff,
            offsets=offsets,
            y=target,
            known=known,
            observed=past,
            static=static,
            categories=categories,
            future=Future(horizon if columns else 0, columns),
            closed_weekdays=frozenset(WEEKDAYS.index(day) for day in self.settings.closed_weekdays),
        )

    def _order(self, has_any: NDArray[np.bool_]) -> tuple[Ints, tuple[tuple[str, ...], ...]]:
        """Each series' place among the sorted keys of those that have data, and these keys."""
        kept = self.keys.filter(pl.Series(has_any))
        ordered = sorted(kept.iter_rows(), key=lambda row: row[:-1])
        rank = np.full(self.keys.height, -1, dtype=np.int64)
        rank[[row[-1] for row in ordered]] = np.arange(len(ordered))
        return rank, tuple(tuple(row[:-1]) for row in ordered)

    def _static(
        self, rank: Ints, has_any: NDArray[np.bool_], n: int, categories: dict[str, tuple[str, ...]]
    ) -> dict[str, Floats]:
        made = {}
        for name, values in self.static.items():
            column = np.full(n, np.nan, dtype=np.float32)
            kept = [(rank[series], value) for series, value in values.items() if has_any[series]]
            if kept:
                places, known = zip(*kept, strict=True)
                column[list(places)] = known
            if name in self.codes:
                categories[name], final = self.codes[name].in_order()
                column = _recode(column, final)
            made[name] = column
        return made


def _recode(values: Floats, final: Floats) -> Floats:
    coded = np.full(values.shape, np.nan, dtype=np.float32)
    known = np.isfinite(values)
    coded[known] = final[values[known].astype(np.int64)]
    return coded


def _place_known(block: Floats, place: tuple[Ints, NDArray[np.int32]], values: Floats) -> None:
    """Lay values out where they are known; of two sources the later one's known value stays."""
    known = np.isfinite(values)
    block[place[0][known], place[1][known]] = values[known]


def _refuse_missing(panel: Panel, horizon: int) -> None:
    for name, block in panel.future.columns.items():
        missing = np.isnan(block[:, :horizon])
        if missing.any():
            series, step = (int(each[0]) for each in np.nonzero(missing))
            day = panel.frequency.label(panel.ahead(step + 1)[step])
            raise DataError(
                "known_ahead_missing",
                f"{name!r} of series {join_key(panel.keys[series])!r} is not known for {day}",
                hint="add it to the source or to data.future_source, or set data.missing_ahead = 'last'",
                path=f"data.known_ahead.{name}",
            )
