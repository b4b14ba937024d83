"""The theta method as a forecaster: simple smoothing with a part of the trend, times the seasonal profile."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext
from everloop.models.recomputed import RecomputedForecaster, check_weights
from everloop.models.search import Choice, Range, Real
from everloop.models.theta_method import fit_theta

__all__ = ["ThetaForecaster"]

Doubles = NDArray[np.float64]


class ThetaForecaster(RecomputedForecaster):
    """The theta method (Assimakopoulos and Nikolopoulos 2000) on seasonally adjusted series.

    Args:
        theta: how much of the curvature is kept: 2 takes half of the trend, 1 none (simple smoothing); fitted for
            each series where it is ``None``.
        dynamic: whether the trend's line follows what is seen (Fiorucci et al. 2016).
        low: the least weight of the newest value.
        high: the most; within them each series has the weight of least squared error.
        history: how many of the last periods count.
        windows: on how many horizons before the end the intervals are measured.
    """

    def __init__(
        self,
        theta: float | None = 2.0,
        *,
        dynamic: bool = False,
        low: float = 0.02,
        high: float = 0.8,
        history: int = 400,
        windows: int = 3,
    ) -> None:
        self.theta = theta
        self.dynamic = dynamic
        self.low = low
        self.high = high
        self.history = history
        self.windows = windows

    @classmethod
    def search_space(cls) -> dict[str, Range]:
        """What ``everloop tune`` varies."""
        return {
            "theta": Choice((1.0, 1.5, 2.0, 3.0, None)),
            "dynamic": Choice((False, True)),
            "high": Real(0.1, 0.9, log=True),
        }

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Learn the groups' seasonal profiles and measure past errors.

        Raises:
            ModelError: theta, a weight or the history cannot be.
        """
        if self.theta is not None and self.theta < 1:
            raise ModelError("theta", f"a theta of {self.theta} cannot be", hint="give 1 or more, 2 as a rule")
        check_weights(self.low, self.high)
        return super().fit(panel, context)

    def levels(self, y: Doubles, horizon: int) -> Doubles:
        """The forecasts of each step."""
        share = None if self.theta is None else 1.0 - 1.0 / self.theta
        return fit_theta(y, share=share, is_dynamic=self.dynamic, low=self.low, high=self.high).ahead(horizon)

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        return {
            "theta": self.theta,
            "dynamic": self.dynamic,
            "low": self.low,
            "high": self.high,
            "history": self.history,
            "windows": self.windows,
        }
