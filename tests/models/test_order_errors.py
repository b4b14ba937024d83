"""Demand stays at or below the quantile as often as is promised, also where windows are few and err together."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from everloop.models.order_errors import PastSums, SumErrors, spread_of_sums

Floats = NDArray[np.float64]


def reached(*, windows: int, series: int, shared: float, ratio: float, draws: int, seed: int) -> NDArray[np.bool_]:
    """Whether demand stayed below its quantile, of one series in each of many draws."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        mean = rng.gamma(2.0, 20.0, series)
        common = np.sqrt(shared) * rng.standard_normal((windows + 1, 1))
        own = np.sqrt(1 - shared) * rng.standard_normal((windows + 1, series))
        actual = np.maximum(mean + 2.0 * np.sqrt(mean) * (common + own), 0.0)
        means = np.broadcast_to(mean, actual.shape)
        spread = spread_of_sums(means, means / 7, np.sqrt(means / 7), 7)
        past = PastSums(actual[:-1], means[:-1], spread[:-1])
        level, _ = SumErrors.collect(past).demand(mean, spread[-1], np.full(series, ratio))
        found.append(actual[-1, 0] <= level[0])
    return np.array(found)


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8, 0.95])
def test_independent_errors_keep_the_promise(ratio: float) -> None:
    met = reached(windows=4, series=60, shared=0.0, ratio=ratio, draws=600, seed=5)
    low, high = binom.interval(0.999, len(met), ratio)
    assert low - 6 <= met.sum() <= high + 6


def test_shared_errors_of_few_windows_are_widened() -> None:
    met = reached(windows=3, series=60, shared=0.5, ratio=0.9, draws=600, seed=6)
    low, high = binom.interval(0.999, len(met), 0.9)
    assert low - 18 <= met.sum() <= high + 18, "within three points of what the binomial interval allows"


def test_a_quantile_may_lie_below_the_forecast_and_never_below_zero() -> None:
    rng = np.random.default_rng(1)
    mean = np.full((3, 200), 4.0)
    past = PastSums(rng.poisson(4.0, mean.shape).astype(float), mean, np.full(mean.shape, 2.0))
    errors = SumErrors.collect(past)
    level, demand = errors.demand(np.array([4.0, 4.0, 0.1]), np.full(3, 2.0), np.array([0.2, 0.9, 0.05]))
    assert 0 < level[0] < 4 < level[1]
    assert level[2] == 0.0
    costs = demand.cost(level, np.ones(3), np.ones(3))
    assert (costs >= 0).all()


def test_too_few_errors_give_no_quantile() -> None:
    mean = np.full((2, 5), 4.0)
    errors = SumErrors.collect(PastSums(mean + 1.0, mean, np.full(mean.shape, 2.0)))
    level, _ = errors.demand(np.full(2, 4.0), np.full(2, 2.0), np.array([0.9, 0.99]))
    assert np.isfinite(level[0])
    assert np.isnan(level[1])
    level, _ = errors.demand(np.full(1, 4.0), np.full(1, 2.0), np.array([np.nan]))
    assert np.isnan(level[0])


def test_the_unit_of_a_sum_grows_with_the_root_of_its_length() -> None:
    one, nine = (
        spread_of_sums(np.array([2.0 * periods]), np.array([2.0]), np.array([1.5]), periods)[0] for periods in (1, 9)
    )
    assert nine == pytest.approx(3 * one)
