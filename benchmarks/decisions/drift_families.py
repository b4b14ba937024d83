"""Daily streams without drift of a broad family, drawn apart from the generators that anything was settled on.

A job draws its kind of noise, its dependence, its season and what else moves its 40 streams: every second job or so has
years whose seasons differ, peaks that two harmonics do not follow, pulses, or a level that wanders on its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

__all__ = ["draw_family"]

Floats = NDArray[np.float64]

_DAYS = 1096
_STREAMS = 40
_BURN_IN = 400
_SEED = 60_600
_YEAR_DAYS = 365.25


def draw_family(number: int) -> tuple[NDArray[np.int64], Floats]:
    """The days (since 1970) of job ``number`` and its streams, shape ``(1096, 40)``."""
    rng = np.random.default_rng([_SEED, number])
    days = np.arange(_DAYS) + int(rng.integers(15_000, 19_000))
    streams = _noise(rng) + _season(rng, days)
    wandering = rng.choice([0.0, 0.0, 0.08, 0.15, 0.25])
    return days, streams + wandering * _wander(rng, rng.uniform(40, 200))


def _noise(rng: np.random.Generator) -> Floats:
    """Noise of variance one, whose days hang together in one of four ways."""
    steps = _steps(rng, (_DAYS + _BURN_IN, _STREAMS))
    common = rng.uniform(0, 0.5) * (rng.random() < 0.6)
    steps = np.sqrt(1 - common) * steps + np.sqrt(common) * rng.normal(size=(len(steps), 1))
    dependence = rng.integers(4)
    columns = []
    for own in steps.T:
        noise = own
        if dependence == 1:
            noise = signal.lfilter([1.0], [1.0, -rng.uniform(0, 0.75)], own)
        elif dependence == 2:
            noise = signal.lfilter(np.ones(int(rng.integers(2, 7))), [1.0], own)
        elif dependence == 3:
            noise = signal.lfilter([1.0, rng.uniform(-0.5, 0.5)], [1.0, -rng.uniform(0.2, 0.7)], own)
            noise = noise + 0.7 * rng.normal(size=len(own))
        columns.append(noise[_BURN_IN:] / noise[_BURN_IN:].std())
    return np.stack(columns, axis=1)


def _steps(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Independent steps of variance one: normal, heavy-tailed, skewed, peaked, or of days of unlike size."""
    kind = rng.integers(5)
    if kind == 1:
        return rng.standard_t(5, shape) / np.sqrt(5 / 3)
    if kind == 2:
        size = rng.uniform(1, 6)
        return (rng.gamma(size, size=shape) - size) / np.sqrt(size)
    if kind == 3:
        return rng.laplace(0, np.sqrt(0.5), shape)
    scale = np.exp(rng.normal(0, 0.4, (shape[0], 1)) - 0.16) if kind == 4 else 1.0
    return rng.normal(size=shape) * scale


def _season(rng: np.random.Generator, days: NDArray[np.int64]) -> Floats:
    """Weekdays, up to four harmonics and two peaks of the year, whose sizes differ between years, and pulses."""
    date, year = (days % _YEAR_DAYS) / _YEAR_DAYS, (days // _YEAR_DAYS).astype(np.int64)
    season = np.zeros((len(days), _STREAMS))
    if rng.random() < 0.75:
        sizes = 1 + rng.choice([0.0, 0.05, 0.1, 0.15]) * rng.normal(size=(int(year.max() - year.min()) + 1, _STREAMS))
        scale = rng.uniform(0.2, 1.5)
        for harmonic in range(1, int(rng.integers(2, 6))):
            angle = 2 * np.pi * harmonic * date[:, None]
            sine, cosine = rng.normal(0, scale / harmonic**1.5, (2, _STREAMS))
            season += sine * np.sin(angle) + cosine * np.cos(angle)
        for _ in range(int(rng.integers(3))):
            centre, width = rng.random(), rng.uniform(0.01, 0.05)
            away = np.minimum(np.abs(date - centre), 1 - np.abs(date - centre))[:, None]
            season += np.exp(-0.5 * (away / width) ** 2) * rng.normal(0, rng.uniform(0, 1.5), _STREAMS)
        season *= sizes[year - year.min()]
    if rng.random() < 0.8:
        season += (rng.normal(size=(7, _STREAMS)) * rng.uniform(0.2, 1.5))[(days + 3) % 7]
    if rng.random() < 0.5:
        season += (rng.random(season.shape) < 0.03) * rng.uniform(0.5, 2.5, _STREAMS)
    return season


def _wander(rng: np.random.Generator, half_life: float) -> Floats:
    """A level of variance one that forgets half of where it was in so many days."""
    kept = 0.5 ** (1 / half_life)
    steps = rng.normal(0, np.sqrt(1 - kept**2), (_DAYS + _BURN_IN, _STREAMS))
    found: Floats = signal.lfilter([1.0], [1.0, -kept], steps, axis=0)[_BURN_IN:]
    return found
