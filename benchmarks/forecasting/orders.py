"""Orders by forecasts on windows that nobody has seen: what they cost, and how often they met demand.

Each window is ordered for a week by the errors of the three windows before it, as a release would be with the default
settings. A window's outcomes share its shocks, so windows are the cases: intervals are Student's over windows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from everloop.core.settings.costs import UnitCost
from everloop.data.panel import Panel
from everloop.experiment.training import available_threads
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext
from everloop.models.order_errors import SumErrors
from everloop.stats.newsvendor import critical_ratio, in_packs, order_cost
from everloop.validate.backtest import BacktestPlan, run_backtest
from everloop.validate.ordering import Ordering, past_sums
from everloop.validate.totals import PastWindows
from forecasting.intermittent_panels import data_folder, m5_stores
from forecasting.rossmann import load_shops
from measuring.claims import claim_of

__all__ = ["measure"]

_Floats = NDArray[np.float64]
_STOCKOUTS = (1.0, 4.0, 19.0)
"""The cost of a unit too few in that of one too many: critical ratios of 50, 80 and 95 %."""
_OVERSTOCK, _PERIODS, _LEARNT = 0.05, 7, 3
_WITHIN = 0.03
_STEP = 14
"""Days between two orders that are judged; the week of the one before is over by then."""
_OURS = "lightgbm"


@dataclass(frozen=True)
class _Set:
    """Real sales, and what a unit of them costs: a share of its price, or of one where sales are money."""

    name: str
    panel: Panel
    horizon: int
    column: str


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Cost and service by data set, costs and policy; cost of ordering quantiles beside that of other policies.

    Args:
        quick: fewer windows.
    """
    folder = data_folder()
    if folder is None:
        return [{"skipped": "EVERLOOP_DATA names no folder with real sales"}], []
    windows = _LEARNT + (2 if quick else 12)
    rows, claims = [], []
    for data in (
        _Set("M5, store CA_1", m5_stores(folder, "CA_1").panel(1941, horizon=0), 28, "price"),
        _Set("Rossmann", _rossmann(folder), 42, ""),
    ):
        found = {}
        for candidate in (_OURS, "seasonal_naive"):
            started = time.process_time()
            past = _backtest(data, candidate, windows)
            took = time.process_time() - started
            for stockout in _STOCKOUTS:
                for policy, judged in _judged(data, past, stockout).items():
                    found[stockout, candidate, policy] = judged
                    rows.append(_row(data, (stockout, candidate, policy), judged, took))
        claims += _claims(data, found)
    return rows, claims


def _rossmann(folder: Path) -> Panel:
    shops = load_shops(folder / "rossmann")
    return shops.panel(len(shops.days))


def _backtest(data: _Set, candidate: str, windows: int) -> PastWindows:
    context = FitContext(horizon=data.horizon, levels=(), threads=available_threads())
    plan = BacktestPlan(windows, data.horizon, _STEP)
    backtest = run_backtest(lambda: make_forecaster(candidate), data.panel, plan, context, name=candidate)
    return PastWindows.of(backtest, data.panel)


def _judged(data: _Set, windows: PastWindows, stockout: float) -> dict[str, list[tuple[float, float, float]]]:
    """By policy, of each window: the cost of its orders, the demand, and the share of orders that met it."""
    overstock, missing = (UnitCost(each * _OVERSTOCK, data.column) for each in (1.0, stockout))
    ordering = Ordering(overstock, missing, _PERIODS, 1.0)
    past = past_sums(ordering, windows, data.panel)
    found: dict[str, list[tuple[float, float, float]]] = {"quantile": [], "forecast": []}
    for number in range(_LEARNT, len(windows.cutoffs)):
        costs = ordering.costs(data.panel, int(windows.cutoffs[number]))
        before = np.zeros(len(windows.cutoffs), dtype=np.bool_)
        before[number - _LEARNT : number] = True
        errors = SumErrors.collect(past.only(before))
        mean, actual = past.mean[number], past.actual[number]
        level, demand = errors.demand(mean, past.spread[number], critical_ratio(*costs))
        nothing = np.zeros(len(mean))
        orders = {
            "quantile": (in_packs(demand, level, nothing, costs, pack=1.0), level),
            "forecast": (np.round(np.maximum(mean, 0.0)), mean),
        }
        for policy, (order, reached) in orders.items():
            cost = order_cost(order, actual, *costs)
            is_told = np.isfinite(cost)
            met = float((actual[is_told] <= reached[is_told]).mean())
            found[policy].append((float(cost[is_told].sum()), float(np.abs(actual[is_told]).sum()), met))
    return found


def _row(
    data: _Set, key: tuple[float, str, str], judged: list[tuple[float, float, float]], took: float
) -> dict[str, Any]:
    stockout, candidate, policy = key
    table = np.array(judged)
    per_unit = table[:, 0] / table[:, 1]
    return {
        "data": data.name,
        "critical ratio": stockout / (1 + stockout),
        "candidate": candidate,
        "order by": policy,
        "windows": len(judged),
        "cost in all": round(float(table[:, 0].sum()), 1),
        "cost for each sold": round(float(per_unit.mean()), 4),
        "± (95 %)": round(_half(per_unit), 4),
        "demand met": round(float(table[:, 2].mean()), 4),
        "± (95 %) ": round(_half(table[:, 2]), 4),
        "backtest CPU s": round(took),
    }


def _claims(data: _Set, found: dict[tuple[float, str, str], list[tuple[float, float, float]]]) -> list[dict[str, Any]]:
    claims = []
    name = data.name.split(",")[0].lower()
    for stockout in _STOCKOUTS:
        ratio = stockout / (1 + stockout)
        costs = {key: np.array(each)[:, 0] for key, each in found.items() if key[0] == stockout}
        ours = costs[stockout, _OURS, "quantile"]
        for candidate, policy in (
            (_OURS, "forecast"),
            ("seasonal_naive", "quantile"),
            ("seasonal_naive", "forecast"),
        ):
            logs = np.log(ours / costs[stockout, candidate, policy])
            middle, half = float(logs.mean()), _half(logs)
            claims.append(
                claim_of(
                    f"cost-{name}-{ratio:.2f}-{candidate}-{policy}",
                    f"{data.name}, critical ratio {ratio:.0%}: cost of ordering the quantile by {_OURS} over that of "
                    f"ordering the {policy} by {candidate}",
                    "ratio",
                    1.0,
                    float(np.exp(middle)),
                    (float(np.exp(middle - half)), float(np.exp(middle + half))),
                    is_most=True,
                )
            )
        met = np.array(found[stockout, _OURS, "quantile"])[:, 2]
        off, half = float(met.mean()) - ratio, _half(met)
        claims.append(
            claim_of(
                f"service-{name}-{ratio:.2f}",
                f"{data.name}: how far the share of demands met lies from the critical ratio of {ratio:.0%}",
                "share",
                _WITHIN,
                abs(off),
                (max(abs(off) - half, 0.0), abs(off) + half),
                is_most=True,
                note=f"met {met.mean():.3f}, plus or minus {half:.3f}",
            )
        )
    return claims


def _half(values: _Floats) -> float:
    """Half of Student's 95 % interval of a mean."""
    return float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
