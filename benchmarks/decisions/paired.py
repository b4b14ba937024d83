"""The paired comparison: false promotions under daily peeking, and days to find a better model.

Beside it on the same losses: splitting the units between the models, with the same kind of bounds, plain and with each
unit's loss before the split as covariate (CUPED); and GrowthBook's sequential rule on the split.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisions.deciding import DAYS, Waits, growthbook_days, time_claim, time_rows, until_decided
from decisions.rates import at_most, rate_row
from decisions.sales import Sales, load_sales
from decisions.streams import Retailer
from everloop.stats.paired.paths import PairedRule, paired_paths
from everloop.stats.sequential import one_sided_widths

__all__ = ["measure"]

Floats = NDArray[np.float64]

BEFORE = 28
RULE = PairedRule(alpha=0.05, min_days=7, max_days=DAYS)
_NULLS = {
    "50 stores": Retailer(),
    "50 stores, unlike models": Retailer(correlation=0.81),
    "50 stores, independent days": Retailer(phi=0.0),
    "50 stores, days hang together (0.7)": Retailer(phi=0.7),
    "50 stores, days hang together (0.9)": Retailer(phi=0.9, correlation=0.81),
    "10 stores": Retailer(stores=10, items=60, correlation=0.81),
    "10 stores, days hang together (0.7)": Retailer(stores=10, items=60, phi=0.7, correlation=0.81),
    "3 stores": Retailer(stores=3, items=60, correlation=0.81),
    "50 stores that move together": Retailer(correlation=0.81, common_share=0.1),
}


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All rows and claims of the part."""
    runs = 150 if quick else 1000
    rows, claims = _false_promotions(runs)
    more_rows, more_claims = _time_to_decide(30 if quick else 200)
    return [*rows, *more_rows], [*claims, *more_claims]


