"""Sums over trailing windows whose bits depend on the window alone.

A running sum carries every earlier value's rounding along, so the same window gives other bits in a long array
than in a short tail. Here each window is put together from powers of two (``S2[t] = x[t] + x[t-1]``,
``S4[t] = S2[t] + S2[t-2]``, ...), always in the same order: batch training and a live request agree bit for bit.
The cost is O(n log w).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["window_counts", "window_means", "window_sums"]

Block = NDArray[np.float64]
Counts = NDArray[np.int32]


def window_sums(block: Block, windows: Iterable[int], *, stride: int = 1) -> dict[int, Block]:
    """For each window ``w`` the sum of ``x[t], x[t - stride], ...`` (``w`` terms) at each column ``t``.

    Columns before the first count as zero.

    Args:
        block: shape ``(rows, columns)``, without NaN.
        windows: numbers of terms.
        stride: the distance between terms.

    >>> window_sums(np.array([[1.0, 2.0, 4.0, 8.0]]), [3])[3]
    array([[ 1.,  3.,  7., 14.]])
    """
    wanted = sorted(set(windows))
    sums: dict[int, Block] = {}
    covered = dict.fromkeys(wanted, 0)
    power, part = 1, block
    while wanted and power <= wanted[-1]:
        for window in wanted:
            if window & power:
                if window in sums:
                    _add_from(sums[window], part, covered[window] * stride)
                else:
                    sums[window] = part.copy()
                covered[window] += power
        power *= 2
        if power <= wanted[-1]:
            wider = part.copy()
            _add_from(wider, part, power // 2 * stride)
            part = wider
    return sums


def window_counts(is_true: NDArray[np.bool_], windows: Iterable[int], *, stride: int = 1) -> dict[int, Counts]:
    """For each window how many of its terms are true; whole numbers have no rounding, so running sums will do.

    >>> window_counts(np.array([[True, False, True, True]]), [2])[2]
    array([[1, 1, 1, 2]], dtype=int32)
    """
    rows, columns = is_true.shape
    if stride == 1:
        running = np.cumsum(is_true, axis=1, dtype=np.int32)
    else:
        padded = np.zeros((rows, -(-columns // stride) * stride), dtype=np.bool_)
        padded[:, :columns] = is_true
        phases = padded.reshape(rows, -1, stride).cumsum(axis=1, dtype=np.int32)
        running = phases.reshape(rows, -1)[:, :columns]
    counts = {}
    for window in set(windows):
        counts[window] = running.copy()
        reach = window * stride
        if reach < columns:
            counts[window][:, reach:] -= running[:, :-reach]
    return counts


def window_means(block: NDArray[np.floating], windows: Iterable[int], *, stride: int = 1) -> dict[int, Block]:
    """For each window the mean of those of its terms that are no NaN; NaN where none is."""
    wanted = sorted(set(windows))
    is_there = ~np.isnan(block)
    if is_there.all():
        totals = window_sums(block.astype(np.float64), wanted, stride=stride)
        counts = window_counts(is_there[:1], wanted, stride=stride)
    else:
        totals = window_sums(np.where(is_there, block, 0.0).astype(np.float64), wanted, stride=stride)
        counts = window_counts(is_there, wanted, stride=stride)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {window: totals[window] / counts[window] for window in wanted}


def _add_from(total: Block, part: Block, by: int) -> None:
    """Add ``part``, moved ``by`` columns to the right, in place."""
    if by < total.shape[1]:
        total[:, by:] += part[:, : total.shape[1] - by]
