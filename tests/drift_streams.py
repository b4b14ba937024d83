"""Daily streams that the method was made on: gaussian or heavy-tailed noise around a week and a year.

What the benchmark measures on is another generator, of rows, with other shapes and seeds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FIRST = 15_000


def autoregressive(rng: np.random.Generator, phi: Floats, steps: Floats) -> Floats:
    """An AR(1) of variance one, the first hundred of ``steps`` left out."""
    value = np.zeros(len(phi))
    out = np.empty_like(steps)
    for period, step in enumerate(steps):
        value = phi * value + np.sqrt(1 - phi**2) * step
        out[period] = value
    return out[100:]


def streams(seed: int, shape: str, *, number: int, days: int = 1095) -> tuple[NDArray[np.int64], Floats]:
    """Days and streams without any drift, shape ``(days, number)``; what the season leaves has a deviation of one."""
    rng = np.random.default_rng([seed, 41])
    day = np.arange(FIRST, FIRST + days)
    if shape == "independent":
        return day, rng.normal(size=(days, number))
    if shape == "autocorrelated":
        return day, autoregressive(rng, rng.uniform(0.3, 0.9, number), rng.normal(size=(days + 100, number)))
    angle = 2 * np.pi * day[:, None] / 365.25
    season = rng.normal(size=(7, number))[(day + 3) % 7]
    for harmonic in (1, 2):
        for wave in (np.sin, np.cos):
            season = season + rng.normal(0, 1 / harmonic, number) * wave(harmonic * angle)
    if shape == "seasonal":
        return day, season + rng.normal(size=(days, number))
    steps = rng.standard_t(5, size=(days + 100, number)) / np.sqrt(5 / 3)
    noise = autoregressive(rng, rng.uniform(0.1, 0.7, number), steps)
    christmas = np.exp(-0.5 * ((day % 365 - 350) / 8) ** 2)[:, None] * rng.normal(size=number)
    wander = np.cumsum(rng.normal(0, 0.012, (days, number)), axis=0)
    return day, season + 0.95 * noise + christmas + wander
