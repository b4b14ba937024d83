"""Simulated losses of two models at a retailer, unlike those that the methods were made on.

A unit is an item in a store. A model's loss on a day is lognormal around the unit's size; sizes are lognormal too, a
third of the days of slow units are without any, weekdays and a yearly wave scale all, and the logarithms hang together
over days (a moving sum of five days, beside an autoregression) and within a store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Retailer", "log_correlation"]

Floats = NDArray[np.float64]
_SPREAD = 0.8


def log_correlation(correlation: float) -> float:
    """The correlation of logarithms that gives lognormal losses a correlation."""
    square = _SPREAD**2
    return float(np.log(1 + correlation * (np.exp(square) - 1)) / square)


@dataclass(frozen=True)
class Retailer:
    """Who loses.

    Attributes:
        stores: how many.
        items: how many in each.
        phi: the autoregression of what a unit's days have in common.
        correlation: of both models' losses on one case.
        gain: the share of the loss that the challenger saves.
        store_share: the share of the logarithms' variance that all items of a store have in common on a day.
        common_share: the share that all stores have in common.
    """

    stores: int = 50
    items: int = 20
    phi: float = 0.3
    correlation: float = 0.98
    gain: float = 0.0
    store_share: float = 0.1
    common_share: float = 0.0

    def losses(self, rng: np.random.Generator, days: int) -> tuple[Floats, Floats]:
        """The losses of champion and challenger, each of shape ``(days, stores, items)``."""
        shape = (days, self.stores, self.items)
        share = log_correlation(self.correlation)
        shared = self._noise(rng, days)
        champion, challenger = (np.sqrt(share) * shared + np.sqrt(1 - share) * self._noise(rng, days) for _ in "ab")
        size = np.exp(rng.normal(0, 1, (self.stores, self.items)) + rng.normal(0, 0.3, (self.stores, 1)))
        day = np.arange(days)[:, None, None] + rng.integers(0, 365)
        season = (1 + 0.35 * np.sin(2 * np.pi * day / 7)) * (1 + 0.2 * np.sin(2 * np.pi * day / 365.25))
        is_open = (rng.random(shape) > 1 / 3) | (size > 1)
        scale = size * season * is_open
        return scale * np.exp(_SPREAD * champion), (1 - self.gain) * scale * np.exp(_SPREAD * challenger)

    def _noise(self, rng: np.random.Generator, days: int) -> Floats:
        """Standard normal values whose days and stores hang together."""
        own = 1 - self.store_share - self.common_share
        parts = ((own, (self.stores, self.items)), (self.store_share, (self.stores, 1)), (self.common_share, (1, 1)))
        total = np.zeros((days, self.stores, self.items))
        for share, shape in parts:
            if share > 0:
                total += np.sqrt(share) * _dependent(rng, days, shape, self.phi)
        return total


def _dependent(rng: np.random.Generator, days: int, shape: tuple[int, int], phi: float) -> Floats:
    """Half of the variance an autoregression, half a moving mean of five days where there is any dependence."""
    steps = rng.normal(size=(days, *shape)) * np.sqrt(1 - phi * phi)
    slow = np.empty_like(steps)
    slow[0] = rng.normal(size=shape)
    for day in range(1, days):
        slow[day] = phi * slow[day - 1] + steps[day]
    if phi == 0:
        return slow
    fresh = np.cumsum(np.concatenate([np.zeros((1, *shape)), rng.normal(size=(days + 4, *shape))]), axis=0)
    moving = (fresh[5:] - fresh[:-5]) / np.sqrt(5)
    return np.sqrt(0.5) * (slow + moving)
