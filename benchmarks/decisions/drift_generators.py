"""Simulated columns of a retailer's table, row by row, unlike the streams that the method was made on.

A job is a table of 20 columns with a row for each of 50 stores a day, over three years: two to learn from and one to
watch. What is made of it are the daily streams: the mean and the logarithm of the deviation of arcsinh over the stores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

__all__ = ["COLUMNS", "HISTORY", "SHAPES", "Job", "draw_job", "forecast_bias"]

Floats = NDArray[np.float64]

COLUMNS = 20
STORES = 50
HISTORY = 731
WATCHED = 365
_DAYS = HISTORY + WATCHED
_SEED = 20_260


@dataclass(frozen=True)
class Job:
    """A table without drift.

    Attributes:
        days: days since 1970, shape ``(d,)``.
        rows: arcsinh of the values, shape ``(d, columns, stores)``, as float32.
        streams: means, then logarithms of deviations, shape ``(d, 2 * columns)``.
    """

    days: NDArray[np.int64]
    rows: NDArray[np.float32]
    streams: Floats


def draw_job(shape: str, number: int) -> Job:
    """Job ``number`` of a shape, one of :data:`SHAPES`."""
    rng = np.random.default_rng([_SEED, list(SHAPES).index(shape), number])
    days = np.arange(_DAYS) + int(rng.integers(16_000, 18_000))
    rows = SHAPES[shape](rng, days)
    spread = np.log(np.maximum(rows.std(axis=2, ddof=1), 1e-6))
    return Job(days, rows.astype(np.float32), np.concatenate([rows.mean(axis=2), spread], axis=1))


def forecast_bias(number: int, streams: int) -> Floats:
    """Logarithms of forecast over actual, summed over 50 stores: 26 weeks of backtest and a year of days.

    Stores err on their own with heavy tails and share a moving sum of six days.
    """
    rng = np.random.default_rng([_SEED, 99, number])
    own = rng.standard_t(4, (547, streams, STORES)) * 0.35
    common = _hang(rng, 547, streams) * 0.06
    sizes = rng.lognormal(0, 0.7, (streams, STORES))
    actual = (sizes * np.exp(-own)).sum(axis=2) * np.exp(-common)
    return np.log(sizes.sum(axis=1) / actual) - np.log(sizes.sum(axis=1) / actual)[:182].mean(axis=0)


def _hang(rng: np.random.Generator, days: int, width: int, phi: float = 0.35) -> Floats:
    """Noise of variance one that hangs together: a moving mean of four days of an autoregression."""
    steps = rng.gamma(4.0, size=(days + 60, width)) / 2 - 2
    noise = signal.lfilter(np.ones(4), [1.0, -phi], steps, axis=0)[60:]
    return noise / noise.std()


def _independent(rng: np.random.Generator, days: NDArray[np.int64]) -> Floats:
    shapes = rng.uniform(1, 5, COLUMNS)[None, :, None]
    return rng.gamma(shapes, size=(len(days), COLUMNS, STORES)) / np.sqrt(shapes)


def _autocorrelated(rng: np.random.Generator, days: NDArray[np.int64]) -> Floats:
    noise = np.concatenate([_hang(rng, len(days), 1, phi) for phi in rng.uniform(0, 0.8, COLUMNS)], axis=1)
    share = rng.uniform(0.05, 0.6, COLUMNS)[None, :]
    rows = rng.logistic(size=(len(days), COLUMNS, STORES)) / 1.8
    return (np.sqrt(share / 10) * noise)[..., None] + rows


def _season(rng: np.random.Generator, days: NDArray[np.int64], jitter: float) -> Floats:
    """A weekend peak, a summer plateau, a short peak before Christmas; the years' sizes differ by ``jitter``."""
    weekday, date = (days + 3) % 7, (days % 365.25) / 365.25
    week = rng.gamma(3.0, size=(COLUMNS, 7)) / 3
    week = 0.35 * (week - week.mean(axis=1, keepdims=True))
    start, width = rng.uniform(0.3, 0.5, COLUMNS), rng.uniform(0.15, 0.35, COLUMNS)
    soft = 0.03
    summer = 1 / (1 + np.exp(-(date[:, None] - start) / soft)) - 1 / (
        1 + np.exp(-(date[:, None] - start - width) / soft)
    )
    christmas = np.exp(-0.5 * ((date[:, None] - 0.955) / 0.02) ** 2)
    years = (days // 365.25).astype(int)
    sizes = 1 + jitter * rng.normal(size=(int(years.max() - years.min()) + 1, COLUMNS))
    year = rng.normal(0, 0.2, COLUMNS) * summer + np.abs(rng.normal(0, 0.2, COLUMNS)) * christmas
    return week.T[weekday] + year * sizes[years - years.min()]


def _seasonal(rng: np.random.Generator, days: NDArray[np.int64]) -> Floats:
    rows = rng.laplace(0, 0.5, (len(days), COLUMNS, STORES))
    return rows + _season(rng, days, 0.0)[..., None]


def _retail(rng: np.random.Generator, days: NDArray[np.int64]) -> Floats:
    """Sales: stores of unlike size, counts with zeros, promotions, a season that differs between years."""
    shape = (len(days), COLUMNS, STORES)
    common = 0.06 * _hang(rng, len(days), COLUMNS)
    promoted = (rng.random((len(days), COLUMNS)) < 0.03) * rng.uniform(0.1, 0.3, COLUMNS)
    size = rng.normal(2.5, 0.8, (COLUMNS, 1)) + rng.normal(0, 0.6, (COLUMNS, STORES))
    steps = rng.normal(0, 0.35, (len(days), COLUMNS * STORES))
    own = signal.lfilter([1.0], [1.0, -0.4], steps, axis=0).reshape(shape)
    rate = np.exp(size + own + (common + promoted + _season(rng, days, 0.1))[..., None])
    counts = rng.poisson(np.minimum(rate, 1e6)).astype(np.float64)
    counts[rng.random(shape) < 0.05] = 0
    return np.arcsinh(counts)


SHAPES: dict[str, Callable[[np.random.Generator, NDArray[np.int64]], Floats]] = {
    "independent": _independent,
    "autocorrelated": _autocorrelated,
    "seasonal": _seasonal,
    "retail": _retail,
}
