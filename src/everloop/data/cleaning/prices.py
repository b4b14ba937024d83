"""Price errors: prices that are none, and prices that leap far away and back within a week."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST", "find_price_errors"]

LONGEST = 7
"""A price that stands for more periods was meant."""

Ints = NDArray[np.int64]


def find_price_errors(price: NDArray[np.float32], *, factor: float) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Which cells hold a wrong price, and the column at which that was known.

    Wrong is a price at or below zero, known at once; and one that stands for at most seven periods between two prices
    both of which it exceeds, or falls short of, by ``factor`` or more, known when the later one is seen.

    Args:
        price: shape ``(n, columns)``, NaN where there is none.
        factor: above 1.
    """
    columns = price.shape[1]
    wrong = np.isfinite(price) & (price <= 0)
    known = np.where(wrong, np.arange(columns, dtype=np.int32)[None, :], np.int32(0))
    row, column = np.nonzero(np.isfinite(price) & ~wrong)
    if not len(row):
        return wrong, known
    value = price[row, column].astype(np.float64)
    is_new = np.ones(len(row), dtype=bool)
    is_new[1:] = (row[1:] != row[:-1]) | (value[1:] != value[:-1])
    first = np.flatnonzero(is_new)
    last = np.append(first[1:], len(row)) - 1
    middle = np.arange(1, len(first) - 1)
    before, after = middle - 1, middle + 1
    is_inside = (row[first[before]] == row[first[middle]]) & (row[first[middle]] == row[first[after]])
    level, left, right = (value[first[each]] for each in (middle, before, after))
    leaps = ((level >= factor * left) & (level >= factor * right)) | (
        (level * factor <= left) & (level * factor <= right)
    )
    is_short = column[last[middle]] - column[first[middle]] < LONGEST
    hit = middle[is_inside & leaps & is_short]
    for segment in hit.tolist():
        cells = slice(first[segment], last[segment] + 1)
        wrong[row[cells], column[cells]] = True
        known[row[cells], column[cells]] = column[first[segment + 1]]
    return wrong, known
