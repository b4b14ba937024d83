"""The confidence sequence against its claim, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from everloop.stats.sequential import long_run_variance, mean_sequence

ALPHA = 0.05
DAYS = 42
MIN_DAYS = 14


def autoregressive(rng: np.random.Generator, phi: float, n: int, *, heavy: bool) -> np.ndarray:
    noise = rng.standard_t(4, size=n + 50) if heavy else rng.normal(size=n + 50)
    stream = np.zeros(n + 50)
    for place in range(1, n + 50):
        stream[place] = phi * stream[place - 1] + noise[place]
    return stream[50:]


def false_promotions(phi: float, *, heavy: bool, replications: int = 400) -> int:
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(replications):
        stream = autoregressive(rng, phi, DAYS, heavy=heavy)
        looks = range(MIN_DAYS, DAYS + 1)
        bounds = (mean_sequence(stream[:n], alpha=ALPHA, best_at=DAYS, min_n=MIN_DAYS).lower for n in looks)
        wrong += any(bound is not None and bound > 0 for bound in bounds)
    return wrong


@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy tails"])
@pytest.mark.parametrize("phi", [0.0, 0.3, 0.5])
def test_false_promotions_under_daily_looks_stay_within_alpha(phi: float, heavy: bool) -> None:
    wrong = false_promotions(phi, heavy=heavy)
    interval = binomtest(wrong, 400).proportion_ci(0.95)
    assert interval.low <= ALPHA, f"{wrong} of 400 false promotions at autocorrelation {phi}"
    assert interval.high <= 1.7 * ALPHA


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(3)
    found = [
        next(
            (n for n in range(7, 60) if (mean_sequence(stream[:n], alpha=ALPHA).lower or -1) > 0),
            60,
        )
        for stream in (rng.normal(loc=1.0, size=60) for _ in range(100))
    ]
    assert np.median(found) <= 16


def test_too_few_observations_give_no_bound_and_say_so() -> None:
    result = mean_sequence([1.0, 2.0], alpha=ALPHA)
    assert (result.mean, result.lower, result.upper) == (1.5, None, None)
    assert "2 of at least 7" in result.reason
    assert mean_sequence([], alpha=ALPHA).mean is None


def test_bounds_do_not_depend_on_the_unit() -> None:
    stream = np.random.default_rng(5).normal(size=30)
    small, large = mean_sequence(stream, alpha=ALPHA), mean_sequence(stream * 1000, alpha=ALPHA)
    assert small.lower is not None
    assert large.lower == pytest.approx(small.lower * 1000)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_sequence([1.0, float("nan")], alpha=ALPHA)


def test_the_long_run_variance_of_an_autoregression() -> None:
    stream = autoregressive(np.random.default_rng(1), 0.5, 20_000, heavy=False)
    assert long_run_variance(stream, 10) == pytest.approx(1 / (1 - 0.5) ** 2, rel=0.1)