def _false_promotions(runs: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows, claims = [], []
    for seed, (case, retailer) in enumerate(_NULLS.items()):
        rng = np.random.default_rng([2026, seed])
        sums = [_by_store(*retailer.losses(rng, DAYS)) for _ in range(runs)]
        wrong, by_day = _wrong(sums)
        rows.append(rate_row("false promotions", case, wrong, runs, by_day=round(by_day, 3)))
        claims.append(at_most(f"paired.false.{seed}", f"false promotions, {case}", wrong, runs, RULE.alpha))
    found, reason = load_sales()
    for place, sales in enumerate(found):
        rng = np.random.default_rng([2027, place])
        wrong, by_day = _wrong([_by_store(*_seeds_of(sales, rng)) for _ in range(runs)])
        case = f"{sales.name}: one way of forecasting with two seeds, random items and times"
        rows.append(rate_row("false promotions", case, wrong, runs, by_day=round(by_day, 3)))
        claims.append(at_most(f"paired.false.{sales.name}", f"false promotions, {case}", wrong, runs, RULE.alpha))
    if reason:
        rows.append({"what": "false promotions", "case": "real sales", "skipped": reason})
    return rows, claims


def _by_store(champion: Floats, challenger: Floats) -> tuple[Floats, Floats]:
    """Differences and the champion's losses, summed by day and store, from ``(days, stores, items)``."""
    return (champion - challenger).sum(axis=2), champion.sum(axis=2)


def _wrong(sums: list[tuple[Floats, Floats]]) -> tuple[int, float]:
    """How many trials promote, and the share that ends with days as units."""
    wrong, by_day = 0, 0
    for difference, lost in sums:
        paths = paired_paths(difference, lost, RULE)
        wrong += bool((paths.lower > 0).any())
        by_day += bool(paths.by_day[-1])
    return wrong, by_day / len(sums)


def _seeds_of(sales: Sales, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The losses of two forecasters that differ by their seed alone, over 60 days of some items in all stores.

    Each forecasts a day by a random mean of the last eight same weekdays, drawn anew for each series and week, so
    neither is better, but their errors hang together over days, items and stores as those of real sales do.
    """
    weeks = 8
    items = rng.choice(sales.item.max() + 1, size=min(300, sales.item.max() // 2), replace=False)
    member = np.flatnonzero(np.isin(sales.item, items))
    start = int(rng.integers(weeks * 7, sales.units.shape[1] - DAYS))
    past = np.stack([sales.units[member, start - 7 * back : start - 7 * back + DAYS] for back in range(1, weeks + 1)])
    known = np.isfinite(past)
    actual = sales.units[member, start : start + DAYS]
    losses = []
    for _ in range(2):
        drawn = rng.gamma(1.0, size=(weeks, len(member), -(-DAYS // 7)))
        weight = np.where(known, np.repeat(drawn, 7, axis=2)[:, :, :DAYS], 0.0)
        total = weight.sum(axis=0)
        forecast = (weight * np.nan_to_num(past)).sum(axis=0) / np.where(total > 0, total, 1.0)
        losses.append(np.where(np.isfinite(actual) & (total > 0), np.abs(forecast - np.nan_to_num(actual)), 0.0))
    stores, store = np.unique(sales.cluster[member], return_inverse=True)
    sums = np.zeros((2, DAYS, len(stores), 1))
    for place, loss in enumerate(losses):
        np.add.at(sums[place, :, :, 0].T, store, loss)
    return sums[0], sums[1]


def _time_to_decide(runs: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows, claims = [], []
    for correlation in (0.98, 0.81):
        for gain in (0.02, 0.05, 0.1):
            retailer = Retailer(gain=gain, correlation=correlation)
            seed = round(1000 * gain + 100 * correlation)
            found = until_decided(partial(_waits, retailer, seed), runs, runs // 4)
            case = f"{gain:.0%} better, correlation of the losses {correlation}"
            rows += time_rows(case, found)
            for other, most in (("split", 0.5), ("split, CUPED", 0.5), ("growthbook", 1.0)):
                name = f"paired.time.{other.replace(', ', '.')}.{gain}.{correlation}"
                claims.append(time_claim(name, f"days to decide, of {other}'s: {case}", most, found, ("paired", other)))
    return rows, claims


def _waits(retailer: Retailer, seed: int, runs: int, end: int) -> Waits:
    """The days of decision by method, where the end is set beforehand."""
    rng = np.random.default_rng([2028, seed])
    rule = replace(RULE, max_days=end)
    days: dict[str, list[float]] = {"paired": [], "split": [], "split, CUPED": []}
    arms: list[tuple[Floats, Floats]] = []
    for _ in range(runs):
        champion, challenger = retailer.losses(rng, BEFORE + end)
        before = champion[:BEFORE].reshape(BEFORE, -1).sum(axis=0)
        champion, challenger = champion[BEFORE:], challenger[BEFORE:]
        days["paired"].append(_first(paired_paths(*_by_store(champion, challenger), rule).lower > 0))
        in_second = rng.permutation(before.size) < before.size // 2
        first, second = (each.reshape(end, -1).cumsum(axis=0) for each in (champion, challenger))
        first, second = first[:, ~in_second], second[:, in_second]
        days["split"].append(_first(_split_lower(first, second) > 0))
        adjusted = _adjusted(first, second, before[~in_second], before[in_second])
        days["split, CUPED"].append(_first(_split_lower(*adjusted) > 0))
        arms.append((_moments(first), _moments(second)))
    decided = growthbook_days(arms, RULE.min_days)
    found = {name: np.array(each) for name, each in days.items()}
    return found if decided is None else found | {"growthbook": decided}


def _first(is_decided: NDArray[np.bool_]) -> float:
    """The first day of a decision, counted from one, no sooner than a week."""
    is_decided = is_decided & (np.arange(1, len(is_decided) + 1) >= RULE.min_days)
    return float(is_decided.argmax()) + 1 if is_decided.any() else float("inf")


def _split_lower(first: Floats, second: Floats) -> Floats:
    """The lower bound of the first arm's mean loss above the second's, day by day, from sums by unit."""
    days = np.arange(1, len(first) + 1)
    variance = sum(each.var(axis=1, ddof=1) / each.shape[1] for each in (first, second))
    width = one_sided_widths(days, alpha=RULE.alpha, best_at=len(days)) * np.sqrt(days)
    return np.asarray(first.mean(axis=1) - second.mean(axis=1) - width * np.sqrt(variance))


def _adjusted(first: Floats, second: Floats, before: Floats, before_second: Floats) -> tuple[Floats, Floats]:
    """CUPED (Deng, Xu, Kohavi and Walker 2013): less what the unit's loss before the split foretold."""
    both = np.concatenate([before, before_second])
    centred = both - both.mean()
    sums = np.concatenate([first, second], axis=1)
    theta = (sums * centred).sum(axis=1) / (centred**2).sum()
    return tuple(  # type: ignore[return-value]
        each - theta[:, None] * (own - both.mean())[None, :] for each, own in ((first, before), (second, before_second))
    )


def _moments(sums: Floats) -> Floats:
    """Units, sum and sum of squares by day."""
    return np.stack([np.full(len(sums), sums.shape[1]), sums.sum(axis=1), (sums**2).sum(axis=1)], axis=1)
