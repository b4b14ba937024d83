"""Ranges of series: how a month with more rows than memory should hold at once is cut into parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

__all__ = ["EVERY_SERIES", "ROWS_IN_PART", "Part", "Parts", "Span", "spans_of"]

ROWS_IN_PART = 1_000_000
"""How many rows of a month are worked on at once."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The series from one key on to before another, in the order of their columns' texts.

    Attributes:
        series: the columns that name a series.
        first: the lowest key that lies inside; ``None`` for no limit.
        end: the lowest key beyond; ``None`` for no limit.
    """

    series: tuple[str, ...] = ()
    first: Key | None = None
    end: Key | None = None

    @property
    def is_all(self) -> bool:
        """Whether every series lies inside."""
        return self.first is None and self.end is None

    def holds(self) -> pl.Expr:
        """Whether a row's series lies inside."""
        inside = pl.lit(True)
        if self.first is not None:
            inside &= ~_is_before(self.series, self.first)
        if self.end is not None:
            inside &= _is_before(self.series, self.end)
        return inside


EVERY_SERIES = Span()


@dataclass(frozen=True, slots=True)
class Part:
    """All rows of a month whose series lie in a span."""

    span: Span
    rows: pl.DataFrame


class Parts(Protocol):
    """The parts of a month in the order of their spans, which share no series; can be gone through again."""

    def __iter__(self) -> Iterator[Part]: ...


def spans_of(keys: Iterable[pl.DataFrame], series: Sequence[str], rows: int) -> list[Span]:
    """Spans that cover all series, with about ``rows`` rows each (more only where one series has more).

    Args:
        keys: the series of each row, frame by frame.
        series: the columns that name a series.
        rows: how many rows a span should hold.
    """
    names = list(series)
    counts: pl.DataFrame | None = None
    for frame in keys:
        found = frame.group_by(names).len()
        together = found if counts is None else pl.concat([counts, found]).group_by(names).agg(pl.col("len").sum())
        counts = together
    if counts is None:
        return [EVERY_SERIES]
    ordered = counts.sort(names)
    place = (ordered["len"].cum_sum() - 1) // rows
    begins = ordered.select(names).filter((place != place.shift(1)).fill_null(False)).rows()
    limits: list[Key | None] = [None, *begins, None]
    return [Span(tuple(series), first, end) for first, end in itertools.pairwise(limits)]


def _is_before(series: Sequence[str], key: Key) -> pl.Expr:
    """Whether a row's series comes before a key: the first column that differs decides."""
    before = pl.lit(False)
    for name, value in zip(reversed(series), reversed(key), strict=True):
        before = (pl.col(name) < value) | ((pl.col(name) == value) & before)
    return before
