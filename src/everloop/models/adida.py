"""Forecasts of sums over longer buckets, parted evenly again: for items that sell seldom and irregularly."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext
from everloop.models.intermittent import adida, imapa
from everloop.models.recomputed import RecomputedForecaster, check_weights
from everloop.models.search import Choice, Range, Real

__all__ = ["ADIDAForecaster"]

Doubles = NDArray[np.float64]


class ADIDAForecaster(RecomputedForecaster):
    """Aggregate, smooth, part again (Nikolopoulos et al. 2011), times the seasonal profile.

    A bucket is as long as the mean interval between a series' demands; for an item that sells daily that is one
    period, and the method is simple smoothing.

    Args:
        multiple: take the mean over all bucket lengths from one period up to that one (IMAPA, Petropoulos and
            Kourentzes 2015) rather than the longest alone.
        low: the least weight of the newest bucket.
        high: the most; within them each series has the weight of least squared error.
        history: how many of the last periods count.
        windows: on how many horizons before the end the intervals are measured.
    """

    def __init__(
        self, *, multiple: bool = False, low: float = 0.1, high: float = 0.3, history: int = 400, windows: int = 3
    ) -> None:
        self.multiple = multiple
        self.low = low
        self.high = high
        self.history = history
        self.windows = windows

    @classmethod
    def search_space(cls) -> dict[str, Range]:
        """What ``everloop tune`` varies."""
        return {"multiple": Choice((False, True)), "low": Real(0.01, 0.1, log=True), "high": Real(0.1, 0.5)}

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Learn the groups' seasonal profiles and measure past errors.

        Raises:
            ModelError: a weight or the history cannot be.
        """
        check_weights(self.low, self.high)
        return super().fit(panel, context)

    def levels(self, y: Doubles, horizon: int) -> Doubles:
        """The demand a period, alike for all steps."""
        del horizon
        method = imapa if self.multiple else adida
        return method(y, low=self.low, high=self.high)[:, None]

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        return {
            "multiple": self.multiple,
            "low": self.low,
            "high": self.high,
            "history": self.history,
            "windows": self.windows,
        }
