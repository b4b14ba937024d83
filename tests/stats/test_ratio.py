"""The sample ratio test: its law by enumeration, its errors by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from everloop.stats.ratio import CONCENTRATION, log_bayes_factor, ratio_test

SEED = 7


def walked(draws: list[int], weights: list[float], concentration: float) -> float:
    """The same number from the other side: the product of predictive probabilities over those that were set."""
    counts = [0] * len(weights)
    total = 0.0
    for arm in draws:
        predicted = (concentration * weights[arm] + counts[arm]) / (concentration + sum(counts))
        total += math.log(predicted / weights[arm])
        counts[arm] += 1
    return total


def paths(shares: list[float], weights: list[float], *, runs: int, n: int, every: int = 1) -> NDArray[np.float64]:
    """The logarithm of the Bayes factor of two arms at each look of each run, shape ``(runs, looks)``."""
    rng = np.random.default_rng(SEED)
    first = np.cumsum(rng.random((runs, n)) < shares[0], axis=1)[:, every - 1 :: every].astype(float)
    seen = np.arange(1, n + 1)[every - 1 :: every]
    a, b = (CONCENTRATION * share for share in weights)
    arms = gammaln(a + first) - gammaln(a) + gammaln(b + seen - first) - gammaln(b)
    return np.asarray(
        gammaln(CONCENTRATION)
        - gammaln(CONCENTRATION + seen)
        + arms
        - first * math.log(weights[0])
        - (seen - first) * math.log(weights[1])
    )


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.9, 0.1], [0.2, 0.3, 0.5]])
@pytest.mark.parametrize("concentration", [2.0, 1_000.0])
def test_it_is_the_product_of_predictions(weights: list[float], concentration: float) -> None:
    rng = np.random.default_rng(SEED)
    draws = rng.choice(len(weights), size=300, p=weights).tolist()
    counts = np.bincount(draws, minlength=len(weights))
    found = log_bayes_factor(counts, weights, concentration=concentration)
    assert found == pytest.approx(walked(draws, weights, concentration), abs=1e-7)


@pytest.mark.parametrize("stages", [[[0.5, 0.5]], [[0.9, 0.1], [0.6, 0.4]]])
def test_its_mean_is_one_where_the_shares_are_true(stages: list[list[float]]) -> None:
    """The law behind the guarantee, over every possible sequence of four draws in each stage."""
    total = 0.0
    for draws in itertools.product([0, 1], repeat=4 * len(stages)):
        parts = [draws[4 * number : 4 * number + 4] for number in range(len(stages))]
        chance = math.prod(weights[arm] for part, weights in zip(parts, stages, strict=True) for arm in part)
        counts = [np.bincount(part, minlength=2) for part in parts]
        factor = sum(
            log_bayes_factor(row, weights, concentration=3.0) for row, weights in zip(counts, stages, strict=True)
        )
        total += chance * math.exp(factor)
    assert total == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("weights", "alpha"), [([0.5, 0.5], 0.05), ([0.95, 0.05], 0.05), ([0.5, 0.5], 0.01)])
def test_looking_after_every_unit_keeps_false_alarms_below_alpha(weights: list[float], alpha: float) -> None:
    runs = 2_000
    alarms = int((paths(weights, weights, runs=runs, n=5_000).max(axis=1) >= -math.log(alpha)).sum())
    interval = stats.binomtest(alarms, runs).proportion_ci(0.99)
    print(f"{weights} alpha {alpha}: {alarms / runs:.4f} of runs, 99 % interval {interval}")
    assert interval.low <= alpha
    assert interval.high <= alpha + 0.01


def test_a_fixed_test_looked_at_as_often_would_raise_many() -> None:
    """What the sequential test is for: the usual chi-squared test at each of 100 looks."""
    rng = np.random.default_rng(SEED)
    first = np.cumsum(rng.random((500, 5_000)) < 0.5, axis=1)[:, 49::50]
    seen = np.arange(50, 5_001, 50)
    squared = (2 * first - seen) ** 2 / seen
    assert (stats.chi2.sf(squared, 1).min(axis=1) < 0.05).mean() > 0.2


def test_a_mismatch_of_one_point_is_found() -> None:
    looks = paths([0.51, 0.49], [0.5, 0.5], runs=300, n=100_000, every=500)
    is_found = looks >= -math.log(0.01)
    power = is_found.any(axis=1).mean()
    first = np.where(is_found.any(axis=1), is_found.argmax(axis=1) + 1, np.inf) * 500
    print(f"power within 100,000 units: {power:.3f}; median units to find it: {np.median(first):,.0f}")
    assert power > 0.95
    assert np.median(first) < 60_000


def test_stages_are_judged_by_their_own_weights() -> None:
    counts = [[9_000, 1_000], [5_000, 5_000]]
    assert not ratio_test(counts, [[0.9, 0.1], [0.5, 0.5]], alpha=0.01).is_mismatch
    assert ratio_test(counts, [[0.5, 0.5], [0.9, 0.1]], alpha=0.01).is_mismatch
    pooled = ratio_test(counts, [[0.9, 0.1], [0.5, 0.5]], alpha=0.01)
    assert pooled.n == 20_000
    np.testing.assert_allclose(pooled.observed, pooled.expected)


def test_a_unit_where_none_may_be_is_a_mismatch() -> None:
    assert ratio_test([[10, 0, 1]], [[0.5, 0.5, 0.0]], alpha=1e-9).is_mismatch
    assert not ratio_test([[5, 5, 0]], [[0.5, 0.5, 0.0]], alpha=0.05).is_mismatch


def test_nothing_is_said_of_nothing() -> None:
    found = ratio_test([[0, 0]], [[0.5, 0.5]], alpha=0.01)
    assert (found.n, found.p_value, found.is_mismatch) == (0, 1.0, False)
    assert np.isnan(found.observed).all()


@pytest.mark.parametrize(
    ("counts", "weights"), [([[1, 2, 3]], [[0.5, 0.5]]), ([[1, -2]], [[0.5, 0.5]]), ([[1, 2]], [[0.5, 0.6]])]
)
def test_what_does_not_fit_is_refused(counts: list[list[int]], weights: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        ratio_test(counts, weights, alpha=0.05)
