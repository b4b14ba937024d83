"""Widths that follow outcomes: the share of misses comes to what is promised, whatever the world does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from everloop.stats.adaptive import ABOVE, BELOW, Widths

Floats = NDArray[np.float64]
LEVELS = (80.0, 95.0)
Z = {80.0: 1.2816, 95.0: 1.96}


def shares(widths: Widths, errors: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The misses of one day's errors by intervals that are right for standard normal ones."""
    missed = np.empty((2, 2, 1))
    for place, level in enumerate(LEVELS):
        below, above = widths.factors(level, np.zeros(1))
        missed[place, BELOW] = np.mean(errors < -Z[level] * below)
        missed[place, ABOVE] = np.mean(errors > Z[level] * above)
    return missed, np.full((2, 2, 1), len(errors))


def run(deviation: Floats, *, outcomes: int = 400, seed: int = 1) -> tuple[Widths, Floats]:
    """Many days whose errors have these deviations; the widths at the end, and the misses of each day."""
    rng = np.random.default_rng(seed)
    widths, days = Widths.start(LEVELS, [], through=0), []
    for day, each in enumerate(deviation, 1):
        missed, counts = shares(widths, rng.normal(0.0, each, outcomes))
        days.append(missed[..., 0])
        widths = widths.learn(missed, counts, through=day)
    return widths, np.array(days)


@pytest.mark.parametrize("deviation", [0.7, 1.0, 1.5, 2.0])
def test_coverage_comes_to_the_level_after_a_change(deviation: float) -> None:
    _, days = run(np.full(400, deviation))
    late = days[150:].mean(axis=0)
    for place, level in enumerate(LEVELS):
        allowed = (1 - level / 100) / 2
        noise = 4 * np.sqrt(allowed * (1 - allowed) / (250 * 400))
        assert np.abs(late[place] - allowed).max() < noise + 0.002


def test_the_mean_of_misses_keeps_its_bound_under_any_course() -> None:
    rng = np.random.default_rng(5)
    course = np.exp(0.3 * np.sin(np.arange(600) / 30) + 0.2 * np.sign(np.sin(np.arange(600) / 100)))
    widths, days = run(course * rng.lognormal(0.0, 0.1, 600))
    steps = np.array([[4.45], [8.73]]) * 0.05 * 400 / 450
    change = widths.log_factors[..., 0]
    allowed = np.array([[0.1], [0.025]])
    # the updates telescope: what was learnt is the step times what was missed too much
    assert np.allclose(change, steps * (days - allowed).sum(axis=0), rtol=0.01, atol=0.01)
    assert (np.abs(days.mean(axis=0) - allowed) <= np.abs(change) / (steps * 600) + 1e-4).all()


def test_factors_stay_within_bounds_and_few_outcomes_count_less() -> None:
    wild, _ = run(np.full(300, 50.0))
    assert np.exp(wild.log_factors).max() == pytest.approx(3.0)
    still, _ = run(np.full(2000, 0.01))
    assert np.exp(still.log_factors).min() == pytest.approx(0.5)
    many = Widths.start([80.0], [], through=0).learn(np.ones((1, 2, 1)), np.full((1, 2, 1), 5000), through=1)
    few = Widths.start([80.0], [], through=0).learn(np.ones((1, 2, 1)), np.full((1, 2, 1), 5), through=1)
    none = Widths.start([80.0], [], through=0).learn(np.full((1, 2, 1), np.nan), np.zeros((1, 2, 1), int), through=1)
    assert many.log_factors.min() > 5 * few.log_factors.max() > 0
    assert (none.log_factors == 0).all()


def test_classes_learn_apart_and_come_back_bit_for_bit() -> None:
    widths = Widths.start([95.0, 80.0], [2.0, 10.0], through=3)
    missed = np.array([0.1, 0.3, 0.5])[None, None, :].repeat(2, axis=0).repeat(2, axis=1)
    learnt = widths.learn(missed, np.full((2, 2, 3), 1000), through=4)
    below, _ = learnt.factors(80.0, np.array([1.0, 5.0, -50.0]))
    assert below[0] == pytest.approx(1.0)
    assert below[0] < below[1] < below[2]
    again = Widths.from_dict(learnt.to_dict())
    assert again.to_dict() == learnt.to_dict()
    assert (again.levels, again.through) == ((80.0, 95.0), 4)
    assert np.array_equal(again.factors(90.0, np.ones(1)), learnt.factors(95.0, np.ones(1))), "the nearest level's"
