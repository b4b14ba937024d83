"""Which candidate is the best, where the metric tells and where it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.validate.backtest import Fold
from everloop.validate.ranking import rank, total_groupings, wape_of_totals


@dataclass(frozen=True)
class Candidate:
    candidate: str
    value: float
    value_of_totals: float


GOOD_TOTALS = Candidate("good_totals", 0.714, 0.08)
BEST = Candidate("best", 0.712, 0.12)
FAR = Candidate("far", 0.80, 0.01)
UNKNOWN = Candidate("unknown", 0.712, float("inf"))


def test_candidates_close_to_the_best_are_ranked_by_their_totals() -> None:
    found = rank([FAR, BEST, GOOD_TOTALS], metric="wape", tie=0.02)
    assert found.best_first == (GOOD_TOTALS, BEST, FAR)
    assert found.close == 2


@pytest.mark.parametrize(("metric", "tie"), [("wape", 0.0), ("wape", 0.001), ("wrmsse", 0.02), ("pinball", 0.02)])
def test_the_metric_alone_decides_where_it_tells_or_holds_totals_itself(metric: str, tie: float) -> None:
    found = rank([FAR, GOOD_TOTALS, BEST], metric=metric, tie=tie)
    assert found.best_first == (BEST, GOOD_TOTALS, FAR)
    assert found.close == 1


def test_a_candidate_without_a_value_of_totals_stays_behind_those_with_one() -> None:
    assert rank([UNKNOWN, BEST, GOOD_TOTALS], metric="wape", tie=0.02).best_first == (GOOD_TOTALS, BEST, UNKNOWN)
    assert rank([UNKNOWN, FAR], metric="wape", tie=0.02).best_first == (UNKNOWN, FAR)
    assert rank([], metric="wape", tie=0.02).best_first == ()


def panel() -> Panel:
    """Four series of two stores and two departments, two periods each."""
    return Panel(
        Frequency.parse("1d"),
        ("store", "item"),
        (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")),
        100,
        np.arange(5) * 2,
        np.ones(8, dtype=np.float32),
        static={
            "dept": np.array([0, 1, 0, 1], dtype=np.float32),
            "size": np.array([1, 2, 3, 4], dtype=np.float32),
            "name": np.arange(4, dtype=np.float32),
            "same": np.zeros(4, dtype=np.float32),
        },
        categories={"dept": ("x", "y"), "name": ("p", "q", "r", "s"), "same": ("k",)},
    )


def fold(actual: list[list[float]], mean: list[list[float]]) -> Fold:
    rows = len(actual)
    ones = np.ones(rows)
    return Fold(90, np.arange(rows), np.array(actual), np.array(mean), {}, {}, ones, ones, 0.0, 0.0, ())


def test_totals_are_of_everything_and_of_columns_that_sum_series() -> None:
    assert [each.columns for each in total_groupings(panel())] == [(), ("store",), ("item",), ("dept",)]


def test_the_error_of_totals_is_their_wape() -> None:
    actual = [[4.0, np.nan], [2.0, 2.0], [1.0, 1.0], [5.0, 5.0]]
    mean = [[5.0, 9.0], [1.0, 2.0], [1.0, 2.0], [6.0, 3.0]]
    # errors by period: (1, -), (-1, 0), (0, 1), (1, -2); demand 20
    everything = (abs(1 - 1 + 0 + 1) + abs(0 + 1 - 2)) / 20
    store = (abs(0) + abs(1) + abs(0) + abs(-1)) / 20
    item = (abs(1) + abs(0) + abs(1) + abs(-2)) / 20
    found = wape_of_totals(total_groupings(panel()), fold(actual, mean))
    dept = (abs(1) + abs(0) + abs(1) + abs(-2)) / 20
    expected = (everything + store + item + dept) / 4
    # of items 1: 1 + 0 and 1; of items 2: -1 + 1 and -2; the same as departments here
    assert found.value is not None
    assert found.n == 7
    by_hand = np.mean([everything, store, (1 + 1 + 0 + 2) / 20, (1 + 1 + 0 + 2) / 20])
    assert found.value == pytest.approx(by_hand) == pytest.approx(expected)


def test_what_cannot_be_told_has_a_reason() -> None:
    groupings = total_groupings(panel())
    zeros = fold([[0.0]] * 4, [[1.0]] * 4)
    assert wape_of_totals(groupings, zeros).reason == "there is no demand"
    broken = replace(zeros, actual=np.ones((4, 1)), mean=np.full((4, 1), np.nan))
    assert wape_of_totals(groupings, broken).reason == "a forecast is not finite"
