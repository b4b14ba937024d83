"""Which candidate is the best: by the metric, and where it hardly tells candidates apart, by their totals.

The error of single series and days is mostly chance that no forecast can know: on M5 a forecast whose totals are a
third worse than another's may have the better WAPE by a tenth of a percent. What a store or a department errs by is
not: it is what orders, staff and money go by. So candidates close to the best by the metric are ranked by totals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from everloop.data.panel import Panel
from everloop.data.totals import Grouping, grouping
from everloop.validate.backtest import Fold
from everloop.validate.metrics import DEMAND, Measure

__all__ = ["TOTALS", "Ranked", "Ranking", "rank", "total_groupings", "wape_of_totals"]

TOTALS = "wape_totals"
_OF_SERIES = ("wape", "mase", "rmsse")
"""The metrics of series and periods; the others hold totals, money or intervals already."""


class Ranked(Protocol):
    """What is ranked."""

    @property
    def candidate(self) -> str:
        """Its name, which settles what nothing else does."""
        ...

    @property
    def value(self) -> float:
        """The metric, infinite where it cannot be told."""
        ...

    @property
    def value_of_totals(self) -> float:
        """Likewise of the totals."""
        ...


Each = TypeVar("Each", bound=Ranked)


@dataclass(frozen=True, slots=True)
class Ranking(Generic[Each]):
    """Candidates, best first.

    Attributes:
        best_first: all of them.
        close: how many of the first ones are as good as the best by the metric and were ranked by their totals; 1
            where the metric alone decided.
    """

    best_first: tuple[Each, ...]
    close: int


def rank(candidates: Sequence[Each], *, metric: str, tie: float) -> Ranking[Each]:
    """Rank candidates by a metric, and those within ``tie`` of the best by the error of their totals.

    Args:
        candidates: what is ranked.
        metric: the metric that their values are of.
        tie: by which share of the least value another may be larger and still be close to it.
    """
    by_metric = sorted(candidates, key=lambda each: (each.value, each.candidate))
    if not by_metric or metric not in _OF_SERIES:
        return Ranking(tuple(by_metric), 1)
    most = by_metric[0].value * (1 + tie)
    close = [each for each in by_metric if each.value <= most and np.isfinite(each.value_of_totals)]
    if len(close) < 2:
        return Ranking(tuple(by_metric), 1)
    close.sort(key=lambda each: (each.value_of_totals, each.value, each.candidate))
    return Ranking((*close, *(each for each in by_metric if each not in close)), len(close))


def total_groupings(panel: Panel) -> list[Grouping]:
    """The totals that count: of everything, and by each series and each static text column that sums any series."""
    texts = [name for name in panel.static if name in panel.categories]
    found = [grouping(panel, columns) for columns in ((), *((name,) for name in (*panel.series_columns, *texts)))]
    return [each for each in found if each.columns == () or 1 < len(each.labels) < panel.n_series]


def wape_of_totals(groupings: Sequence[Grouping], fold: Fold) -> Measure:
    """The WAPE of totals by period, mean over the levels: ``sum |sum_i (f - a)| / sum |a|`` of each.

    Periods without a row count in no total. Without demand there is no value.
    """
    is_there = np.isfinite(fold.actual)
    errors = np.where(is_there, fold.mean - fold.actual, 0.0)
    demand = float(np.abs(fold.actual[is_there]).sum())
    n = int(is_there.sum())
    if not np.isfinite(errors).all():
        return Measure(None, n, DEMAND, "a forecast is not finite")
    if demand <= 0:
        return Measure(None, n, DEMAND, "there is no demand")
    parts = []
    for level in groupings:
        sums = np.zeros((len(level.labels), errors.shape[1]))
        np.add.at(sums, level.codes[fold.positions], errors)
        parts.append(float(np.abs(sums).sum()) / demand)
    return Measure(float(np.mean(parts)), n, DEMAND)
