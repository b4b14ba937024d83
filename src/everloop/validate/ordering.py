"""What the errors of forecasts cost: orders as they would have been placed at each cutoff, and the money they lost.

At the cutoff of each window of a backtest every series is ordered up to the quantile of its demand over the periods
that an order has to last, at the critical ratio of its costs (:mod:`everloop.stats.newsvendor`), as if nothing were in
stock. How forecasts err is learnt from other windows that share none of these periods with the one that is judged. What
is left at the end costs ``overstock``, what was missing ``stockout``, at the prices of the cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import UsageError, nearest
from everloop.core.frequency import Frequency
from everloop.core.settings.costs import UnitCost
from everloop.core.settings.whole import Settings
from everloop.data.panel import Panel
from everloop.models.order_errors import PastSums, SumErrors, spread_of_sums
from everloop.stats.newsvendor import critical_ratio, in_packs, order_cost
from everloop.validate.backtest import Backtest
from everloop.validate.metrics import DEMAND, Cells, Measure
from everloop.validate.totals import PastWindows

__all__ = [
    "COST",
    "COST_IN_ALL",
    "IN_STOCK",
    "LOOK_BACK",
    "OrderScores",
    "Ordering",
    "order_windows",
    "past_sums",
    "score_orders",
    "spread_at",
]

Floats = NDArray[np.float64]

COST, COST_IN_ALL, IN_STOCK = "cost", "cost_in_all", "in_stock"
LOOK_BACK = 224
"""How many periods before a cutoff tell the size of a series and its last price."""
_LEAST_WINDOWS = 2
_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Ordering:
    """How orders are placed.

    Attributes:
        overstock: the cost of a unit too many.
        stockout: the cost of a unit too few.
        periods: how many steps an order has to last.
        pack: orders are multiples of this.
    """

    overstock: UnitCost
    stockout: UnitCost
    periods: int
    pack: float

    @classmethod
    def of(cls, settings: Settings) -> Ordering | None:
        """What the settings say, ``None`` where they tell no costs."""
        costs = settings.costs
        if not costs.is_set:
            return None
        usual = min(Frequency.parse(settings.data.frequency).season, settings.forecast.horizon)
        overstock, stockout = UnitCost.parse(costs.overstock), UnitCost.parse(costs.stockout)
        return cls(overstock, stockout, costs.periods or usual, costs.pack)

    def costs(self, panel: Panel, cutoff: int) -> tuple[Floats, Floats]:
        """What a unit too many and one too few cost by what was known at a cutoff, shape ``(n_series,)`` each.

        Raises:
            UsageError: there is no such column of numbers.
        """
        return tuple(  # type: ignore[return-value]
            _unit_cost(cost, panel, cutoff, f"costs.{name}")
            for name, cost in (("overstock", self.overstock), ("stockout", self.stockout))
        )


@dataclass(frozen=True, slots=True)
class OrderScores:
    """What the orders of a backtest came to; each of shape ``(rows,)``, a row one series in one window.

    Attributes:
        cost: in money; NaN where it cannot be told.
        sold: the demand.
        order: how much there was.
        mean: the forecast of the demand.
        reason: why some rows have no cost.
    """

    cost: Floats
    sold: Floats
    order: Floats
    mean: Floats
    reason: str

    def cells(self) -> dict[str, Cells]:
        """Cost for each unit sold, and the share of orders that met all demand."""
        enters = np.isfinite(self.cost)
        left_out = np.isfinite(self.sold) & np.isfinite(self.mean) & ~enters
        broken = np.isfinite(self.sold) & ~np.isfinite(self.mean)
        met = (self.sold <= self.order + 1e-9) & enters
        return {
            COST: _cells(self.cost, np.abs(self.sold), enters, (broken, left_out), DEMAND, self.reason),
            IN_STOCK: _cells(met.astype(float), np.ones(len(met)), enters, (broken, left_out), "orders", self.reason),
        }

    def in_all(self, where: NDArray[np.bool_] | None = None) -> Measure:
        """The money that the orders lost, of some rows or of all."""
        cost = self.cost if where is None else self.cost[where]
        told = np.isfinite(cost)
        if not told.any():
            return Measure(None, 0, "1", self.reason or "there are no actual values")
        return Measure(float(cost[told].sum()), int(told.sum()), "1", "" if told.all() else self.reason)


def score_orders(ordering: Ordering, backtest: Backtest, panel: Panel) -> OrderScores:
    """What orders by the forecasts of a backtest would have cost.

    Args:
        ordering: how orders are placed.
        backtest: the forecasts beside what happened.
        panel: the data that it was made on.

    Raises:
        UsageError: a cost is a multiple of a column that is not there.
    """
    windows = PastWindows.of(backtest, panel)
    past = past_sums(ordering, windows, panel)
    order, cost = order_windows(ordering, windows.cutoffs, past, panel)
    blocks = (cost, past.actual, order, past.mean)
    cost, sold, order, mean = (
        np.concatenate([each[number][fold.positions] for number, fold in enumerate(backtest.folds)]) for each in blocks
    )
    is_told = np.isfinite(cost) | ~np.isfinite(sold)
    return OrderScores(cost, sold, order, mean, "" if is_told.all() else _reason(ordering, windows.cutoffs))


def order_windows(
    ordering: Ordering, cutoffs: NDArray[np.int64], past: PastSums, panel: Panel
) -> tuple[Floats, Floats]:
    """The order and the cost of every window and series, shape ``(windows, n_series)`` each.

    A window with fewer than two others that share no period with it has no orders: NaN.

    Args:
        ordering: how orders are placed.
        cutoffs: of each window, the grid index of the last period that was known.
        past: the windows' sums.
        panel: the data.
    """
    order = np.full(past.mean.shape, np.nan)
    cost = np.full(past.mean.shape, np.nan)
    for number, cutoff in enumerate(cutoffs.tolist()):
        others = _apart(ordering, cutoffs, number)
        if others.sum() < _LEAST_WINDOWS:
            continue
        costs = ordering.costs(panel, cutoff)
        errors = SumErrors.collect(past.only(others))
        level, demand = errors.demand(past.mean[number], past.spread[number], critical_ratio(*costs))
        order[number] = in_packs(demand, level, np.zeros_like(level), costs, pack=ordering.pack)
        cost[number] = order_cost(order[number], past.actual[number], *costs)
    return order, cost


def past_sums(ordering: Ordering, windows: PastWindows, panel: Panel) -> PastSums:
    """The windows summed over the periods of an order; periods without an actual value count in neither sum."""
    first = windows.first(ordering.periods)
    known = np.isfinite(first.actual)
    has_any = known.any(axis=2)
    actual, mean = (
        np.where(has_any, np.where(known, each, 0.0).sum(axis=2), np.nan) for each in (first.actual, first.mean)
    )
    spread = np.stack(
        [spread_at(panel, cutoff, own, ordering.periods) for cutoff, own in zip(windows.cutoffs, mean, strict=True)]
    )
    return PastSums(actual, mean, spread)


def spread_at(panel: Panel, cutoff: int, mean: Floats, periods: int) -> Floats:
    """The unit of the errors of sums over some periods after a cutoff, as known then, shape ``(n_series,)``."""
    usual, deviation = np.zeros(panel.n_series), np.full(panel.n_series, np.nan)
    for rows in _parts(panel.n_series):
        block = _until(panel, panel.y, cutoff, rows)
        count = np.isfinite(block).sum(axis=1)
        own = np.divide(np.nansum(block, axis=1), count, out=np.zeros(len(count)), where=count > 0)
        squares = np.nansum((block - own[:, None]) ** 2, axis=1)
        deviation[rows] = np.sqrt(np.divide(squares, count, out=np.full(len(count), np.nan), where=count > 1))
        usual[rows] = np.abs(own)
    return spread_of_sums(mean, usual, deviation, periods)


def _apart(ordering: Ordering, cutoffs: NDArray[np.int64], number: int) -> NDArray[np.bool_]:
    """The windows that share no period of an order with one of them."""
    return np.asarray(np.abs(cutoffs - cutoffs[number]) >= ordering.periods)


def _reason(ordering: Ordering, cutoffs: NDArray[np.int64]) -> str:
    """Why some orders have no cost."""
    least = min(int(_apart(ordering, cutoffs, number).sum()) for number in range(len(cutoffs)))
    if least < _LEAST_WINDOWS:
        return f"orders learn from {_LEAST_WINDOWS} windows or more that share no period with theirs, here are {least}"
    return "there are too few past errors for the critical ratio, or a cost is not known"


def _unit_cost(cost: UnitCost, panel: Panel, cutoff: int, path: str) -> Floats:
    if not cost.column:
        return np.full(panel.n_series, cost.factor)
    moving = {name: each for name, each in (panel.known | panel.observed).items() if name not in panel.categories}
    fixed = {name: each for name, each in panel.static.items() if name not in panel.categories}
    if cost.column in moving:
        price = np.full(panel.n_series, np.nan)
        for rows in _parts(panel.n_series):
            block = _until(panel, moving[cost.column], cutoff, rows)[:, ::-1]
            price[rows] = block[np.arange(len(block)), np.isfinite(block).argmax(axis=1)]
    elif cost.column in fixed:
        price = fixed[cost.column].astype(np.float64)
    else:
        raise UsageError(
            "cost_column",
            f"{cost.column!r} is no column of numbers",
            hint=nearest(cost.column, [*moving, *fixed]),
            path=path,
        )
    return np.asarray(cost.factor * np.where(price > 0, price, np.nan))


def _parts(count: int) -> list[slice]:
    """All series, some at a time, so that no block of all of them is made."""
    return [slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE)]


def _until(panel: Panel, values: NDArray[np.floating], cutoff: int, rows: slice) -> Floats:
    """The periods of some series that are looked back at from a cutoff; NaN before a series begins."""
    ends = panel.offsets[1:][rows] - (panel.cutoff - cutoff)
    place = ends[:, None] + np.arange(-LOOK_BACK, 0)
    is_there = place >= panel.offsets[:-1][rows][:, None]
    block = np.full(place.shape, np.nan)
    block[is_there] = values[place[is_there]]
    return block


def _cells(
    numerator: Floats,
    denominator: Floats,
    enters: NDArray[np.bool_],
    others: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    name: str,
    why: str,
) -> Cells:
    """Cells of one step for each row; the others have no forecast, or are left out."""
    return Cells(
        np.where(enters, numerator, 0.0)[:, None],
        np.where(enters, denominator, 0.0)[:, None],
        enters[:, None],
        others[0][:, None],
        others[1][:, None],
        name,
        why,
    )
