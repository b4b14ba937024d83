"""Orders of past windows: what they cost, what they may know, and what is said where nothing can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from everloop.core.errors import SettingsError, UsageError
from everloop.core.project import Project
from everloop.core.settings.costs import UnitCost
from everloop.data.panel import Panel
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext
from everloop.validate.backtest import Backtest, BacktestPlan, run_backtest
from everloop.validate.ordering import Ordering, order_windows, past_sums, score_orders
from everloop.validate.scores import evaluate, score_backtest
from everloop.validate.totals import PastWindows

PLAIN = Ordering(UnitCost(1.0), UnitCost(4.0), 7, 1.0)
SET = ("costs.overstock=1", "costs.stockout=4")


def backtest_of(panel: Panel, windows: int = 4, *, horizon: int = 7, step: int = 7) -> Backtest:
    context = FitContext(horizon=horizon, levels=(80.0,), threads=1)
    plan = BacktestPlan(windows=windows, horizon=horizon, step=step)
    return run_backtest(lambda: make_forecaster("seasonal_naive"), panel, plan, context)


def test_costs_are_those_of_the_orders(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(60)
    backtest = backtest_of(panel)
    orders = score_orders(PLAIN, backtest, panel)
    sold = np.concatenate([fold.actual.sum(axis=1) for fold in backtest.folds])
    assert orders.sold == pytest.approx(sold)
    assert (orders.order == np.round(orders.order)).all()
    slow = [1.0 * max(o - d, 0) + 4.0 * max(d - o, 0) for o, d in zip(orders.order, sold, strict=True)]
    assert orders.cost == pytest.approx(slow)
    scores = score_backtest(backtest, panel, slices=["dept"], ordering=PLAIN)
    assert scores.overall["cost"].value == pytest.approx(sum(slow) / sold.sum())
    assert scores.overall["cost_in_all"].value == pytest.approx(sum(slow))
    assert scores.overall["in_stock"].value == pytest.approx(np.mean(orders.order >= sold))
    assert sum(each["cost_in_all"].value or 0 for each in scores.by_fold) == pytest.approx(sum(slow))
    assert set(scores.by_slice["dept"]["food"]) >= {"wape", "cost"}
    assert "cost" not in scores.by_step[0]
    assert evaluate(scores, scores).skill["cost"] == 0.0
    assert "cost" not in score_backtest(backtest, panel).overall, "without costs nothing is added"


def test_the_service_level_is_the_critical_ratio(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(300, 160)
    backtest = backtest_of(panel, 6)
    for stockout in (0.5, 1.0, 4.0, 9.0):
        ratio = stockout / (1 + stockout)
        fine = Ordering(UnitCost(1.0), UnitCost(stockout), 7, 0.001)
        orders = score_orders(fine, backtest, panel)
        low, high = binom.interval(0.999, len(orders.order), ratio)
        met = (orders.sold <= orders.order + 1e-9).sum()
        # sums are whole numbers, so that some lie on the quantile itself
        assert low - 10 <= met <= high + 0.03 * len(orders.order)


def test_an_order_knows_neither_its_own_window_nor_what_overlaps_it(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(60)
    backtest = backtest_of(panel, 6, horizon=14, step=7)
    ordering = replace(PLAIN, periods=14)
    windows = PastWindows.of(backtest, panel)
    place = 2
    order = _orders(ordering, windows, panel)[place]
    changed = windows.actual.copy()
    changed[place - 1 : place + 2] += 50.0
    blind = replace(windows, actual=changed)
    later = panel.y.copy()
    drop = panel.cutoff - int(windows.cutoffs[place])
    for end in panel.offsets[1:]:
        later[end - drop : end] += 1000.0
    assert _orders(ordering, blind, panel)[place].tolist() == order.tolist()
    sums = [past_sums(ordering, windows, each).spread[place] for each in (panel, replace(panel, y=later))]
    assert sums[0].tolist() == sums[1].tolist(), "the unit of errors is that of the cutoff"
    changed[place + 2] += 50.0
    assert _orders(ordering, replace(windows, actual=changed), panel)[place].tolist() != order.tolist()


def _orders(ordering: Ordering, windows: PastWindows, panel: Panel) -> np.ndarray:
    return order_windows(ordering, windows.cutoffs, past_sums(ordering, windows, panel), panel)[0]


def test_prices_are_those_of_the_cutoff(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(12)
    ordering = Ordering(UnitCost(0.1, "price"), UnitCost(2.0), 7, 1.0)
    price = panel.known["price"].copy()
    cutoff = panel.cutoff - 3
    at = panel.offsets[1:] - 4
    price[at[0]] = np.nan
    for end in panel.offsets[1:]:
        price[end - 3 : end] = 99.0
    over, under = ordering.costs(replace(panel, known={"price": price}), cutoff)
    assert over[1:] == pytest.approx(0.1 * panel.known["price"][at[1:]], rel=1e-6)
    assert over[0] == pytest.approx(0.1 * panel.known["price"][at[0] - 1], rel=1e-6)
    assert (under == 2.0).all()
    with pytest.raises(UsageError, match="'prise' is no column of numbers") as caught:
        replace(ordering, overstock=UnitCost(0.1, "prise")).costs(panel, cutoff)
    assert caught.value.code == "cost_column"
    assert caught.value.hint == "did you mean 'price'?"


def test_what_cannot_be_told_has_a_reason(make_panel: Callable[..., Panel]) -> None:
    panel = make_panel(60)
    backtest = backtest_of(panel, 2)
    found = score_backtest(backtest, panel, ordering=PLAIN).overall
    for name in ("cost", "cost_in_all", "in_stock"):
        assert found[name].value is None
        assert "2 windows or more that share no period with theirs, here are 1" in found[name].reason
    backtest = backtest_of(panel, 3)
    folds = backtest.folds
    worse = replace(backtest, folds=(*folds[:2], replace(folds[2], mean=folds[2].mean * np.nan)))
    assert score_backtest(worse, panel, ordering=PLAIN).overall["cost"].value is None


def test_settings_that_cannot_be(make_project: Callable[..., Project]) -> None:
    cases = {
        ("costs.overstock=1",): ("costs", "costs.overstock needs costs.stockout too"),
        ("costs.overstock=cheap", "costs.stockout=1"): ("costs.overstock", "multiple of a column"),
        ("costs.overstock=-1", "costs.stockout=1"): ("costs.overstock", "money above zero"),
        (*SET, "costs.periods=15"): ("costs.periods", "15 steps are more than the forecast's 14"),
        ("validate.metric=cost",): ("validate.metric", "needs costs.overstock and costs.stockout"),
        (*SET, "validate.metric=cost"): ("validate.windows", "needs validate.windows = 3 or more"),
        (*SET, "costs.pack=0"): ("costs.pack", "number > 0"),
    }
    for number, (overrides, (path, words)) in enumerate(cases.items()):
        with pytest.raises(SettingsError, match=words) as caught:
            make_project(*overrides, name=f"p{number}")
        assert caught.value.path == path
        assert caught.value.hint


def test_settings_say_how_orders_are_placed(make_project: Callable[..., Project]) -> None:
    assert Ordering.of(make_project().settings) is None
    found = Ordering.of(make_project("costs.overstock=0.1 price", "costs.stockout=2", "costs.pack=6").settings)
    assert found == Ordering(UnitCost(0.1, "price"), UnitCost(2.0), 7, 6.0)
    found = Ordering.of(make_project(*SET, "forecast.horizon=5", "validate.windows=3", "validate.metric=cost").settings)
    assert found is not None
    assert found.periods == 5
