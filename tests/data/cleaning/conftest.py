"""Panels of one shop with planted stock-outs, closed days, returns, outliers and wrong prices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from everloop.core.frequency import Frequency
from everloop.data.panel import Future, Panel

MakePanel = Callable[..., Panel]
CUTOFF = 16_000


@pytest.fixture
def make_panel() -> MakePanel:
    """A panel of a matrix of targets, shape ``(series, periods)``; other columns by name in the same shape."""

    def make(y: np.ndarray, *, frequency: str = "1d", steps: int = 0, **observed: np.ndarray) -> Panel:
        n, periods = y.shape
        return Panel(
            frequency=Frequency.parse(frequency),
            series_columns=("shop", "item"),
            keys=tuple(("a", f"i{number:04d}") for number in range(n)),
            cutoff=CUTOFF,
            offsets=np.arange(n + 1, dtype=np.int64) * periods,
            y=y.astype(np.float32).ravel(),
            observed={name: values.astype(np.float32).ravel() for name, values in observed.items()},
            future=Future(steps, {}),
        )

    return make


def intermittent(n: int, periods: int, *, seed: int, stay: float = 0.3) -> np.ndarray:
    """Counts whose zeros are a Markov chain with a weekly pattern: chance of a zero 0.05 to 0.6, more after a zero."""
    random = np.random.default_rng(seed)
    base = random.uniform(0.05, 0.6, n)
    weekday = 1 + 0.4 * np.sin(2 * np.pi * np.arange(7) / 7)
    zero = np.zeros((n, periods), dtype=bool)
    was = random.random(n) < base
    for day in range(periods):
        p = np.clip(base * weekday[day % 7], 0, 1)
        was = random.random(n) < np.where(was, np.maximum(p, p + stay * (1 - p) * base), p)
        zero[:, day] = was
    return np.where(zero, 0, 1 + random.poisson(2.0, (n, periods)))
