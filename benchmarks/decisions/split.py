"""The split comparison: false promotions and false alarms under daily peeking, and days to find a better model.

Units are items in stores, which stay with their arm. All of it rests on the streams of :mod:`decisions.streams` and on
real sales, not on those that the method was made on (``tests/unit_streams.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisions.deciding import DAYS, Waits, growthbook_days, time_claim, time_rows
from decisions.rates import at_most, rate_row
from decisions.sales import Sales, load_sales
from decisions.streams import Retailer
from everloop.stats.ratio import ratio_test
from everloop.stats.split.boundary import spending
from everloop.stats.split.comparison import metric_bounds
from everloop.stats.split.draws import DRAWS
from everloop.stats.split.metrics import UnitMetric, unit_values
from everloop.stats.split.planning import first_passages
from everloop.stats.split.rule import SplitRule

__all__ = ["measure"]

Floats = NDArray[np.float64]
Rows = list[dict[str, Any]]

BEFORE = 28
RULE = SplitRule(alpha=0.05, guardrail_alpha=0.05, min_days=7, max_days=DAYS, draws=999)
_SMALL = Retailer(stores=10, items=20)
_STICKY = Retailer(stores=10, items=20, phi=0.9)


def measure(*, quick: bool) -> tuple[Rows, Rows]:
    """All rows and claims of the part."""
    runs = 100 if quick else 1000
    rows, claims = [], []
    for part in (_false_promotions, _on_real_sales, _families, _sample_ratios):
        more_rows, more_claims = part(runs)
        rows += more_rows
        claims += more_claims
    more_rows, more_claims = _time_to_decide(10 if quick else 200)
    return rows + more_rows, claims + more_claims


def _nulls() -> dict[str, Callable[[np.random.Generator], tuple[UnitMetric, float]]]:
    """A metric without any effect, and the challenger's share of the units, by case."""

    def loss(retailer: Retailer, rng: np.random.Generator) -> Floats:
        return retailer.losses(rng, BEFORE + DAYS)[0].reshape(BEFORE + DAYS, -1).T

    def plain(retailer: Retailer, share: float) -> Callable[[np.random.Generator], tuple[UnitMetric, float]]:
        return lambda rng: (UnitMetric("loss", loss(retailer, rng)[:, BEFORE:], better="lower"), share)

    def cuped(rng: np.random.Generator) -> tuple[UnitMetric, float]:
        sums = loss(_STICKY, rng)
        return UnitMetric("loss", sums[:, BEFORE:], before=sums[:, :BEFORE].sum(axis=1), better="lower"), 0.5

    def ratio(rng: np.random.Generator) -> tuple[UnitMetric, float]:
        top, bottom = (each.reshape(BEFORE + DAYS, -1).T for each in _STICKY.losses(rng, BEFORE + DAYS))
        before = {"before": top[:, :BEFORE].sum(axis=1), "before_counts": bottom[:, :BEFORE].sum(axis=1)}
        return UnitMetric("loss", top[:, BEFORE:], bottom[:, BEFORE:], better="lower", **before), 0.5

    def binary(rng: np.random.Generator) -> tuple[UnitMetric, float]:
        return UnitMetric("bought", (loss(_STICKY, rng)[:, BEFORE:] > 3).astype(np.float64)), 0.5

    def count(rng: np.random.Generator) -> tuple[UnitMetric, float]:
        return UnitMetric("visits", rng.poisson(loss(_STICKY, rng)[:, BEFORE:]).astype(np.float64)), 0.5

    return {
        "200 units": plain(_SMALL, 0.5),
        "200 units, sticky": plain(_STICKY, 0.5),
        "200 units, sticky, CUPED": cuped,
        "200 units, sticky, ratio of sums, CUPED": ratio,
        "200 units, sticky, yes or no": binary,
        "200 units, sticky, counts": count,
        "200 units, sticky, 5 % to the challenger": plain(_STICKY, 0.05),
        "20 units, sticky": plain(replace(_STICKY, stores=4, items=5), 0.5),
        "2,200 units, sticky, 10 % to the challenger": plain(replace(_STICKY, stores=110), 0.1),
    }


def _false_promotions(runs: int) -> tuple[Rows, Rows]:
    rows, claims = [], []
    for seed, (case, make) in enumerate(_nulls().items()):
        rng = np.random.default_rng([3026, seed])
        wrong = sum(_promotes(*make(rng), rng) for _ in range(runs))
        rows.append(rate_row("false promotions", case, wrong, runs))
        claims.append(at_most(f"split.false.{seed}", f"false promotions, {case}", wrong, runs, RULE.alpha))
    return rows, claims


