"""Costs of orders add up, and the expected ones are those of the sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.stats.newsvendor import Demand, critical_ratio, in_packs, order_cost

ONE = np.ones(1)


def demand_of(scores: list[float], *, mean: float = 3.0, scale: float = 2.0) -> Demand:
    return Demand(
        np.array([mean]), np.array([scale]), np.array([0]), np.sort(np.array(scores)), np.array([0, len(scores)])
    )


def test_the_critical_ratio_weighs_both_costs() -> None:
    found = critical_ratio(np.array([1.0, 3.0, 0.0, np.nan]), np.array([4.0, 1.0, 1.0, 1.0]))
    assert found[:2].tolist() == [0.8, 0.25]
    assert np.isnan(found[2:]).all()


def test_what_is_left_and_what_is_missing_cost_their_own() -> None:
    found = order_cost(np.array([5.0, 5.0, 5.0, 0.0]), np.array([3.0, 9.0, 5.0, -2.0]), np.array(0.5), np.array(2.0))
    assert found.tolist() == [1.0, 8.0, 0.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-4, 4), min_size=1, max_size=30),
    st.floats(0, 12),
    st.floats(0.1, 5),
    st.floats(0.1, 5),
)
def test_the_expected_cost_is_the_mean_over_the_sample(
    scores: list[float], order: float, over: float, under: float
) -> None:
    found = demand_of(scores).cost(np.array([order]), np.array([over]), np.array([under]))
    sample = np.maximum(3.0 + 2.0 * np.array(scores), 0.0)
    slow = order_cost(np.full(len(sample), order), sample, np.array(over), np.array(under)).mean()
    assert found[0] == pytest.approx(slow, abs=1e-9)


def test_the_cost_is_least_at_the_critical_ratio() -> None:
    rng = np.random.default_rng(2)
    scores = np.sort(rng.gamma(2.0, 1.0, 2000))
    orders = np.linspace(0, 40, 2001)
    costs = [demand_of(scores.tolist()).cost(np.array([each]), ONE, 4 * ONE)[0] for each in orders]
    best = orders[int(np.argmin(costs))]
    assert best == pytest.approx(3.0 + 2.0 * np.quantile(scores, 0.8), abs=0.05)


def test_nothing_is_known_where_a_pool_is_empty() -> None:
    demand = Demand(np.array([3.0, np.nan]), np.ones(2), np.array([1, 0]), np.zeros(1), np.array([0, 1, 1]))
    assert np.isnan(demand.cost(np.ones(2), np.ones(2), np.ones(2))).all()


def test_packs_are_rounded_to_what_costs_less() -> None:
    scores = np.linspace(-1, 1, 401).tolist()  # demand between 1 and 5
    demand = demand_of(scores)
    level = np.array([3.0 + 2.0 * 0.6])
    for pack, wanted in ((1.0, 4.0), (6.0, 6.0), (10.0, 10.0), (100.0, 0.0), (0.7, 4.2)):
        found = in_packs(demand, level, np.zeros(1), (ONE, 4 * ONE), pack=pack)
        assert found[0] == pytest.approx(wanted)
        either = [np.floor(level / pack) * pack, np.ceil(level / pack) * pack]
        assert demand.cost(found, ONE, 4 * ONE) <= min(demand.cost(each, ONE, 4 * ONE) for each in either) + 1e-9
    assert in_packs(demand, level, np.array([4.0]), (ONE, 4 * ONE), pack=1.0)[0] == 0.0
    assert in_packs(demand, level, np.array([9.0]), (ONE, 4 * ONE), pack=1.0)[0] == 0.0
    assert np.isnan(in_packs(demand, np.array([np.nan]), np.zeros(1), (ONE, ONE), pack=1.0)[0])
