"""Some series of a panel as a rectangle that ends at the cutoff, and counts over its trailing windows.

All counts are of whole numbers, so a window has the same count in a long rectangle and in a tail of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel

__all__ = ["Rectangle", "counts_before", "rectangles", "seasonal_counts_before"]

_CELLS = 1_000_000


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Some series, aligned at their end.

    Attributes:
        series: their numbers in the panel, shape ``(n,)``.
        rows: the place of each cell in the panel's flat arrays, shape ``(n, columns)``; below 0 before a series
            begins.
        y: the targets, shape ``(n, columns)``, NaN where there is none.
    """

    series: NDArray[np.int64]
    rows: NDArray[np.int64]
    y: NDArray[np.float32]

    def of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Another column of the panel in the same form."""
        return np.where(self.rows >= 0, values[np.maximum(self.rows, 0)], np.float32(np.nan))


def rectangles(panel: Panel, series: NDArray[np.int64] | None = None) -> Iterator[Rectangle]:
    """A panel's series (or some of them) in rectangles of about a million cells."""
    chosen = np.arange(panel.n_series) if series is None else series
    columns = int(panel.lengths.max(initial=0))
    size = max(1, _CELLS // max(columns, 1))
    for start in range(0, len(chosen), size):
        part = chosen[start : start + size]
        rows = panel.offsets[part + 1, None] - columns + np.arange(columns)[None, :]
        is_inside = rows >= panel.offsets[part, None]
        rows = np.where(is_inside, rows, -1)
        yield Rectangle(part, rows, np.where(is_inside, panel.y[np.maximum(rows, 0)], np.float32(np.nan)))


def counts_before(flags: NDArray[np.bool_], window: int) -> NDArray[np.int32]:
    """For each cell how many of the ``window`` cells before it, itself left out, are flagged."""
    n, columns = flags.shape
    sums = np.zeros((n, columns + 1), dtype=np.int32)
    np.cumsum(flags, axis=1, out=sums[:, 1:])
    found = sums[:, :-1].copy()
    found[:, window:] -= sums[:, : max(columns - window, 0)]
    return found


def seasonal_counts_before(flags: NDArray[np.bool_], window: int, season: int) -> NDArray[np.int32]:
    """For each cell how many of the cells one season, two seasons ... before it are flagged, up to ``window``."""
    n, columns = flags.shape
    seasons = -(-columns // season)
    padded = np.zeros((n, seasons * season), dtype=bool)
    padded[:, seasons * season - columns :] = flags
    folded = padded.reshape(n, seasons, season)
    sums = np.zeros((n, seasons + 1, season), dtype=np.int32)
    np.cumsum(folded, axis=1, out=sums[:, 1:])
    ends = np.arange(seasons)
    found = sums[:, ends] - sums[:, np.maximum(ends - window // season, 0)]
    return found.reshape(n, seasons * season)[:, seasons * season - columns :]
