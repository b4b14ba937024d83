"""Outliers: single periods with sales that the series' own recent past does not allow.

A value is one where

- the negative binomial distribution with the mean and variance of the window before it (variance at least the
  mean's 1.05 times, the mean at least one sale in the window) gives it or more at most one chance in a million
  (the upper tail is a regularized incomplete beta function: Johnson, Kemp and Kotz 2005, "Univariate Discrete
  Distributions", eq. 5.31), and
- no other period of that window and of the two after it comes to a third of it: a peak that is not alone is a
  promotion or a season.

It is known to be one two periods later.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from everloop.data.cleaning.windows import Reach

__all__ = ["AFTER", "find_outliers"]

AFTER = 2
_P = 1e-6
_ALONE = 3.0
_LEAST_SHARE = 0.5
_ROUGH = 3.0


def find_outliers(y: NDArray[np.float32], hidden: NDArray[np.bool_], reach: Reach) -> NDArray[np.bool_]:
    """Which cells are outliers; ``y`` has shape ``(n, columns)``, ``hidden`` cells say nothing."""
    columns = y.shape[1]
    found = np.zeros(y.shape, dtype=bool)
    if columns <= AFTER + 1:
        return found
    values = np.where(hidden, np.nan, y)
    there = np.isfinite(values)
    filled = np.where(there, values, 0.0).astype(np.float64)
    count, mean = _window(there.astype(np.float64), reach.outlier), _window(filled, reach.outlier)
    with np.errstate(invalid="ignore", divide="ignore"):
        rough = there & (count >= _LEAST_SHARE * reach.outlier) & (filled > _ROUGH * mean / count)
    rough &= filled > 1
    for near in (1, 2, 3):  # its neighbours are quick to look at
        rough[:, near:] &= filled[:, near:] > _ALONE * filled[:, :-near]
        if near <= AFTER:
            rough[:, :-near] &= filled[:, :-near] > _ALONE * filled[:, near:]
    rough[:, columns - AFTER :] = False  # what comes after is not known yet
    rough[:, : reach.outlier] &= count[:, : reach.outlier] > 0
    row, column = np.nonzero(rough)
    for start in range(0, len(row), 100_000):
        part = slice(start, start + 100_000)
        hit = _are_extreme(values, row[part], column[part], reach.outlier)
        found[row[part][hit], column[part][hit]] = True
    return found


def _are_extreme(
    values: NDArray[np.floating], row: NDArray[np.int64], column: NDArray[np.int64], window: int
) -> NDArray[np.bool_]:
    """Whether some cells lie beyond their window's distribution, and alone."""
    columns = np.maximum(column[:, None] - window + np.arange(window)[None, :], 0)
    past = values[row[:, None], columns].astype(np.float64)
    past[column[:, None] - window + np.arange(window)[None, :] < 0] = np.nan
    after = values[row[:, None], column[:, None] + 1 + np.arange(AFTER)[None, :]]
    value = values[row, column].astype(np.float64)
    there = np.isfinite(past)
    count = np.maximum(there.sum(axis=1), 1)
    filled = np.where(there, past, 0.0)
    mean = np.maximum(filled.sum(axis=1), 1.0) / count
    variance = np.where(there, np.square(past - mean[:, None]), 0.0).sum(axis=1) / count
    variance = np.maximum(variance, 1.05 * mean)
    size = np.square(mean) / (variance - mean)
    tail = betainc(value, size, 1.0 - mean / variance)
    others = np.maximum(filled.max(axis=1), np.nan_to_num(after, nan=0.0).max(axis=1))
    return np.asarray((tail <= _P) & (others * _ALONE < value))


def _window(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """The sum of the ``window`` cells before each one; only a first look, so its last bits do not matter."""
    sums = np.cumsum(values, axis=1)
    found = np.zeros(values.shape)
    found[:, 1:] = sums[:, :-1]
    found[:, window + 1 :] -= sums[:, : max(values.shape[1] - window - 1, 0)]
    return found
