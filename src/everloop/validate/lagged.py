"""Differences of series from their own past, a few series at a time, so that no copy of all of them is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lagged", "lagged"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Lagged:
    """Some series that follow each other.

    Attributes:
        series: which.
        begins: where each begins within the values, and their end; shape ``(series + 1,)``.
        values: all of them one after another, NaN where there is no row.
        difference: each value less the one a lag before it; NaN where either is not there.
    """

    series: slice
    begins: Ints
    values: Floats
    difference: Floats


def lagged(y: NDArray[np.floating[Any]], offsets: Ints, lag: int) -> Iterator[Lagged]:
    """All series in runs of some million values.

    Args:
        y: all series one after another, NaN where there is no row.
        offsets: where each series begins, and the end; shape ``(n + 1,)``.
        lag: in steps.
    """
    n, first = len(offsets) - 1, 0
    while first < n:
        end = max(int(np.searchsorted(offsets, offsets[first] + _VALUES_AT_ONCE, side="right")) - 1, first + 1)
        values = y[offsets[first] : offsets[end]].astype(np.float64)
        begins = offsets[first : end + 1] - offsets[first]
        difference = np.full(len(values), np.nan)
        np.subtract(values[lag:], values[:-lag], out=difference[lag:])
        starts = begins[:-1, None] + np.arange(lag)
        difference[starts[starts < begins[1:, None]]] = np.nan  # those from another series
        yield Lagged(slice(first, end), begins, values, difference)
        first = end
