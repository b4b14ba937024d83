"""Intervals hold what they promise: over all series, over slow and fast sellers, smooth and erratic ones, and steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from everloop.models.forecaster import Forecast
from everloop.models.intervals import ErrorPools, PastErrors, error_unit

Floats = NDArray[np.float64]
HORIZON, LEVELS = 28, (80.0, 95.0)


@dataclass(frozen=True)
class Demand:
    """Negative binomial demand of known rates, and forecasts of it that err more the further they look."""

    rate: Floats
    dispersion: Floats
    truth: Floats
    mean: Floats
    unit: Floats


def demand(series: int, *, seed: int) -> Demand:
    rng = np.random.default_rng(seed)
    rate = rng.lognormal(0.5, 1.5, series)[:, None]
    # a smooth half, and an erratic half whose variance is four times that of counts
    dispersion = np.where(rng.random((series, 1)) < 0.5, 1.0, 4.0)
    steps = np.arange(1, HORIZON + 1)
    mean = rate * rng.lognormal(0.0, 0.02 * np.sqrt(steps), (series, HORIZON))
    shape = np.where(dispersion > 1, rate / np.maximum(dispersion - 1, 1e-9), 1e9)
    truth = rng.poisson(rng.gamma(shape, rate / shape, (series, HORIZON))).astype(np.float64)
    unit = error_unit(mean, rate, np.sqrt(rate * dispersion), 0.0)
    return Demand(rate, dispersion, truth, mean, unit)


def pools_of(past: Demand) -> ErrorPools:
    steps = np.tile(np.arange(1, HORIZON + 1), len(past.mean))
    errors = PastErrors(past.truth.ravel(), past.mean.ravel(), past.unit.ravel(), steps)
    return ErrorPools.collect(errors, horizon=HORIZON, lowest=0.0)


def with_intervals(pools: ErrorPools, coming: Demand) -> Forecast:
    return pools.forecast(Forecast(np.arange(len(coming.mean)), 0, coming.mean), coming.unit, LEVELS)


def test_coverage_holds_by_size_dispersion_and_step() -> None:
    coming = demand(4000, seed=2)
    answer = with_intervals(pools_of(demand(4000, seed=1)), coming)
    # only where demand is not so low that no interval of whole numbers can cover 80 %
    is_countable = np.broadcast_to(coming.rate > 8, coming.mean.shape)
    size = np.broadcast_to(np.digitize(coming.rate, np.quantile(coming.rate, [0.9, 0.97])), coming.mean.shape)
    step = np.broadcast_to(np.arange(HORIZON) // 7, coming.mean.shape)
    for level in LEVELS:
        is_inside = (coming.truth >= answer.lower[level]) & (coming.truth <= answer.upper[level])
        for group in (size, step):
            for value in np.unique(group):
                chosen = is_countable & (group == value)
                assert abs(100 * is_inside[chosen].mean() - level) < 2.0, (level, value)
        below = (coming.truth < answer.lower[level])[is_countable].mean()
        above = (coming.truth > answer.upper[level])[is_countable].mean()
        assert abs(below - above) < 0.02, "misses are balanced"


def test_erratic_demand_gets_wider_intervals_than_smooth() -> None:
    coming = demand(4000, seed=2)
    answer = with_intervals(pools_of(demand(4000, seed=1)), coming)
    is_inside = (coming.truth >= answer.lower[80.0]) & (coming.truth <= answer.upper[80.0])
    is_erratic = np.broadcast_to((coming.dispersion > 1) & (coming.rate > 8), coming.mean.shape)
    plain = with_intervals(_plain(demand(4000, seed=1)), _plain_unit(coming))
    before = (coming.truth >= plain.lower[80.0]) & (coming.truth <= plain.upper[80.0])
    assert is_inside[is_erratic].mean() > before[is_erratic].mean() + 0.03


def _plain_unit(each: Demand) -> Demand:
    """The same in the unit of counts alone."""
    return Demand(each.rate, each.dispersion, each.truth, each.mean, np.sqrt(each.mean))


def _plain(past: Demand) -> ErrorPools:
    return pools_of(_plain_unit(past))


def test_bounds_never_cross_and_counts_are_never_negative() -> None:
    answer = with_intervals(pools_of(demand(800, seed=1)), demand(800, seed=5))
    assert (answer.lower[95.0] >= 0).all()
    assert (answer.lower[95.0] <= answer.lower[80.0]).all()
    assert (answer.lower[80.0] <= answer.mean).all()
    assert (answer.mean <= answer.upper[80.0]).all()
    assert (answer.upper[80.0] <= answer.upper[95.0]).all()


@pytest.mark.parametrize(("series", "classes"), [(1, 1), (29, 2), (600, 8), (3000, 10), (4000, 11)])
def test_more_errors_make_finer_pools(series: int, classes: int) -> None:
    pools = pools_of(demand(series, seed=1))
    assert len(pools.size_ends) + 1 == classes
    assert pools.scores.counts.min() > 200 or len(pools.scores.counts) == 1


def test_too_few_errors_give_no_interval_and_say_so() -> None:
    past = PastErrors(np.ones(20), np.ones(20), np.ones(20), np.ones(20, dtype=np.int64))
    answer = ErrorPools.collect(past, horizon=1).forecast(
        Forecast(np.arange(1), 0, np.ones((1, 1))), np.ones(1), LEVELS
    )
    assert np.isfinite(answer.lower[80.0]).all()
    assert np.isnan(answer.lower[95.0]).all()
    assert "95 %" in answer.notes[0]


def test_an_unknown_deviation_is_that_of_counts() -> None:
    known = error_unit(np.array([4.0]), np.array([9.0]), np.array([3.0]), 0.0)
    assert error_unit(np.array([4.0]), np.array([9.0]), np.array([np.nan]), 0.0) == known == 2.0


def test_pools_come_back_as_they_were(tmp_path: Path) -> None:
    pools = pools_of(demand(300, seed=1))
    pools.save(tmp_path)
    coming = demand(50, seed=3)
    one, two = with_intervals(pools, coming), with_intervals(ErrorPools.load(tmp_path), coming)
    assert all(np.array_equal(one.upper[level], two.upper[level]) for level in LEVELS)
