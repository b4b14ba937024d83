"""How much to order before demand is known: the newsvendor's question.

One unit too many costs ``overstock``, one too few ``stockout``. The expected cost is least where demand stays at or
below the order with probability ``stockout / (stockout + overstock)`` (Arrow, Harris and Marschak 1951, "Optimal
inventory policy", Econometrica 19(3); Edgeworth 1888 for a bank's reserves). It is convex in the order, so that of the
multiples of a pack the one just below or just above that quantile is the best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Demand", "critical_ratio", "in_packs", "order_cost"]

Floats = NDArray[np.float64]


def critical_ratio(overstock: Floats, stockout: Floats) -> Floats:
    """With which probability demand should be met in full; NaN where a cost is not above zero.

    >>> critical_ratio(np.array([1.0]), np.array([4.0]))
    array([0.8])
    """
    is_usable = (overstock > 0) & (stockout > 0)
    whole = np.where(is_usable, overstock + stockout, 1.0)
    return np.where(is_usable, stockout / whole, np.nan)


def order_cost(order: Floats, demand: Floats, overstock: Floats, stockout: Floats) -> Floats:
    """What an order cost in the end: ``overstock * left + stockout * missing``.

    Args:
        order: how much there was, any shape; the others are of the same or broadcast to it.
        demand: how much was asked for; below zero (more returned than sold) the whole order and that much are left.
        overstock: the cost of a unit that is left.
        stockout: the cost of a unit that is missing.

    >>> order_cost(np.array([5.0, 5.0]), np.array([3.0, 9.0]), np.array(1.0), np.array(4.0))
    array([ 2., 16.])
    """
    left = np.maximum(order - demand, 0.0)
    missing = np.maximum(demand - order, 0.0)
    return np.asarray(overstock * left + stockout * missing)


class Demand:
    """Demand as ``max(mean + scale * score, 0)``, each score of a pool as likely as any other; for ``n`` series.

    Args:
        mean: the forecast, shape ``(n,)``.
        scale: the size of its errors, shape ``(n,)``.
        pools: the pool of each, shape ``(n,)``.
        scores: the scores, pool after pool, each pool in rising order.
        offsets: where each pool begins, and the end.
    """

    def __init__(
        self,
        mean: Floats,
        scale: Floats,
        pools: NDArray[np.int64],
        scores: NDArray[np.floating],
        offsets: NDArray[np.int64],
    ) -> None:
        self._mean, self._scale, self._pools = mean, scale, pools
        self._scores, self._offsets = scores.astype(np.float64), offsets

    def cost(self, order: Floats, overstock: Floats, stockout: Floats) -> Floats:
        """The expected cost of orders, shape ``(n,)``; NaN where nothing is known.

        >>> demand = Demand(np.array([2.0]), np.array([1.0]), np.array([0]), np.array([-3.0, 1.0]), np.array([0, 2]))
        >>> demand.cost(np.array([1.0]), np.array([1.0]), np.array([4.0]))  # demand is 0 or 3
        array([4.5])
        """
        short = self._shortfall(order)
        # of an order s >= 0: (s - max(d, 0))+ = (s - d)+ - (0 - d)+, and (max(d, 0) - s)+ = d - s + (s - d)+
        left = short - self._shortfall(np.zeros_like(order))
        missing = self._average() - order + short
        return np.asarray(overstock * left + stockout * missing)

    def _shortfall(self, order: Floats) -> Floats:
        """The expectation of ``(order - mean - scale * score)+``."""
        out = np.full(len(order), np.nan)
        for pool, own, scores in self._each():
            target = (order[own] - self._mean[own]) / self._scale[own]
            below = np.searchsorted(scores, target)
            sums = np.concatenate([[0.0], np.cumsum(scores)])[below]
            out[own] = self._scale[own] * (below * target - sums) / self._count(pool)
        return out

    def _average(self) -> Floats:
        """The expectation of ``mean + scale * score``."""
        out = np.full(len(self._mean), np.nan)
        for _, own, scores in self._each():
            out[own] = self._mean[own] + self._scale[own] * scores.mean()
        return out

    def _count(self, pool: int) -> int:
        return int(self._offsets[pool + 1] - self._offsets[pool])

    def _each(self) -> list[tuple[int, NDArray[np.int64], Floats]]:
        """Each pool with scores, which series are in it, and the scores."""
        is_usable = np.isfinite(self._mean) & np.isfinite(self._scale) & (self._scale > 0)
        found = []
        for pool in np.unique(self._pools).tolist():
            own = np.flatnonzero((self._pools == pool) & is_usable)
            if len(own) and self._count(pool):
                found.append((pool, own, self._scores[self._offsets[pool] : self._offsets[pool + 1]]))
        return found


def in_packs(demand: Demand, level: Floats, stock: Floats, costs: tuple[Floats, Floats], *, pack: float) -> Floats:
    """How much to order so that stock and order come near a level: the multiple of a pack that costs less.

    Args:
        demand: what is expected.
        level: the best stock if any amount could be ordered, shape ``(n,)``; NaN gives NaN.
        stock: what is there or on its way, shape ``(n,)``.
        costs: of a unit too many and one too few, shape ``(n,)`` each.
        pack: in which multiples one orders, above zero.
    """
    # what is a whole number of packs but for rounding must not become one more
    least = np.floor(np.maximum(level - stock, 0.0) / pack + 1e-9) * pack
    most = np.ceil(np.maximum(level - stock, 0.0) / pack - 1e-9) * pack
    is_more = demand.cost(stock + most, *costs) < demand.cost(stock + least, *costs)
    return np.where(is_more, most, least)
