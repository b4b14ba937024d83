"""How far days, and clusters, are from being independent: what the width of an interval must answer for."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["common_share_is_plain", "effective_number", "long_run_variances"]

Floats = NDArray[np.float64]

_STRONGEST = 0.97


def long_run_variances(values: Floats, bandwidth: int | None = None, *, caution: float = 0.0) -> tuple[Floats, Floats]:
    """The long-run variance of streams, and how many independent observations each is worth.

    As :func:`everloop.stats.sequential.long_run_variance`, for many streams at once: prewhitened by an autoregression
    of order one (Andrews and Monahan 1992, section 3) with Kendall's correction (1954), Bartlett weights (Newey and
    West 1987), never below the plain variance.

    Args:
        values: shape ``(..., n)`` with at least 5 observations, finite.
        bandwidth: lags of dependence; ``None`` takes ``ceil(1.5 n^(1/3))``.
        caution: the autocorrelation is taken for so many of its standard errors higher than it looks.

    Returns:
        The variance of one observation in the long run, and ``n`` times plain over long-run variance; shape ``(...)``.

    >>> variance, number = long_run_variances(np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]))
    >>> round(float(variance), 3), float(number)
    (0.3, 6.0)
    """
    n = values.shape[-1]
    lags = math.ceil(1.5 * n ** (1 / 3)) if bandwidth is None else bandwidth
    centred = values - values.mean(axis=-1, keepdims=True)
    power = (centred**2).sum(axis=-1)
    plain = power / (n - 1)
    safe = np.where(power > 0, power, 1.0)
    phi = (centred[..., 1:] * centred[..., :-1]).sum(axis=-1) / safe
    phi = (n * phi + 1) / (n - 3)
    phi = np.clip(phi + caution * np.sqrt(np.maximum(1 - phi * phi, 0.0) / n), 0.0, _STRONGEST)
    residual = centred[..., 1:] - phi[..., None] * centred[..., :-1]
    total = (residual**2).sum(axis=-1) / (n - 2)
    for lag in range(1, min(lags, n - 2) + 1):
        weight = 1 - lag / (lags + 1)
        total = total + 2 * weight * (residual[..., lag:] * residual[..., :-lag]).sum(axis=-1) / (n - 2)
    variance = np.maximum(total / (1 - phi) ** 2, plain)
    return variance, n * np.where(power > 0, plain / np.where(variance > 0, variance, 1.0), 1.0)


def effective_number(sizes: Floats) -> Floats:
    """How many equal groups unequal ones are worth (Kish 1965, section 11.7), over the last axis.

    >>> float(effective_number(np.ones(4))), round(float(effective_number(np.array([8.0, 1.0, 1.0]))), 2)
    (4.0, 1.52)
    """
    total = sizes.sum(axis=-1)
    square = (sizes**2).sum(axis=-1)
    return np.where(square > 0, total**2 / np.where(square > 0, square, 1.0), 0.0)


def common_share_is_plain(ratio: Floats, days: Floats, *, error: float) -> NDArray[np.bool_]:
    """Whether what clusters have in common is plainly there.

    Args:
        ratio: the variance of the clusters' sum over the sum of their variances, each over days: 1 where they are
            independent, up to their number where they move together.
        days: how many days these variances rest on.
        error: how often independent clusters may be taken for dependent.

    >>> common_share_is_plain(np.array([1.2, 6.0]), np.array([14.0, 14.0]), error=0.01).tolist()
    [False, True]
    """
    freedom = np.maximum(days - 1, 1.0)
    return np.asarray(ratio > special.chdtri(freedom, error) / freedom)
