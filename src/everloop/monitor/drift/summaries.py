"""What is kept of a period's values: counts and sums, from which every stream that is watched can be made.

A value enters as its arcsinh: near zero it is the value itself, for large ones the logarithm, so one rule fits
counts, prices and shares alike, zeros and negative values among them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import IntegrityError

__all__ = ["ALL", "Counts", "Moments", "Summary", "join_summaries"]

ALL = ""
"""The group of all rows together."""

_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Moments:
    """A column of numbers by period, each of shape ``(p,)``.

    Attributes:
        rows: how many rows there were.
        known: how many of them had a value.
        total: the sum of arcsinh over the known values.
        squares: the sum of its squares.
    """

    rows: NDArray[np.float64]
    known: NDArray[np.float64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean of arcsinh, NaN where nothing is known."""
        return _share(self.total, self.known)

    @property
    def spread(self) -> NDArray[np.float64]:
        """The standard deviation of arcsinh between the rows of a period, NaN for fewer than two."""
        several = np.maximum(self.known, 2)
        variance = np.maximum(self.squares / several - (self.total / several) ** 2, 0) * several / (several - 1)
        # a difference of two sums: what is below their rounding is zero
        variance[variance <= 1e-12 * self.squares / several] = 0
        return np.where(self.known >= 2, np.sqrt(variance), np.nan)

    @property
    def missing(self) -> NDArray[np.float64]:
        """The share of rows without a value, NaN where there are no rows."""
        return _share(self.rows - self.known, self.rows)


@dataclass(frozen=True, slots=True)
class Counts:
    """A column of categories by period: ``counts`` of shape ``(p, k)`` beside ``rows`` of shape ``(p,)``.

    Attributes:
        names: the categories, sorted.
        counts: how often each came.
        rows: how many rows there were, those without a value among them.
    """

    names: tuple[str, ...]
    counts: NDArray[np.float64]
    rows: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Summary:
    """What is kept of some periods.

    Attributes:
        periods: the first day of each, days since 1970, ascending, shape ``(p,)``.
        numbers: columns of numbers by (column, group); the group ``""`` is all rows together.
        categories: columns of categories.
    """

    periods: NDArray[np.int64]
    numbers: dict[tuple[str, str], Moments] = field(default_factory=dict)
    categories: dict[str, Counts] = field(default_factory=dict)

    def pack(self) -> bytes:
        """The bytes to keep."""
        content = {
            "periods": self.periods.tolist(),
            "numbers": [
                [column, group, np.stack([each.rows, each.known, each.total, each.squares]).tobytes()]
                for (column, group), each in self.numbers.items()
            ],
            "categories": [
                [column, each.names, each.counts.tobytes(), each.rows.tobytes()]
                for column, each in self.categories.items()
            ],
        }
        return zlib.compress(msgspec.msgpack.encode(content), _LEVEL)

    @classmethod
    def unpack(cls, content: bytes) -> Summary:
        """Back from :meth:`pack`, bit for bit.

        Raises:
            IntegrityError: the bytes are no summary.
        """
        try:
            tree = msgspec.msgpack.decode(zlib.decompress(content))
            size = len(tree["periods"])
            numbers = {
                (column, group): Moments(*np.frombuffer(values).reshape(4, size))
                for column, group, values in tree["numbers"]
            }
            categories = {
                column: Counts(tuple(names), np.frombuffer(counts).reshape(size, len(names)), np.frombuffer(rows))
                for column, names, counts, rows in tree["categories"]
            }
        except (zlib.error, msgspec.DecodeError, KeyError, ValueError, TypeError) as error:
            raise IntegrityError("drift_summary", f"a summary for drift cannot be read: {error}") from error
        return cls(np.array(tree["periods"], dtype=np.int64), numbers, categories)

    def until(self, last: int) -> Summary:
        """The periods that begin by day ``last``."""
        return self.at(np.flatnonzero(self.periods <= last))

    def at(self, places: NDArray[np.int64]) -> Summary:
        """The periods at some places."""
        numbers = {
            key: Moments(each.rows[places], each.known[places], each.total[places], each.squares[places])
            for key, each in self.numbers.items()
        }
        categories = {
            column: Counts(each.names, each.counts[places], each.rows[places])
            for column, each in self.categories.items()
        }
        return Summary(self.periods[places], numbers, categories)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """One over the other, NaN where the whole is nothing."""
    result = np.full(len(whole), np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def join_summaries(parts: Iterable[Summary]) -> Summary:
    """Several summaries as one; what two of them say of the same period is added up."""
    found = list(parts)
    if not found:
        return Summary(np.zeros(0, dtype=np.int64))
    periods = np.unique(np.concatenate([each.periods for each in found]))
    places = [np.searchsorted(periods, each.periods) for each in found]
    numbers: dict[tuple[str, str], Moments] = {}
    for key in sorted({key for each in found for key in each.numbers}):
        sums = np.zeros((4, len(periods)))
        for each, place in zip(found, places, strict=True):
            if key in each.numbers:
                own = each.numbers[key]
                sums[:, place] += np.stack([own.rows, own.known, own.total, own.squares])
        numbers[key] = Moments(*sums)
    categories = {
        column: _join_counts([each.categories.get(column) for each in found], places, len(periods))
        for column in sorted({column for each in found for column in each.categories})
    }
    return Summary(periods, numbers, categories)


def _join_counts(found: Sequence[Counts | None], places: Sequence[NDArray[np.int64]], size: int) -> Counts:
    names = tuple(sorted({name for each in found if each is not None for name in each.names}))
    column = {name: number for number, name in enumerate(names)}
    counts, rows = np.zeros((size, len(names))), np.zeros(size)
    for each, place in zip(found, places, strict=True):
        if each is not None:
            counts[np.ix_(place, np.array([column[name] for name in each.names], dtype=np.int64))] += each.counts
            rows[place] += each.rows
    return Counts(names, counts, rows)
