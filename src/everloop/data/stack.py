"""Frames that may be more than memory should hold: few stay in memory, many go to disk until they are read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
import pyarrow as pa

__all__ = ["FrameStack", "MonthSpill"]

_ROWS_IN_MEMORY = 4_000_000


class FrameStack:
    """Frames of one schema, pushed one by one and then read as a stream of record batches."""

    def __init__(self, *, rows_in_memory: int = _ROWS_IN_MEMORY) -> None:
        self._limit = rows_in_memory
        self._rows = 0
        self._held: list[pl.DataFrame | Path] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def push(self, frame: pl.DataFrame) -> None:
        """Add a frame."""
        self._rows += frame.height
        if self._rows <= self._limit:
            self._held.append(frame)
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="everloop-", ignore_cleanup_errors=True)
        path = Path(self._folder.name) / f"{len(self._held)}.arrow"
        frame.write_ipc(path, compression="lz4")
        self._held.append(path)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for held in self._held:
            yield held if isinstance(held, pl.DataFrame) else pl.read_ipc(held)

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
            plain, (batch for frame in self for batch in frame.to_arrow().cast(plain).to_batches())
        )


class MonthSpill:
    """Rows taken in by any order and given back month by month, as often as asked."""

    def __init__(self, time: str, *, rows_in_memory: int = _ROWS_IN_MEMORY) -> None:
        self._time = time
        self._limit = rows_in_memory
        self._months: dict[str, FrameStack] = {}
        self._rows = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows in."""
        month = rows[self._time].dt.strftime("%Y-%m")
        labelled = rows.with_columns(month.alias("_month"))
        for (name,), part in labelled.partition_by("_month", as_dict=True, include_key=False).items():
            # shared evenly: what fits in memory in all is divided among the months as they come
            stack = self._months.get(str(name))
            if stack is None:
                stack = self._months[str(name)] = FrameStack(rows_in_memory=self._limit // 64)
            stack.push(part)
        self._rows += rows.height

    @property
    def rows(self) -> int:
        """How many rows were taken in."""
        return self._rows

    def __iter__(self) -> Iterator[tuple[str, pl.DataFrame]]:
        for name in sorted(self._months):
            yield name, pl.concat(list(self._months[name]))

    def close(self) -> None:
        """Remove what lies on disk."""
        for stack in self._months.values():
            stack.__exit__(None, None, None)
