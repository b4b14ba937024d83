"""Streams of units for simulations: items that sell rarely, by the week, with heavy tails, and remember yesterday."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def sticky_sales(rng: np.random.Generator, units: int, days: int) -> Floats:
    """Daily sales: log-normal levels, an AR(1) of the log (0.9), a weekly season, many zeros."""
    level = rng.lognormal(1.0, 1.3, (units, 1))
    state = rng.normal(0.0, 0.8, units)
    drift = np.empty((units, days))
    for day in range(days):
        state = 0.9 * state + rng.normal(0.0, 0.8 * np.sqrt(1 - 0.81), units)
        drift[:, day] = state
    season = 1 + 0.4 * np.sin(2 * np.pi * (np.arange(days) + rng.integers(7)) / 7)
    is_open = rng.random((units, days)) < rng.uniform(0.3, 1.0, (units, 1))
    mean = level * np.exp(drift) * season * is_open
    return rng.poisson(rng.gamma(0.7, mean / 0.7 + 1e-12)).astype(np.float64)


def forecast_errors(rng: np.random.Generator, units: int, days: int) -> tuple[Floats, Floats]:
    """Absolute errors of a forecast by last week's mean, and the sales they are a share of."""
    sales = sticky_sales(rng, units, days + 7)
    total = np.cumsum(sales, axis=1)
    mean = (total[:, 7:] - total[:, :-7]) / 7
    return np.abs(sales[:, 7:] - mean), sales[:, 7:]


def deal(rng: np.random.Generator, units: int, weights: tuple[float, ...]) -> NDArray[np.int64]:
    """The arm of each unit, as many as the weights say."""
    sizes = np.round(np.array(weights[1:]) * units).astype(int)
    arms = np.repeat(np.arange(len(weights)), [units - sizes.sum(), *sizes])
    return rng.permutation(arms)
