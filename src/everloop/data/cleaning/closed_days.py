"""Closed days: days on which a whole store sold next to nothing, and surely not by chance.

A day is one where a store's total is at most 2 % of its usual total (the median of the last eight same places in
the season), and where so many series at zero on one day have, taken one by one with the share of zeros of their recent
window, a probability of at most one in a million. What is marked depends on that day and earlier ones alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everloop.data.cleaning.block import counts_before, rectangles
from everloop.data.cleaning.windows import Reach
from everloop.data.panel import Panel

__all__ = ["closed_days", "stores_of"]

_SHARE = 0.02
_LOG_BOUND = np.log(1e-6)
_SEASONS = 8
_LEAST_SEASONS = 4


def stores_of(panel: Panel, column: str) -> NDArray[np.int64]:
    """The number of the store that each series belongs to; one for all where no column is named."""
    if not column:
        return np.zeros(panel.n_series, dtype=np.int64)
    if column in panel.series_columns:
        place = panel.series_columns.index(column)
        values = np.array([key[place] for key in panel.keys])
    else:
        values = panel.static[column]
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def closed_days(panel: Panel, stores: NDArray[np.int64], reach: Reach) -> NDArray[np.bool_]:
    """Which columns (periods up to the cutoff, as many as the longest series has) each store was closed on.

    Returns:
        Shape ``(stores, columns)``.
    """
    n, columns = int(stores.max(initial=0)) + 1, int(panel.lengths.max(initial=0))
    totals, (chance, seen) = np.zeros((n, columns)), np.zeros((2, n, columns), dtype=np.int64)
    for block in rectangles(panel):
        is_there = np.isfinite(block.y)
        is_zero = is_there & (block.y <= 0)
        p = (counts_before(is_zero, reach.recent) + 0.5) / (counts_before(is_there, reach.recent) + 1)
        sold = np.where(is_there, np.maximum(block.y, 0), 0).astype(np.float64)
        # in whole parts of a million, whose sum does not depend on the order
        logs = np.where(is_zero, np.rint(np.log(p) * 1e6), 0).astype(np.int64)
        for store in np.unique(stores[block.series]).tolist():
            own = stores[block.series] == store
            totals[store] += sold[own].sum(axis=0)
            chance[store] += logs[own].sum(axis=0)
            seen[store] += is_there[own].sum(axis=0)
    usual = _usual(np.where(seen > 0, totals, np.nan), reach.season)
    with np.errstate(invalid="ignore"):
        return np.asarray((seen > 0) & (usual > 0) & (totals <= _SHARE * usual) & (chance <= _LOG_BOUND * 1e6))


def _usual(totals: NDArray[np.float64], season: int) -> NDArray[np.float64]:
    """The median of the last eight same places in the season before each column, NaN where fewer than four."""
    n, columns = totals.shape
    lags = np.full((_SEASONS, n, columns), np.nan)
    for back in range(1, _SEASONS + 1):
        lags[back - 1, :, back * season :] = totals[:, : max(columns - back * season, 0)]
    lags = np.sort(lags, axis=0)  # NaN last
    count = np.isfinite(lags).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, _SEASONS - 1)
    middle = [np.take_along_axis(lags, each[None], axis=0)[0] for each in (low, high)]
    return np.where(count >= _LEAST_SEASONS, (middle[0] + middle[1]) / 2, np.nan)
