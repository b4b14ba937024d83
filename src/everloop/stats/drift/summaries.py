"""Sums of a period's values by column, from raw arrays: all that drift, and a picture of it, are told from.

Sums add up, so several batches of a day, or the days of a week, make the same summary as their rows at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ColumnSums", "add_sums", "count_codes", "summarise_numbers"]

Floats = NDArray[np.float64]

BINS = 256
"""Bins of the arcsinh, of equal width between -24 and 24: values up to about 13 thousand million on either side."""
_REACH = 24.0
_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class ColumnSums:
    """Sums of ``k`` columns of numbers, each of shape ``(k,)``.

    Attributes:
        rows: how many rows there were.
        known: how many had a finite value.
        total: the sum of arcsinh over them.
        squares: the sum of its squares.
        histogram: how many values fell into each bin of the arcsinh, shape ``(k, BINS)``.
    """

    rows: Floats
    known: Floats
    total: Floats
    squares: Floats
    histogram: Floats

    @property
    def mean(self) -> Floats:
        """The mean of arcsinh, NaN where nothing is known."""
        mean = np.full(len(self.known), np.nan)
        np.divide(self.total, self.known, out=mean, where=self.known > 0)
        return mean

    @property
    def log_deviation(self) -> Floats:
        """The logarithm of the standard deviation of arcsinh, NaN for fewer than two values or none that differ."""
        several = np.maximum(self.known, 2)
        variance = (self.squares - self.total**2 / several) / (several - 1)
        usable = (self.known >= 2) & (variance > 1e-12 * self.squares / several)
        result: Floats = np.where(usable, 0.5 * np.log(np.where(usable, variance, 1.0)), np.nan)
        return result

    @property
    def missing(self) -> Floats:
        """The share of rows without a value, NaN where there are no rows."""
        share = np.full(len(self.rows), np.nan)
        np.divide(self.rows - self.known, self.rows, out=share, where=self.rows > 0)
        return share

    def quantiles(self, shares: Floats) -> Floats:
        """Quantiles of the values themselves, right to within the width of a bin; shape ``(k, len(shares))``.

        NaN where nothing is known.
        """
        edges = np.linspace(-_REACH, _REACH, BINS + 1)
        result = np.full((len(self.known), len(shares)), np.nan)
        for place, counts in enumerate(self.histogram):
            if counts.sum() > 0:
                below = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
                rising = np.concatenate([[True], np.diff(below) > 0])
                rising[max(int(np.argmax(below > 0)) - 1, 0)] = True
                result[place] = np.sinh(np.interp(shares, below[rising], edges[rising]))
        return result


def summarise_numbers(values: NDArray[np.floating]) -> ColumnSums:
    """The sums of columns of numbers, shape ``(n, k)``; whatever is not finite counts as missing.

    Rows are taken in pieces that stay in the processor's cache, so memory does not grow with ``n``.
    """
    rows, columns = values.shape
    known, total, squares = (np.zeros(columns) for _ in range(3))
    histogram = np.zeros((columns, BINS))
    scale = BINS / (2 * _REACH)
    # a column lies together or a row does: the pieces follow whichever it is
    for column in range(columns):
        for start in range(0, rows, _AT_ONCE):
            piece = _arcsinh(values[start : start + _AT_ONCE, column])
            finite = np.isfinite(piece)
            if not finite.all():
                piece = piece[finite]
            known[column] += len(piece)
            total[column] += piece.sum()
            squares[column] += piece @ piece
            place = ((piece + _REACH) * scale).astype(np.int64)
            np.clip(place, 0, BINS - 1, out=place)
            histogram[column] += np.bincount(place, minlength=BINS)
    return ColumnSums(np.full(columns, float(rows)), known, total, squares, histogram)


def _arcsinh(values: NDArray[np.floating]) -> Floats:
    piece = np.array(values, dtype=np.float64)
    piece[np.isinf(piece)] = np.nan
    # beyond this the square is too large a number; the last bin holds all such values anyway
    size = np.minimum(np.abs(piece), 1e150)
    # the definition itself: exact to rounding where it is used, and several times faster than the library's
    size += np.sqrt(size * size + 1)
    return np.copysign(np.log(size, out=size), piece)


def count_codes(codes: NDArray[np.integer], categories: int) -> tuple[Floats, int]:
    """How often each of the known categories came, shape ``(categories,)``, and how many values were of none of them.

    Args:
        codes: the category's number; -1 for a missing value, ``categories`` or more for one never seen before.
        categories: how many are known.
    """
    counts = np.bincount(np.minimum(codes[codes >= 0], categories), minlength=categories + 1)
    return counts[:categories].astype(np.float64), int(counts[categories])


def add_sums(first: ColumnSums, second: ColumnSums) -> ColumnSums:
    """Two summaries of the same columns as one.

    Raises:
        ValueError: they are of different columns.
    """
    if first.rows.shape != second.rows.shape:
        raise ValueError("summaries of different columns cannot be added")
    parts = (getattr(first, name) + getattr(second, name) for name in ColumnSums.__slots__)
    return ColumnSums(*parts)