def _promotes(metric: UnitMetric, share: float, rng: np.random.Generator) -> bool:
    units = len(metric.sums)
    deal = rng.permutation(units) < round(units * share)
    return bool(first_passages(metric, deal[None, :].astype(np.int8), rule=RULE)[0, 0])


def _on_real_sales(runs: int) -> tuple[Rows, Rows]:
    rows, claims = [], []
    found, reason = load_sales()
    for place, sales in enumerate(found):
        for what, make in (
            ("errors of one way of forecasting, two seeds, CUPED", _real_errors),
            ("sales, CUPED", _real),
        ):
            rng = np.random.default_rng([3027, place])
            wrong = 0
            for _ in range(runs):
                deal = rng.permutation(200) < 100
                metric = make(sales, deal, rng)
                spent = spending(DAYS, alpha=RULE.alpha, horizon=DAYS, first=RULE.min_days)
                bounds = metric_bounds([metric], deal.astype(np.int64), 2, spent=spent, draws=RULE.draws)
                wrong += bool((bounds[0][0].lower > 0).any())
            case = f"{sales.name}: {what}; 200 random series and times"
            rows.append(rate_row("false promotions", case, wrong, runs))
            name = f"split.false.{sales.name}.{what.split()[0].strip(',')}"
            claims.append(at_most(name, f"false promotions, {case}", wrong, runs, RULE.alpha))
    if reason:
        rows.append({"what": "false promotions", "case": "real sales", "skipped": reason})
    return rows, claims


def _window(sales: Sales, rng: np.random.Generator, weeks: int) -> tuple[Floats, NDArray[np.bool_], int]:
    """The sales of 200 series over some days with the weeks before them, which of them are known, and the first day."""
    member = rng.choice(len(sales.units), size=200, replace=False)
    first = int(rng.integers(7 * weeks, sales.units.shape[1] - BEFORE - DAYS))
    block = sales.units[member, first - 7 * weeks : first + BEFORE + DAYS].astype(np.float64)
    return np.nan_to_num(block), np.isfinite(block), first


def _real(sales: Sales, deal: NDArray[np.bool_], rng: np.random.Generator) -> UnitMetric:
    block, _, _ = _window(sales, rng, 0)
    return UnitMetric("sales", block[:, BEFORE:], before=block[:, :BEFORE].sum(axis=1))


