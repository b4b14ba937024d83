"""How long a split will take: the past is dealt to arms many times over, and one arm made better by so much.

The days of the past stand for those to come, with their seasons, tails and dependence. The rule that will judge the
split judges these: the same values, critical values and days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.stats.split.boundary import spending
from everloop.stats.split.draws import arm_means, null_paths
from everloop.stats.split.intervals import critical_values
from everloop.stats.split.metrics import UnitMetric, unit_sizes, unit_values
from everloop.stats.split.rule import SplitRule

__all__ = ["PlannedDays", "decision_days", "first_passages"]


@dataclass(frozen=True, slots=True)
class PlannedDays:
    """How long it takes to see an effect.

    Attributes:
        effect: the improvement, a share of the champion's value; 0 for none.
        median: the days until half of the splits have decided for it; ``None`` where fewer ever do.
        p80: likewise four in five.
        decided: the share of splits that decide for it by the last day.
        replications: how many splits were simulated.
    """

    effect: float
    median: float | None
    p80: float | None
    decided: float
    replications: int

    @classmethod
    def of(cls, effect: float, days: NDArray[np.int64], last: int) -> PlannedDays:
        """From the day of each split's decision, 0 for none."""
        waited = np.sort(np.where(days > 0, days, last + 1))

        def reached(share: float) -> float | None:
            day = int(waited[int(np.ceil(share * len(waited))) - 1])
            return float(day) if day <= last else None

        return cls(effect, reached(0.5), reached(0.8), float((days > 0).mean()), len(days))


def decision_days(
    metric: UnitMetric,
    *,
    effects: Sequence[float] = (0.02, 0.05, 0.1),
    share: float = 0.5,
    rule: SplitRule | None = None,
    replications: int = 400,
    seed: int = 1,
) -> list[PlannedDays]:
    """How long a split of these units would take to find each effect.

    Args:
        metric: the past, as many days of it as there may be; what was known before them reduces the variance.
        effects: improvements, shares of the champion's value.
        share: the challenger's share of the units.
        rule: how it will be judged; its ``max_days`` ends the wait, as does the last day of the past.
        replications: how many splits to simulate.
        seed: for dealing the units.

    Raises:
        ValueError: an arm would have fewer than two units, or there are no days.

    >>> rng = np.random.default_rng(1)
    >>> sales = UnitMetric("sales", rng.gamma(4.0, 5.0, (200, 1)) * rng.gamma(2.0, 0.5, (200, 30)))
    >>> [plan.decided > 0.9 for plan in decision_days(sales, effects=[0.0, 0.5], replications=50)]
    [False, True]
    """
    units, days = metric.sums.shape
    treated = round(units * share)
    if min(treated, units - treated) < 2 or not days:
        raise ValueError(f"{units} units over {days} days cannot be split with a share of {share:g}")
    rng = np.random.default_rng(seed)
    one = (np.arange(units) < treated).astype(np.int8)
    deals = rng.permuted(np.tile(one, (replications, 1)), axis=1)
    found = first_passages(metric, deals, effects=effects, rule=rule or SplitRule())
    return [PlannedDays.of(effect, found[:, place], days) for place, effect in enumerate(effects)]


def first_passages(
    metric: UnitMetric, deals: NDArray[np.integer[Any]], *, effects: Sequence[float] = (0.0,), rule: SplitRule
) -> NDArray[np.int64]:
    """The day on which each split decides that its challenger is better, 0 for never, shape ``(deals, effects)``.

    Args:
        metric: the daily sums without any effect.
        deals: 1 for each challenger's unit, 0 for the champion's, all rows with as many, shape ``(deals, units)``.
        effects: improvements, shares of the champion's value.
        rule: how it is judged.
    """
    days = min(metric.sums.shape[1], rule.max_days - rule.days_before)
    present = np.ones(metric.sums.shape, dtype=np.bool_)
    values, sizes = (of(metric, present)[:, :days] for of in (unit_values, unit_sizes))
    present = present[:, :days]
    sign = 1 if metric.better == "higher" else -1
    spent = spending(days, alpha=rule.alpha, horizon=rule.max_days, first=rule.first_look, before=rule.days_before)
    # dealing the units anew gives the same draws whichever deal was made: one set of critical values for all
    paths = null_paths([values], present, np.sort(deals[0]).astype(np.int64), 2, draws=rule.draws)
    above = critical_values(paths, spent, [sign])[0]
    step = max(1, 2_000_000 // len(values))
    passed = []
    for start in range(0, len(deals), step):
        found = arm_means(
            [values, *(values + sign * effect * sizes for effect in effects)], present, deals[start : start + step], 2
        )
        mean, variance = found.mean, found.variance
        difference = sign * (mean[:, 1, 1:] - mean[:, 0, :1])
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.nan_to_num(difference / np.sqrt(variance[:, 1, 1:] + variance[:, 0, :1]), posinf=np.inf)
        is_over = score > above
        passed.append(np.where(is_over.any(axis=-1), is_over.argmax(axis=-1) + 1, 0))
    return np.concatenate(passed).astype(np.int64)
