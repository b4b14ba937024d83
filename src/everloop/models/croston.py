"""Croston's method and its kin as a forecaster: for items that do not sell in every period."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext
from everloop.models.intermittent import croston, tsb
from everloop.models.recomputed import RecomputedForecaster
from everloop.models.search import Choice, Range, Real

__all__ = ["CrostonForecaster"]

Doubles = NDArray[np.float64]

_VARIANTS = ("classic", "sba", "tsb")


class CrostonForecaster(RecomputedForecaster):
    """Smoothed size of demands over the smoothed interval between them, times the seasonal profile.

    Args:
        variant: ``"classic"`` is Croston (1972); ``"sba"`` takes away most of its bias (Syntetos and Boylan 2005);
            ``"tsb"`` smooths the probability of a demand in place of the interval, and so falls to zero for an item
            that is sold no more (Teunter, Syntetos and Babai 2011).
        alpha: the weight of the newest size, and of the newest interval for the first two variants.
        beta: the weight of the newest period in the probability of a demand, for ``"tsb"``.
        history: how many of the last periods count.
        windows: on how many horizons before the end the intervals are measured.
    """

    def __init__(
        self, variant: str = "sba", alpha: float = 0.1, *, beta: float = 0.05, history: int = 400, windows: int = 3
    ) -> None:
        self.variant = variant
        self.alpha = alpha
        self.beta = beta
        self.history = history
        self.windows = windows

    @classmethod
    def search_space(cls) -> dict[str, Range]:
        """What ``everloop tune`` varies."""
        return {
            "variant": Choice(_VARIANTS),
            "alpha": Real(0.02, 0.4, log=True),
            "beta": Real(0.01, 0.3, log=True),
        }

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Learn the groups' seasonal profiles and measure past errors.

        Raises:
            ModelError: the variant is unknown, or a weight or the history cannot be.
        """
        if self.variant not in _VARIANTS:
            raise ModelError(
                "croston_variant",
                f"there is no variant {self.variant!r} of Croston's method",
                hint=f"one of {', '.join(_VARIANTS)}",
            )
        for weight in (self.alpha, self.beta):
            if not 0 < weight <= 1:
                raise ModelError("smoothing_weight", f"a weight of {weight} cannot be", hint="give one in (0, 1]")
        return super().fit(panel, context)

    def levels(self, y: Doubles, horizon: int) -> Doubles:
        """The demand a period, alike for all steps."""
        del horizon
        if self.variant == "tsb":
            return tsb(y, self.alpha, self.beta)[:, None]
        return croston(y, self.alpha, is_corrected=self.variant == "sba")[:, None]

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        return {
            "variant": self.variant,
            "alpha": self.alpha,
            "beta": self.beta,
            "history": self.history,
            "windows": self.windows,
        }
