"""A batch turned into orders: for each series how much to order now, and what that is expected to cost.

The forecasts of the periods that an order has to last are summed, and how such sums err is learnt from the backtest
that the release holds, as its cost was (:mod:`everloop.validate.ordering`). Orders go where a batch goes, by the same
way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.digest import digest_json
from everloop.core.errors import NotFoundError, SettingsError, UsageError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.data.panel import Panel, join_key, split_key
from everloop.models.order_errors import SumErrors
from everloop.release.bundle import open_release
from everloop.release.manifest import Manifest
from everloop.serve.batch.making import Batch
from everloop.serve.batch.rows import CUTOFF, PREDICTION, BatchRows
from everloop.serve.batch.stock import Stock
from everloop.stats.newsvendor import critical_ratio, in_packs
from everloop.validate.ordering import LOOK_BACK, Ordering, past_sums, spread_at
from everloop.validate.totals import PastWindows, read_windows

__all__ = ["OrderRows", "Orders", "order_rows"]

Floats = NDArray[np.float64]
_LEAST_WINDOWS = 2
_BLOCK_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Orders:
    """An order for each series of a batch; each of shape ``(n,)``.

    Attributes:
        demand: expected over the periods that the order has to last.
        stock: on hand.
        on_order: on its way.
        level: the quantile of demand that stock and orders should reach; NaN where the backtest tells too little.
        quantity: to order, in whole packs; NaN likewise.
        cost: expected at the end of the periods; NaN likewise.
        ratio: the probability that demand is met, at the level.
    """

    demand: Floats
    stock: Floats
    on_order: Floats
    level: Floats
    quantity: Floats
    cost: Floats
    ratio: Floats

    def columns(self) -> dict[str, Floats]:
        """The numbers by the names that they are written under, after the expected demand."""
        return {
            "stock": self.stock,
            "on_order": self.on_order,
            "order_up_to": self.level,
            "order_quantity": self.quantity,
            "expected_cost": self.cost,
            "critical_ratio": self.ratio,
        }


@dataclass(frozen=True, slots=True)
class OrderRows(BatchRows):
    """The rows of orders: series columns, the first period, ``forecast`` (of all periods together), the order.

    Attributes:
        orders: the orders.
        traced: the id of the prediction that they were made from.
    """

    orders: Orders
    traced: str

    @property
    def height(self) -> int:
        """How many rows there are."""
        return len(self.orders.demand)

    @property
    def bounds(self) -> list[str]:
        """The columns of numbers after the forecast."""
        return list(self.orders.columns())

    def plain(self, series: slice = slice(None)) -> pl.DataFrame:
        """The rows with the release and the prediction that they go back to.

        Args:
            series: which series, by number.
        """
        told = (pl.lit(self.batch.release).alias("release"), pl.lit(self.traced).alias(PREDICTION))
        return self._numbers(series).with_columns(*told)

    def blocks(self) -> Iterator[pl.DataFrame]:
        """All of :meth:`plain`, in blocks of about 200,000 rows."""
        for first in range(0, max(self.height, 1), _BLOCK_ROWS):
            yield self.plain(slice(first, first + _BLOCK_ROWS))

    def keyed_blocks(self) -> Iterator[pl.DataFrame]:
        """The blocks of a table that holds the orders of many cutoffs."""
        cutoff, told = self.cutoff, pl.lit(self.batch.prediction_id).alias(PREDICTION)
        for first in range(0, max(self.height, 1), _BLOCK_ROWS):
            block = self._numbers(slice(first, first + _BLOCK_ROWS))
            yield block.select(pl.lit(cutoff.item(), dtype=cutoff.dtype).alias(CUTOFF), pl.all(), told)

    def _numbers(self, series: slice) -> pl.DataFrame:
        keys = [split_key(key) for key in self.batch.values.series[series]]
        columns = [
            pl.Series(name, [key[part] for key in keys], dtype=pl.String) for part, name in enumerate(self.series)
        ]
        first = pl.Series(np.full(len(keys), self.batch.values.times[0])).cast(pl.Datetime("us"))
        columns.append(self._instants(self.time, first))
        numbers = {"forecast": self.orders.demand, **self.orders.columns()}
        columns += [pl.Series(name, each[series]).fill_nan(None) for name, each in numbers.items()]
        return pl.DataFrame(columns)


def order_rows(project: Project, batch: Batch, stock: Stock) -> OrderRows:
    """The orders of a batch, as rows to write.

    Args:
        project: the project; ``costs`` says what an order's error costs.
        batch: the forecasts of every series.
        stock: what is there and on its way, for each series of the batch.

    Raises:
        SettingsError: costs are not set.
        UsageError: a cost is a multiple of a column that is not there, or the backtest has too few windows.
        NotFoundError: the release or its backtest is not on this machine, or the data of the batch have gone.
    """
    ordering = Ordering.of(project.settings)
    if ordering is None:
        raise SettingsError(
            "settings_missing",
            "costs.overstock and costs.stockout are not set",
            hint="say in [costs] what a unit too many and one too few costs",
            path="costs",
        )
    panel, rows, windows = _sources(project, batch)
    orders = _orders(ordering, panel, windows, rows, batch.values.mean, stock)
    unknown = int(np.isnan(orders.quantity).sum())
    notes = (*batch.values.notes, *stock.notes)
    if unknown:
        notes += (f"no order for {unknown} series: too few past errors for their critical ratio, or no known cost",)
    # what an order depends on beside the forecast
    digest = digest_json([repr(ordering), stock.on_hand.tolist(), stock.on_order.tolist()])[:12]
    named = replace(
        batch, prediction_id=f"{batch.prediction_id}:orders:{digest}", values=replace(batch.values, notes=notes)
    )
    plain = BatchRows.of(project, named)
    return OrderRows(named, plain.series, plain.time, plain.has_dates, orders, batch.prediction_id)


def _orders(
    ordering: Ordering,
    panel: Panel,
    windows: PastWindows,
    rows: NDArray[np.int64],
    forecast: Floats,
    stock: Stock,
) -> Orders:
    """The orders of some series of a panel, whose forecasts are given."""
    errors = SumErrors.collect(past_sums(ordering, windows, panel))
    demand = np.full(panel.n_series, np.nan)
    demand[rows] = forecast[:, : ordering.periods].sum(axis=1)
    spread = spread_at(panel, panel.cutoff, demand, ordering.periods)[rows]
    overstock, stockout = (each[rows] for each in ordering.costs(panel, panel.cutoff))
    ratio = critical_ratio(overstock, stockout)
    level, distribution = errors.demand(demand[rows], spread, ratio)
    there = stock.on_hand + stock.on_order
    quantity = in_packs(distribution, level, there, (overstock, stockout), pack=ordering.pack)
    cost = distribution.cost(there + quantity, overstock, stockout)
    return Orders(demand[rows], stock.on_hand, stock.on_order, level, quantity, cost, ratio)


def _sources(project: Project, batch: Batch) -> tuple[Panel, NDArray[np.int64], PastWindows]:
    """The panel at the batch's cutoff, the row of each of the batch's series, and the release's backtest."""
    release = open_release(project.releases / batch.release, digest=batch.release)
    panel, missing = None, ""
    for history in (_reach(project, release.manifest, batch), 0):
        # all is read where a series has not been seen for long
        panel, _ = load_panel(project, cutoff=batch.cutoff, history=history, horizon=0)
        number = {join_key(key): row for row, key in enumerate(panel.keys)}
        missing = next((key for key in batch.values.series if key not in number), "")
        if not missing:
            break
    if missing or panel is None:
        raise NotFoundError(
            "order_series",
            f"the series {missing!r} is forecast, and is not in the data",
            hint="were rows deleted since? bring the model up to date: everloop tick",
        )
    windows = read_windows(release.folder, panel)
    if len(windows.cutoffs) < _LEAST_WINDOWS:
        raise UsageError(
            "order_windows",
            "the release's backtest has one window, which does not tell how windows differ",
            hint="set validate.windows to 3 or more and make a release: everloop run",
            path="validate.windows",
        )
    return panel, np.array([number[key] for key in batch.values.series], dtype=np.int64), windows


def _reach(project: Project, manifest: Manifest, batch: Batch) -> int:
    """How many periods of the past the release's windows and the sizes of the series need."""
    frequency = Frequency.parse(project.settings.data.frequency)
    plan = manifest.metrics.get("plan")
    if plan is None:  # trained elsewhere
        return LOOK_BACK
    since = frequency.index_of(batch.cutoff) - frequency.index_of(datetime.fromisoformat(manifest.cutoff))
    # a grid that begins elsewhere may put one instant into the period before
    return int(since + 1 + plan["horizon"] + (plan["windows"] - 1) * plan["step"] + LOOK_BACK)
