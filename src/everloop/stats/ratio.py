"""Sample ratio: whether units fell to a split's arms in the proportions that were set, asked as often as one likes.

The test is the Bayes factor of Lindon and Malek (2022), "Anytime-Valid Inference for Multinomial Count Data", NeurIPS:
counts with a Dirichlet prior on their shares against counts with the shares that were set. Where these are the true
ones, it is a martingale that starts at 1, so by Ville's inequality it ever reaches ``1 / alpha`` with probability at
most ``alpha``, over all looks together.

The guarantee needs units that are drawn independently of each other, each with the shares in force when it was first
drawn, and counted once. Requests of the same unit are no such draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

__all__ = ["RatioTest", "log_bayes_factor", "ratio_test"]

CONCENTRATION = 1_000.0
"""How closely the alternative gathers around the shares that were set: for halves, within about 1.6 points."""


@dataclass(frozen=True, slots=True)
class RatioTest:
    """What is known of the shares after ``n`` units.

    Attributes:
        n: how many units were counted.
        p_value: the smallest bound on a false alarm at which this look would be one; valid at every look.
        alpha: the bound that was asked for.
        is_mismatch: whether the shares that were set are refuted at ``alpha``.
        observed: the share of each arm, shape ``(arms,)``; NaN without units.
        expected: the share that was to be expected over all stages, shape ``(arms,)``; NaN without units.
    """

    n: int
    p_value: float
    alpha: float
    is_mismatch: bool
    observed: NDArray[np.float64]
    expected: NDArray[np.float64]


def log_bayes_factor(counts: ArrayLike, weights: ArrayLike, *, concentration: float = CONCENTRATION) -> float:
    """The logarithm of the Bayes factor against the shares that were set.

    Args:
        counts: units by arm, shape ``(arms,)``.
        weights: the shares that were set, shape ``(arms,)``, summing to 1. A unit in an arm of share zero is
            infinite evidence.
        concentration: the prior is ``Dirichlet(concentration * weights)``.

    >>> round(log_bayes_factor([500, 500], [0.5, 0.5]), 3)
    -0.347
    >>> log_bayes_factor([600, 400], [0.5, 0.5]) > 5
    True
    """
    s, theta = np.asarray(counts, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if s[theta == 0].any():
        return math.inf
    s, theta = s[theta > 0], theta[theta > 0]
    prior = concentration * theta
    arms = gammaln(prior + s) - gammaln(prior) - s * np.log(theta)
    return float(gammaln(concentration) - gammaln(concentration + s.sum()) + arms.sum())


def ratio_test(
    counts: ArrayLike, weights: ArrayLike, *, alpha: float, concentration: float = CONCENTRATION
) -> RatioTest:
    """Test the shares of a split whose weights may have been changed on the way.

    Each stage has a Bayes factor of its own; since its units are new ones, their product is a martingale too.

    Args:
        counts: units by stage and arm, each counted where it was drawn first, shape ``(stages, arms)``.
        weights: the shares in force in each stage, shape ``(stages, arms)``, rows summing to 1.
        alpha: the bound on ever finding a mismatch where there is none.
        concentration: see :func:`log_bayes_factor`.

    Raises:
        ValueError: shapes differ, a count is negative, or a row of weights does not sum to 1.

    >>> ratio_test([[5_000, 5_300]], [[0.5, 0.5]], alpha=0.01).is_mismatch
    False
    >>> ratio_test([[5_000, 5_600]], [[0.5, 0.5]], alpha=0.01).is_mismatch
    True
    """
    s, theta = np.atleast_2d(np.asarray(counts, np.float64)), np.atleast_2d(np.asarray(weights, np.float64))
    if s.shape != theta.shape or (s < 0).any() or not np.allclose(theta.sum(axis=1), 1.0, atol=1e-5):
        raise ValueError(f"counts {s.shape} and weights {theta.shape} must be of one shape, and weights sum to 1")
    log_factor = sum(
        log_bayes_factor(row, shares, concentration=concentration) for row, shares in zip(s, theta, strict=True)
    )
    n = s.sum()
    with np.errstate(invalid="ignore"):
        observed, expected = s.sum(axis=0) / n, (s.sum(axis=1) @ theta) / n
    p_value = math.exp(-max(log_factor, 0.0))
    return RatioTest(int(n), p_value, alpha, p_value <= alpha, observed, expected)
