"""A forecaster whose intervals follow the outcomes: its ends are stretched by factors that were learnt since release.

The forecast itself stays as it is. What is stretched is a forecaster's own interval, whoever wrote it, so a user's own
adapts as the built-in ones do.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext, Forecast, Forecaster, ForecastRequest
from everloop.stats.adaptive import Widths

__all__ = ["AdaptedForecaster", "stretched"]

Floats = NDArray[np.float64]


def stretched(forecast: Forecast, widths: Widths) -> Forecast:
    """A forecast with its intervals' ends moved.

    A lower end that was not negative does not become so, one at zero stays there, and the interval of a higher level
    holds that of a lower one.
    """
    mean = forecast.mean
    lower: dict[float, Floats] = {}
    upper: dict[float, Floats] = {}
    inner_low, inner_high = mean, mean
    for level in sorted(forecast.lower):
        low, high = forecast.lower[level], forecast.upper[level]
        below, above = widths.factors(level, mean)
        moved_low = mean - (mean - low) * below
        # an end at zero is where a count cannot fall below, however narrow the interval
        moved_low = np.where(low > 0, np.maximum(moved_low, 0.0), np.where(low == 0, 0.0, moved_low))
        moved_high = mean + (high - mean) * above
        # NaN means that no interval was given, and stays
        lower[level] = np.where(np.isnan(low), np.nan, np.fmin(moved_low, inner_low))
        upper[level] = np.where(np.isnan(high), np.nan, np.fmax(moved_high, inner_high))
        inner_low, inner_high = np.fmin(lower[level], inner_low), np.fmax(upper[level], inner_high)
    return replace(
        forecast,
        lower={level: lower[level] for level in forecast.lower},
        upper={level: upper[level] for level in forecast.upper},
    )


class AdaptedForecaster:
    """A fitted forecaster with learnt widths.

    Args:
        model: the forecaster.
        widths: the factors.
    """

    def __init__(self, model: Forecaster, widths: Widths) -> None:
        self.model = model
        self.widths = widths
        self.memory = model.memory

    def __getattr__(self, name: str) -> Any:
        # what else a forecaster offers, such as horizon_; while this object is being made there is no model yet
        if name.startswith("__") or name == "model":
            raise AttributeError(name)
        return getattr(self.model, name)

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Not for this one: what is learnt anew has widths of its own.

        Raises:
            ModelError: always.
        """
        raise ModelError("fit_adapted", "an adapted forecaster is not fitted", hint="fit the one that it holds")

    def update(self, panel: Panel) -> Self:
        """The forecaster at another cutoff, with the same widths."""
        return type(self)(self.model.update(panel), self.widths)

    def forecast(self, request: ForecastRequest) -> Forecast:
        """The forecaster's answer with stretched intervals."""
        return stretched(self.model.forecast(request), self.widths)

    def series_panel(self) -> Panel:
        """The forecaster's own."""
        return self.model.series_panel()

    def parameters(self) -> dict[str, Any]:
        """The forecaster's own."""
        return self.model.parameters()

    def save(self, folder: Path) -> None:
        """Write the forecaster alone; the widths are kept with the serving state."""
        self.model.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Not for this one: its widths lie elsewhere.

        Raises:
            ModelError: always.
        """
        raise ModelError("load_adapted", "an adapted forecaster has no files", hint="load the one that it holds")
