"""Drawing by unit: the same unit (a series, store or user) is answered by the same release, as often as it asks.

A unit's place is a point from 0 to 1, a keyed hash of its text: who does not know the split's salt cannot choose it,
and two splits draw independently. The releases own intervals of that line. When weights change, a release whose
share falls gives up what it took last, and those whose shares grow take exactly that, in the order of their digests.
So the share of units that change their release is the least that the new weights allow, none moves between two
releases whose shares stayed, and between two releases a share that is raised and lowered again gives every unit back.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from everloop.data.panel import join_key, split_key
from everloop.store.records import MILLION, TrafficSplit

__all__ = ["RELEASE_HEADER", "UNIT_HEADER", "Split", "kept_unit"]

UNIT_HEADER = "x-everloop-unit"
RELEASE_HEADER = "x-everloop-release"

_POINT_BYTES = 8
_MOST_UNIT_CHARS = 200  # the width of the store's column

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A split that is ready to draw.

    Attributes:
        label: the name of the stage in force, stored with each prediction that it drew.
        unit: what is drawn: ``"series"``, ``"header"``, or the name of a column.
        weights: the share of each release by digest.
        starts: where each interval begins, millionths, ascending from 0.
        owners: the digest of the release that owns it.
    """

    label: str
    unit: str
    weights: Mapping[str, float]
    starts: list[int] = field(repr=False)
    owners: list[str] = field(repr=False)
    _keyed: Any = field(repr=False)

    @classmethod
    def compile(cls, record: TrafficSplit) -> Split:
        """The split that a record tells of, laid out by its whole history.

        >>> from datetime import UTC, datetime
        >>> from everloop.store.records import Stage
        >>> stage = Stage({"a": 0.5, "b": 0.5}, datetime(2026, 1, 1, tzinfo=UTC), "try b")
        >>> split = Split.compile(TrafficSplit("e", "salt", "series", (stage,)))
        >>> split.assign("CA_1/FOODS_1_001"), split.assign("CA_1/FOODS_1_003")
        ('a', 'b')
        """
        owned = lay_out(stage.weights for stage in record.stages)
        line = sorted((start, release) for release, intervals in owned.items() for start, _ in intervals)
        return cls(
            label=record.label,
            unit=record.unit,
            weights=record.weights,
            starts=[start for start, _ in line],
            owners=[release for _, release in line],
            # a keyed state that is copied for each unit: the key is taken in once
            _keyed=hashlib.blake2b(key=_key(record.salt), digest_size=_POINT_BYTES),
        )

    def assign(self, unit: str | bytes) -> str:
        """The digest of the release that answers a unit."""
        state = self._keyed.copy()
        state.update(unit.encode() if isinstance(unit, str) else unit)
        point = int.from_bytes(state.digest(), "big") % MILLION
        return self.owners[bisect_right(self.starts, point) - 1]

    def series_unit(self, columns: Sequence[str], series: Sequence[str | Mapping[str, Any]] | None) -> str | None:
        """The unit of a request for forecasts.

        A request for several series has one answer by one release: that of its first series in sorted order, so that
        the same series in any order are one unit. A request for all series names no unit.

        Args:
            columns: the series columns.
            series: the series as they were asked: texts, or mappings of the series columns.
        """
        if not series or self.unit == "header":
            return None
        first = _text_of(series[0], columns) if len(series) == 1 else min(_text_of(each, columns) for each in series)
        if self.unit == "series":
            return first
        parts = split_key(first)
        if self.unit not in columns or len(parts) != len(columns):
            return None
        return parts[columns.index(self.unit)]

    def row_unit(self, columns: Mapping[str, Sequence[Any]], series: Sequence[str] = ()) -> str | None:
        """The unit of a request of rows: that of its first row, since one release answers all of them.

        Args:
            columns: the rows by column.
            series: the series columns, where rows belong to series.
        """
        names = series if self.unit == "series" else (self.unit,)
        values = [columns[name][0] for name in names if name in columns and len(columns[name])]
        if not values or len(values) != len(names) or any(value is None for value in values):
            return None
        return join_key(tuple(map(str, values))) if self.unit == "series" else str(values[0])


def lay_out(history: Iterable[Mapping[str, float]]) -> dict[str, list[Interval]]:
    """Which intervals of the line, in millionths, each release owns after a history of weights.

    Each release's intervals stand in the order in which it took them.
    """
    owned: dict[str, list[Interval]] = {}
    free: list[Interval] = [(0, MILLION)]
    for weights in history:
        sizes = {release: round(weights.get(release, 0.0) * MILLION) for release in {*owned, *weights}}
        for release in sorted(owned):
            excess = sum(end - start for start, end in owned[release]) - sizes[release]
            if excess > 0:
                free += _take(owned[release], excess)
        free.sort(reverse=True)  # so that the lowest is the last, which is taken first
        for release in sorted(sizes):
            mine = owned.setdefault(release, [])
            missing = sizes[release] - sum(end - start for start, end in mine)
            while missing > 0 and free:
                start, end = free.pop()
                cut = min(end, start + missing)
                mine.append((start, cut))
                missing -= cut - start
                if cut < end:
                    free.append((cut, end))
    return owned


def kept_unit(unit: str) -> str:
    """A unit as the store keeps it: a very long one, or one that no database takes, by its digest."""
    if len(unit) <= _MOST_UNIT_CHARS and "\x00" not in unit:
        return unit
    return "blake2b:" + hashlib.blake2b(unit.encode(), digest_size=32).hexdigest()


def _take(intervals: list[Interval], size: int) -> list[Interval]:
    """Take ``size`` from what a release got last."""
    taken = []
    while size > 0:
        start, end = intervals.pop()
        cut = max(start, end - size)
        taken.append((cut, end))
        size -= end - cut
        if cut > start:
            intervals.append((start, cut))
    return taken


def _text_of(each: str | Mapping[str, Any], columns: Sequence[str]) -> str:
    """A series' text; a mapping that lacks a column is refused when it is resolved, whoever answers."""
    return each if isinstance(each, str) else join_key(tuple(str(each.get(name)) for name in columns))


def _key(salt: str) -> bytes:
    """The hash's key, of which it takes 64 bytes at most."""
    content = salt.encode()
    return content if len(content) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(content).digest()
