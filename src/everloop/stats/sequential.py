"""Confidence sequences: intervals that hold at every look at once, however often one looks.

The mean of a stream is bounded by the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas (2024), "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52,
equation (5) (two-sided) and proposition B.1 (one-sided). Where the stream is autocorrelated, as daily errors are,
the variance is the long-run variance of Newey and West (1987), equation (5), with Bartlett weights.

The guarantee is asymptotic: it needs some observations before the first look (``min_n``), a mean that stays, and
dependence that fades within the bandwidth. ``tests/stats/test_sequential.py`` measures what is left of it for
few days and strong dependence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MeanSequence", "long_run_variance", "mean_sequence", "one_sided_widths"]


@dataclass(frozen=True, slots=True)
class MeanSequence:
    """What is known of a mean after ``n`` observations, valid at every ``n`` at once.

    Attributes:
        n: the number of observations.
        mean: their mean; ``None`` for none.
        lower: the mean is below this with probability at most ``alpha``, over all looks; ``None`` for too few.
        upper: likewise above.
        alpha: the error bound of each side.
        deviation: the long-run standard deviation of one observation.
        reason: why there is no bound, where there is none.
    """

    n: int
    mean: float | None
    lower: float | None
    upper: float | None
    alpha: float
    deviation: float | None
    reason: str = ""


def long_run_variance(values: ArrayLike, bandwidth: int) -> float:
    """The long-run variance of a stream: what the variance of its mean tends to, times the number of observations.

    The stream is prewhitened by an autoregression of order one (Andrews and Monahan 1992, section 3), whose
    coefficient is corrected for its bias in few observations, ``(n phi + 1) / (n - 3)`` (Kendall 1954), and
    capped at 0.97; the residuals get Bartlett weights up to ``bandwidth`` lags (Newey and West 1987). A negative
    dependence is not credited, since it would narrow the interval on the word of few observations.

    >>> long_run_variance([1.0, 2.0, 1.0, 2.0], 0)
    0.3333333333333333
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    centred = x - x.mean()
    power = float(centred @ centred)
    plain = power / (n - 1)
    if n < 5 or power == 0:
        return plain
    phi = float(centred[1:] @ centred[:-1]) / power
    phi = min(max((n * phi + 1) / (n - 3), 0.0), 0.97)
    residual = centred[1:] - phi * centred[:-1]
    total = float(residual @ residual) / (n - 2)
    for lag in range(1, min(bandwidth, n - 2) + 1):
        weight = 1 - lag / (bandwidth + 1)
        total += 2 * weight * float(residual[lag:] @ residual[:-lag]) / (n - 2)
    return max(total / (1 - phi) ** 2, plain)


def mean_sequence(
    values: ArrayLike, *, alpha: float, best_at: int = 28, min_n: int = 7, bandwidth: int | None = None
) -> MeanSequence:
    """Bounds on the mean of a stream that may be looked at after every observation.

    Args:
        values: the observations in time order, shape ``(n,)``, finite.
        alpha: the bound on the probability that ``lower`` (or ``upper``) is ever wrong, each side for itself.
        best_at: the number of observations at which the bounds shall be tightest.
        min_n: no bound is given before.
        bandwidth: lags of dependence; ``None`` takes ``ceil(1.5 n^(1/3))``.

    Raises:
        ValueError: an observation is not finite.

    >>> result = mean_sequence([1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.0, 1.1], alpha=0.05)
    >>> result.lower > 0.5
    True
    """
    x: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if not np.isfinite(x).all():
        raise ValueError("observations must be finite")
    n = len(x)
    if n < max(min_n, 2):
        mean = float(x.mean()) if n else None
        return MeanSequence(n, mean, None, None, alpha, None, f"{n} of at least {max(min_n, 2)} observations")
    lags = math.ceil(1.5 * n ** (1 / 3)) if bandwidth is None else bandwidth
    # each lag that is estimated, like the mean itself, uses up one observation
    freedom = max(n - 1 - lags, 1)
    variance = long_run_variance(x, lags) * (n - 1) / freedom
    deviation = math.sqrt(variance)
    half = deviation * float(one_sided_widths(n, alpha=alpha, best_at=best_at))
    mean = float(x.mean())
    return MeanSequence(n, mean, mean - half, mean + half, alpha, deviation)


def one_sided_widths(n: ArrayLike, *, alpha: float, best_at: int) -> NDArray[np.float64]:
    """The half-widths for a standard deviation of one (proposition B.1 of the paper).

    ``rho`` is chosen for the tightest bound at ``best_at`` (their equation for the two-sided case at ``2 alpha``).

    Args:
        n: numbers of observations, at least 1, any shape.
        alpha: the error bound of the one side, over all ``n``.
        best_at: the number of observations at which the bound shall be tightest.
    """
    count = np.asarray(n, dtype=np.float64)
    log_term = -2 * math.log(2 * alpha) if alpha < 0.5 else 0.1
    rho2 = (log_term + math.log(1 + log_term)) / best_at
    scaled = count * rho2 + 1
    return np.sqrt(2 * scaled / (count * count * rho2) * np.log(1 + np.sqrt(scaled) / (2 * alpha)))
