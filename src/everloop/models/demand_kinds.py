"""Kinds of demand: smooth, erratic, intermittent and lumpy, and short series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everloop.models.intermittent import demand_sizes

__all__ = ["KINDS", "kinds_of"]

KINDS = ("short", "smooth", "erratic", "intermittent", "lumpy")

_INTERVAL = 1.32
_VARIATION = 0.49


def kinds_of(y: NDArray[np.float64], least: int) -> NDArray[np.int64]:
    """The kind of each series, as a place in :data:`KINDS`.

    By mean interval between demands (1.32) and squared coefficient of variation of their sizes (0.49): the scheme of
    Syntetos, Boylan and Croston (2005). A series without demand is intermittent.

    Args:
        y: shape ``(n, periods)``, NaN where there is no value.
        least: a series with fewer observed periods is short.
    """
    sizes = demand_sizes(y)
    is_sparse = ~(sizes.interval < _INTERVAL)
    is_wild = sizes.variation >= _VARIATION
    kind = 1 + is_wild.astype(np.int64) + 2 * is_sparse.astype(np.int64)
    return np.where(sizes.periods < least, 0, kind)
