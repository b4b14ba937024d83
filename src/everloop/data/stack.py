"""Frames that may be more than memory should hold: few stay in memory, many go to disk until they are read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
import pyarrow as pa

from everloop.data.spans import EVERY_SERIES, ROWS_IN_PART, Part, Parts, spans_of
from everloop.data.table_columns import Columns

__all__ = ["FrameStack", "MonthSpill", "bytes_of"]

_BYTES_IN_MEMORY = 256_000_000
_ROWS_AT_ONCE = 131_072
_TEXT_BYTES = 16


def bytes_of(frame: pl.DataFrame) -> int:
    """How many bytes a frame holds in memory, about."""
    texts = sum(kind == pl.String for kind in frame.dtypes)
    # Polars counts what texts say, but not where they lie: 16 bytes for each, more than most names have
    return int(frame.estimated_size()) + _TEXT_BYTES * texts * frame.height


class FrameStack:
    """Frames of one schema, pushed one by one and then read as a stream of record batches."""

    def __init__(self, *, bytes_in_memory: int = _BYTES_IN_MEMORY) -> None:
        self._limit = bytes_in_memory
        self._bytes = 0
        self._rows = 0
        self._held: list[pl.DataFrame | Path] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what lies on disk."""
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def size(self) -> int:
        """How many bytes lie in memory."""
        return self._bytes

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._rows

    def push(self, frame: pl.DataFrame) -> None:
        """Add a frame."""
        self._rows += frame.height
        self._held.append(frame)
        self._bytes += bytes_of(frame)
        if self._bytes > self._limit:
            self.put_down()

    def put_down(self) -> None:
        """Move to disk what lies in memory."""
        in_memory = [each for each in self._held if isinstance(each, pl.DataFrame)]
        if not in_memory:
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="everloop-", ignore_cleanup_errors=True)
        on_disk = len(self._held) - len(in_memory)
        path = Path(self._folder.name) / f"{on_disk}.arrow"
        pl.concat(in_memory, rechunk=False).write_ipc(path, compression="lz4")
        self._held[on_disk:] = [path]
        self._bytes = 0

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return self.frames()

    def frames(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The frames in their order, those on disk as one; only some columns where they are named."""
        names = None if columns is None else list(columns)
        for held in self._held:
            if isinstance(held, pl.DataFrame):
                yield held if names is None else held.select(names)
            else:
                yield pl.read_ipc(held, columns=names)

    def _slices(self) -> Iterator[pl.DataFrame]:
        for frame in self:
            yield from frame.iter_slices(_ROWS_AT_ONCE)

    def reader(self) -> pa.RecordBatchReader:
        """All frames as one stream."""
        schema = next(iter(self)).to_arrow().schema
        # string views are not what Delta stores
        plain = pa.schema(
            [
                pa.field(each.name, pa.large_string() if pa.types.is_string_view(each.type) else each.type)
                for each in schema
            ]
        )
        return pa.RecordBatchReader.from_batches(
            plain,
            (
                batch
                for part in self._slices()
                for batch in part.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(plain).to_batches()
            ),
        )


class MonthSpill:
    """Rows taken in by any order and given back month by month, as often as asked.

    A month of many rows comes in parts, each with all rows of some series.

    Args:
        columns: the table's columns.
        bytes_in_memory: what more there is lies on disk.
        rows_in_part: how many rows a part should have at most.
    """

    def __init__(
        self, columns: Columns, *, bytes_in_memory: int = _BYTES_IN_MEMORY, rows_in_part: int = ROWS_IN_PART
    ) -> None:
        self._columns = columns
        self._limit = bytes_in_memory
        self._rows_in_part = rows_in_part
        self._months: dict[str, _Month] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows in."""
        month = rows[self._columns.time].dt.strftime("%Y-%m")
        labelled = rows.with_columns(month.alias("_month"))
        for (name,), part in labelled.partition_by("_month", as_dict=True, include_key=False).items():
            found = self._months.get(str(name))
            if found is None:
                found = self._months[str(name)] = _Month(self._columns.series, self._limit, self._rows_in_part)
            found.push(part)
        # rows of one series may be of every month, so that all months fill up together
        if sum(each.size for each in self._months.values()) > self._limit:
            for each in self._months.values():
                each.put_down()

    def __iter__(self) -> Iterator[tuple[str, Parts]]:
        for name in sorted(self._months):
            yield name, self._months[name]

    def close(self) -> None:
        """Remove what lies on disk."""
        for each in self._months.values():
            each.close()


class _Month:
    """The rows of a month, cut into parts when they are first read."""

    def __init__(self, series: tuple[str, ...], bytes_in_memory: int, rows_in_part: int) -> None:
        self._series = series
        self._limit = bytes_in_memory
        self._rows_in_part = rows_in_part
        self._stacks = [(EVERY_SERIES, FrameStack(bytes_in_memory=bytes_in_memory))]

    @property
    def size(self) -> int:
        """How many bytes lie in memory."""
        return sum(stack.size for _, stack in self._stacks)

    def push(self, rows: pl.DataFrame) -> None:
        """Take rows in."""
        self._stacks[0][1].push(rows)

    def put_down(self) -> None:
        """Move to disk what lies in memory."""
        for _, stack in self._stacks:
            stack.put_down()

    def __iter__(self) -> Iterator[Part]:
        if len(self._stacks) == 1 and self._stacks[0][1].rows > self._rows_in_part:
            self._cut()
        for span, stack in self._stacks:
            yield Part(span, pl.concat(list(stack)))

    def _cut(self) -> None:
        whole = self._stacks[0][1]
        spans = spans_of(whole.frames(self._series), self._series, self._rows_in_part)
        if len(spans) == 1:
            return
        share = self._limit // len(spans)
        self._stacks = [(span, FrameStack(bytes_in_memory=share)) for span in spans]
        for frame in whole:
            for span, stack in self._stacks:
                stack.push(frame.filter(span.holds()))
        whole.close()

    def close(self) -> None:
        """Remove what lies on disk."""
        for _, stack in self._stacks:
            stack.close()