def _real_errors(sales: Sales, deal: NDArray[np.bool_], rng: np.random.Generator) -> UnitMetric:
    """Each day is forecast by a random mean of the last eight same weekdays, drawn anew by arm, series and week."""
    weeks, days = 8, BEFORE + DAYS
    block, known, _ = _window(sales, rng, weeks)
    actual = block[:, 7 * weeks :]
    past = np.stack([block[:, 7 * (weeks - back) : 7 * (weeks - back) + days] for back in range(1, weeks + 1)])
    is_known = np.stack([known[:, 7 * (weeks - back) : 7 * (weeks - back) + days] for back in range(1, weeks + 1)])
    losses = []
    for _ in range(2):
        weight = np.repeat(rng.gamma(1.0, size=(weeks, 200, -(-days // 7))), 7, axis=2)[:, :, :days] * is_known
        total = weight.sum(axis=0)
        forecast = (weight * past).sum(axis=0) / np.where(total > 0, total, 1.0)
        losses.append(np.where(known[:, 7 * weeks :] & (total > 0), np.abs(forecast - actual), 0.0))
    sums = np.where(deal[:, None], losses[1], losses[0])[:, BEFORE:]
    before, size = losses[0][:, :BEFORE].sum(axis=1), actual[:, :BEFORE].sum(axis=1)
    return UnitMetric("error", sums, actual[:, BEFORE:], before, size, better="lower")


def _families(runs: int) -> tuple[Rows, Rows]:
    """Three challengers and five guardrails; and one challenger that harms beside two that do not."""
    units = 120
    retailer = Retailer(stores=10, items=12, phi=0.9)
    rng = np.random.default_rng(3028)
    spent = spending(DAYS, alpha=RULE.alpha, horizon=DAYS, first=1)
    late = spending(DAYS, alpha=RULE.alpha, horizon=DAYS, first=RULE.min_days)
    wins = harms = beside = 0
    for _ in range(runs):
        arm = rng.permutation(np.repeat([0, 1, 2, 3], [48, 24, 24, 24])).astype(np.int64)
        blocks = [each.reshape(DAYS, units).T for _ in range(3) for each in retailer.losses(rng, DAYS)]
        metrics = [UnitMetric(f"m{place}", block, better="lower") for place, block in enumerate(blocks)]
        wins += any(_passes(metric_bounds(metrics[:1], arm, 4, spent=late, draws=999)))
        guards = metric_bounds(metrics[1:], arm, 4, spent=spent, draws=999)
        harms += any(bool((each.upper < 0).any()) for row in guards for each in row)
        bad = replace(metrics[0], sums=metrics[0].sums * np.where(arm == 3, 3.0, 1.0)[:, None])
        beside += any(_passes(metric_bounds([bad], arm, 4, spent=late, draws=999))[:2])
    rows, claims = [], []
    for name, case, events in (
        ("challengers", "any of three challengers promoted, all like the champion", wins),
        ("beside", "any of two challengers promoted, a third three times as bad", beside),
        ("guardrails", "any of five guardrails of three challengers said to be harmed", harms),
    ):
        rows.append(rate_row("errors of a family", case, events, runs))
        claims.append(at_most(f"split.family.{name}", case, events, runs, RULE.alpha))
    return rows, claims


def _passes(bounds: Any) -> list[bool]:
    return [bool((row[0].lower > 0).any()) for row in bounds]


def _sample_ratios(runs: int) -> tuple[Rows, Rows]:
    """Daily looks at a split of 50 to 50 to which 100 new units come each day."""
    rng = np.random.default_rng(3029)
    alarms, found = 0, []
    for _ in range(runs):
        alarms += _mismatch(np.cumsum(rng.binomial(100, 0.5, DAYS))) > 0
        found.append(_mismatch(np.cumsum(rng.binomial(100, 0.45, DAYS))))
    days = np.where(np.array(found) > 0, found, np.inf)
    case = "a split of 50 to 50 that is one, 100 new units a day"
    rows = [
        rate_row("sample ratio alarms", case, alarms, runs),
        {
            "what": "days to a sample ratio alarm",
            "case": "45 to 55 instead",
            "runs": runs,
            "days": float(np.median(days)),
        },
    ]
    return rows, [at_most("split.ratio", f"sample ratio alarms, {case}", alarms, runs, 0.01)]


def _mismatch(second: NDArray[np.int64]) -> int:
    for day, count in enumerate(second.tolist(), start=1):
        if ratio_test([[100 * day - count, count]], [[0.5, 0.5]], alpha=0.01).is_mismatch:
            return day
    return 0


def _time_to_decide(runs: int) -> tuple[Rows, Rows]:
    rows, claims = [], []
    for gain in (0.02, 0.05, 0.1):
        retailer = Retailer(items=200, gain=gain, correlation=0.81)
        # a split ends by then, whether it has decided or not
        found = [(DAYS, _waits(retailer, round(1000 * gain), runs, DAYS))]
        case = f"{gain:.0%} better, 10,000 units"
        rows += time_rows(case, found)
        for own, other in (("split", "GrowthBook"), ("split, CUPED", "GrowthBook, CUPED")):
            name = f"split.time.{own[7:] or 'plain'}.{gain}"
            claims.append(time_claim(name, f"days to decide, {own}, of {other}'s: {case}", 1.0, found, (own, other)))
    return rows, claims


def _waits(retailer: Retailer, seed: int, runs: int, end: int) -> Waits:
    """The days of decision by method, where the end is set beforehand."""
    rng = np.random.default_rng([3030, seed])
    days: dict[str, list[float]] = {"split": [], "split, CUPED": []}
    moments: dict[str, list[tuple[Floats, Floats]]] = {"GrowthBook": [], "GrowthBook, CUPED": []}
    spent = spending(end, alpha=RULE.alpha, horizon=end, first=RULE.min_days)
    for _ in range(runs):
        first, second = (each.reshape(BEFORE + end, -1).T for each in retailer.losses(rng, BEFORE + end))
        arm = (rng.permutation(len(first)) < len(first) // 2).astype(np.int64)
        sums = np.where(arm[:, None] == 1, second, first)[:, BEFORE:]
        before = first[:, :BEFORE].sum(axis=1)
        for cuped in (False, True):
            metric = UnitMetric("loss", sums, before=before if cuped else None, better="lower")
            lower = metric_bounds([metric], arm, 2, spent=spent, draws=DRAWS)[0][0].lower
            name = ", CUPED" if cuped else ""
            days["split" + name].append(float((lower > 0).argmax()) + 1 if (lower > 0).any() else np.inf)
            values = unit_values(metric, np.ones(sums.shape, dtype=np.bool_))
            moments["GrowthBook" + name].append((_moments(values[arm == 0]), _moments(values[arm == 1])))
    decided = {name: growthbook_days(arms, RULE.min_days) for name, arms in moments.items()}
    return {name: np.array(each) for name, each in (days | decided).items() if each is not None}


def _moments(values: Floats) -> Floats:
    """Units, sum and sum of squares by day."""
    return np.stack([np.full(values.shape[1], len(values)), values.sum(axis=0), (values**2).sum(axis=0)], axis=1)
