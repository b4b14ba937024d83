"""Methods for intermittent demand, for many series at once: Croston's and its kin, aggregation, simple smoothing.

All take blocks whose rows are series and whose last column is the newest period; a missing value is NaN and counts
as no period at all. All give the demand of a period to come, which is the same for every step. Nothing here depends
on other rows, so that a series alone gets the same bits as among all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sizes", "adida", "aligned", "croston", "demand_sizes", "golden", "imapa", "smooth", "tsb"]

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

_GOLDEN = (5**0.5 - 1) / 2
_CUTS = 18
"""Steps of the search for a weight; each leaves 0.618 of the span, all together a span of 0.00004."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a series' demand looks like; arrays of shape ``(n,)``.

    Attributes:
        periods: observed periods.
        demands: periods with demand.
        interval: mean interval between demands, in periods, counted from the beginning; NaN without demand.
        mean: mean size of a demand.
        variation: squared coefficient of variation of the sizes; 0 for one demand.
    """

    periods: Ints
    demands: Ints
    interval: Doubles
    mean: Doubles
    variation: Doubles


def demand_sizes(y: Doubles) -> Sizes:
    """The measures by which Syntetos, Boylan and Croston (2005) tell kinds of demand apart."""
    is_there = ~np.isnan(y)
    is_demand = is_there & (y != 0)
    demands = is_demand.sum(axis=1)
    order = np.cumsum(is_there, axis=1)
    reach = np.where(is_demand, order, 0).max(axis=1, initial=0)
    sizes = np.where(is_demand, y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        interval = reach / demands
        mean = sizes.sum(axis=1) / demands
        squares = (np.where(is_demand, sizes - mean[:, None], 0.0) ** 2).sum(axis=1)
        variation = squares / demands / mean**2
    return Sizes(is_there.sum(axis=1), demands, interval, mean, np.nan_to_num(variation, posinf=0.0))


def aligned(y: Doubles) -> Doubles:
    """The observed values of each row at its end, NaN before: missing periods are closed up."""
    is_there = ~np.isnan(y)
    has_gap = is_there.any(axis=1) & (is_there.sum(axis=1) != _reach(is_there))
    if not has_gap.any():
        return y
    closed = y.copy()
    rows = y[has_gap]
    closed[has_gap] = np.take_along_axis(rows, np.argsort(~np.isnan(rows), axis=1, kind="stable"), axis=1)
    return closed


def _reach(is_there: NDArray[np.bool_]) -> Ints:
    """How many columns lie from the first observed one to the end."""
    return np.asarray(is_there.shape[1] - is_there.argmax(axis=1))


def croston(y: Doubles, alpha: float, *, is_corrected: bool) -> Doubles:
    """Croston (1972): smoothed size over smoothed interval of demands, both renewed when there is a demand.

    Args:
        y: shape ``(n, periods)``.
        alpha: the weight of the newest size and interval.
        is_corrected: multiply by ``1 - alpha / 2``, which takes away most of the bias (Syntetos and Boylan 2005).

    Returns:
        Demand a period, shape ``(n,)``; zero for a series without demand.
    """
    size, interval = np.full(len(y), np.nan), np.full(len(y), np.nan)
    since = np.zeros(len(y))
    for column in np.ascontiguousarray(y.T):
        since += ~np.isnan(column)
        rows = np.flatnonzero((column != 0) & ~np.isnan(column))
        if not len(rows):
            continue
        new, gap = column[rows], since[rows]
        is_first = np.isnan(size[rows])
        size[rows] = np.where(is_first, new, size[rows] + alpha * (new - size[rows]))
        interval[rows] = np.where(is_first, gap, interval[rows] + alpha * (gap - interval[rows]))
        since[rows] = 0.0
    rate = np.nan_to_num(size / interval)
    return np.asarray(rate * (1.0 - alpha / 2.0) if is_corrected else rate)


def tsb(y: Doubles, alpha: float, beta: float) -> Doubles:
    """Teunter, Syntetos and Babai (2011): smoothed size times smoothed probability of a demand.

    The probability is renewed in every period, so that the forecast of an item that sells no more falls to zero.

    Args:
        y: shape ``(n, periods)``.
        alpha: the weight of the newest size.
        beta: the weight of the newest period in the probability.
    """
    size, probability = np.full(len(y), np.nan), np.full(len(y), np.nan)
    for column in np.ascontiguousarray(y.T):
        is_there = ~np.isnan(column)
        is_demand = is_there & (column != 0)
        hit = is_demand.astype(np.float64)
        moved = np.where(np.isnan(probability), hit, probability + beta * (hit - probability))
        probability = np.where(is_there, moved, probability)
        rows = np.flatnonzero(is_demand)
        if len(rows):
            old = size[rows]
            size[rows] = np.where(np.isnan(old), column[rows], old + alpha * (column[rows] - old))
    return np.asarray(np.nan_to_num(size * probability))


def smooth(y: Doubles, alpha: Doubles) -> tuple[Doubles, Doubles]:
    """Simple smoothing from the first value on.

    Args:
        y: aligned, shape ``(n, periods)``.
        alpha: the weight of the newest value of each row.

    Returns:
        The level after the last period, and the sum of squared errors one period ahead; NaN and 0 for an empty row.
    """
    columns = _filled(y)
    return _walk(columns, alpha)


def golden(columns: Doubles, low: float, high: float) -> Doubles:
    """The weight of each series that has the least squared error, by golden section (Kiefer 1953).

    Args:
        columns: periods by series, the first value of a series standing for the periods before it too.
        low: the least weight.
        high: the most.
    """
    n = columns.shape[1]
    left, right = np.full(n, low), np.full(n, high)
    one, two = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
    at_one, at_two = _walk(columns, one)[1], _walk(columns, two)[1]
    is_flat = at_one == at_two  # too few values for the weight to matter
    for _ in range(_CUTS):
        is_left = at_one < at_two
        left, right = np.where(is_left, left, one), np.where(is_left, two, right)
        fresh = np.where(is_left, right - _GOLDEN * (right - left), left + _GOLDEN * (right - left))
        at_fresh = _walk(columns, fresh)[1]
        one, two = np.where(is_left, fresh, two), np.where(is_left, one, fresh)
        at_one, at_two = np.where(is_left, at_fresh, at_two), np.where(is_left, at_one, at_fresh)
    return np.asarray(np.where(is_flat, (low + high) / 2, (left + right) / 2))


def adida(y: Doubles, *, low: float = 0.1, high: float = 0.3) -> Doubles:
    """Nikolopoulos et al. (2011): sums over buckets of about one demand each, smoothed, and parted evenly again.

    A bucket is the mean interval of the series' demands long; periods before the first whole bucket are left out.

    Args:
        y: shape ``(n, periods)``.
        low: the least weight of the newest bucket.
        high: the most; the weight has the least squared error of each series.
    """
    level = np.nan_to_num(np.round(demand_sizes(y).interval)).astype(np.int64)
    closed = aligned(y)
    rate = np.zeros(len(y))
    for size in np.unique(level[level > 0]).tolist():
        rows = np.flatnonzero(level == size)
        rate[rows] = _bucketed(closed[rows], size, low, high)
    return rate


def imapa(y: Doubles, *, low: float = 0.1, high: float = 0.3, most: int = 56) -> Doubles:
    """Petropoulos and Kourentzes (2015): the mean of the aggregate forecasts of all bucket lengths up to ADIDA's.

    Args:
        y: shape ``(n, periods)``.
        low: see :func:`adida`.
        high: likewise.
        most: no bucket is longer; it bounds the work for series that hardly sell.
    """
    level = np.minimum(np.nan_to_num(np.round(demand_sizes(y).interval)).astype(np.int64), most)
    closed = aligned(y)
    total = np.zeros(len(y))
    for size in range(1, int(level.max(initial=0)) + 1):
        rows = np.flatnonzero(level >= size)
        total[rows] += _bucketed(closed[rows], size, low, high)
    return np.asarray(total / np.maximum(level, 1))


def _bucketed(y: Doubles, size: int, low: float, high: float) -> Doubles:
    """The smoothed demand a period, from sums over buckets of so many periods that end at the last one."""
    whole = y.shape[1] // size * size
    sums = np.zeros((len(y), whole // size))
    for place in range(y.shape[1] - whole, y.shape[1] - whole + size):
        sums += y[:, place::size]
    columns = _filled(sums)
    return np.nan_to_num(_walk(columns, golden(columns, low, high))[0]) / size


def _filled(y: Doubles) -> Doubles:
    """Periods by series; before its first value a series has that value, so that there are no errors there."""
    is_there = ~np.isnan(y)
    first = np.take_along_axis(y, is_there.argmax(axis=1)[:, None], axis=1) if y.shape[1] else y[:, :0]
    return np.ascontiguousarray(np.where(is_there, y, first).T)


def _walk(columns: Doubles, alpha: Doubles) -> tuple[Doubles, Doubles]:
    """The level after the last column, and the sum of squared errors."""
    if not len(columns):
        return np.full(columns.shape[1], np.nan), np.zeros(columns.shape[1])
    level, squares = columns[0].copy(), np.zeros(columns.shape[1])
    for column in columns[1:]:
        error = column - level
        squares += error * error
        level += alpha * error
    return level, squares
