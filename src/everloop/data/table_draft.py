"""What a commit to a table is going to say: new rows merged month by month, with the digests of what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
from deltalake import DeltaTable

from everloop.core.digest import digest_json
from everloop.data.merging import Change, content_digest, digest_in_order, merge_rows
from everloop.data.spans import ROWS_IN_PART, Part, Parts, spans_of
from everloop.data.stack import FrameStack
from everloop.data.table_columns import PERIOD, Columns
from everloop.data.table_files import batches_of, files_of, read_files, types_of

__all__ = ["Description", "Draft"]

_ORIGINS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Description:
    """What a commit says of the version it makes; ``inputs`` tells by month and origin what was last merged."""

    digest: str
    rows: int
    at: str
    source: str
    months: dict[str, str]
    counts: dict[str, int]
    inputs: dict[str, dict[str, str]]


class Draft:
    """What a commit is going to say: months merged so far, and what changed in them."""

    def __init__(
        self,
        columns: Columns,
        now: datetime,
        table: DeltaTable | None,
        present: Description | None,
        stack: FrameStack,
    ) -> None:
        self.columns = columns
        self.now = now
        self.files = files_of(table) if table is not None else {}
        self.types = types_of(table) if table is not None else {}
        self.stack = stack
        self.digests = dict(present.months) if present else {}
        self.counts = dict(present.counts) if present else {}
        self.inputs = dict(present.inputs) if present else {}
        self.sources: list[str] = []
        self.touched: list[str] = []
        self.added = self.corrected = self.unchanged = 0

    def take(self, month: str, parts: Parts, origin: str) -> None:
        """Merge the new rows of a month, part by part."""
        said = self.inputs.get(month, {})
        if origin in said:
            height, source = self._source(parts)
            if said[origin] == source:
                self.sources.append(source)
                self.unchanged += height
                return
        sources: list[str] = []
        with FrameStack() as merged:
            change = Change(0, 0, 0)
            for part in parts:
                sources.append(content_digest(part.rows, self.columns))
                for piece in self._pieces(month, part):
                    change += self._merge(month, piece, merged)
            source = _source_digest(sources)
            self.sources.append(source)
            latest = [(name, digest) for name, digest in said.items() if name != origin][1 - _ORIGINS_KEPT :]
            self.inputs[month] = dict([*latest, (origin, source)])
            self.added += change.added
            self.corrected += change.corrected
            self.unchanged += change.unchanged
            if change.added or change.corrected:
                self._change(month, merged)

    def _source(self, parts: Parts) -> tuple[int, str]:
        """How many rows the parts have, and what they say."""
        heights, sources = [], []
        for part in parts:
            heights.append(part.rows.height)
            sources.append(content_digest(part.rows, self.columns))
        return sum(heights), _source_digest(sources)

    def _pieces(self, month: str, part: Part) -> Iterator[Part]:
        """A part as it is, or cut by the series of a month that has many rows so far."""
        if not part.span.is_all or self.counts.get(month, 0) <= ROWS_IN_PART:
            yield part
            return
        series = self.columns.series
        for span in spans_of(batches_of(self.files[month], [*series], self.types), series, ROWS_IN_PART):
            yield Part(span, part.rows.filter(span.holds()))

    def _merge(self, month: str, part: Part, merged: FrameStack) -> Change:
        """Lay a part over the rows of its series that are there."""
        types = {**part.rows.schema, **self.types}
        old = read_files(self.files[month], None, self.types, part.span) if month in self.files else None
        rows, change = merge_rows(old, part.rows, self.columns, self.now, types)
        merged.push(rows)
        return change

    def _change(self, month: str, merged: FrameStack) -> None:
        """A month as it is from now on, its rows in order."""
        self.counts[month] = merged.rows
        self.digests[month] = digest_in_order(
            self.columns.all, merged.rows, lambda name: (frame[name] for frame in merged.frames([name]))
        )
        for frame in merged:
            self.stack.push(frame.with_columns(pl.lit(month).alias(PERIOD)))
        self.touched.append(month)

    def description(self) -> Description:
        """What the commit says of its version."""
        return Description(
            digest=digest_json(sorted(self.digests.items())),
            rows=sum(self.counts.values()),
            at=self.now.astimezone(UTC).isoformat(),
            source=digest_json(self.sources),
            months=self.digests,
            counts=self.counts,
            inputs=self.inputs,
        )


def _source_digest(parts: list[str]) -> str:
    """The digest of what a month's parts say."""
    return parts[0] if len(parts) == 1 else digest_json(parts)
