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

__all__ = ["shifted", "window_means", "window_sums"]

Block = NDArray[np.float64]


def shifted(block: Block, by: int) -> Block:
    """Each row moved ``by`` columns to the right, with zeros before."""
    if by == 0:
        return block
    moved = np.zeros_like(block)
    moved[:, by:] = block[:, : max(block.shape[1] - by, 0)]
    return moved


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
                term = shifted(part, covered[window] * stride)
                sums[window] = term if window not in sums else sums[window] + term
                covered[window] += power
        power *= 2
        if power <= wanted[-1]:
            part = part + shifted(part, power // 2 * stride)
    return sums


def window_means(block: NDArray[np.floating], windows: Iterable[int], *, stride: int = 1) -> dict[int, Block]:
    """For each window the mean of those of its terms that are no NaN; NaN where none is."""
    wanted = sorted(set(windows))
    is_there = ~np.isnan(block)
    totals = window_sums(np.where(is_there, block, 0.0).astype(np.float64), wanted, stride=stride)
    counts = window_sums(is_there.astype(np.float64), wanted, stride=stride)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {window: totals[window] / counts[window] for window in wanted}
