"""What a forecaster is: fit, forecast with intervals, update with new rows, save and load.

A user's own forecaster is a class with these methods; ``everloop.models.checks`` tells whether it keeps the
laws that the rest of Everloop relies on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel

__all__ = ["FitContext", "Forecast", "ForecastRequest", "Forecaster"]


@dataclass(frozen=True, slots=True)
class FitContext:
    """What a fit may rely on.

    Attributes:
        horizon: the longest horizon that will be asked, in steps.
        levels: the levels of the intervals that will be asked, in percent.
        seed: the seed of every random choice.
        threads: how many threads to use.
    """

    horizon: int
    levels: tuple[float, ...] = (80.0, 95.0)
    seed: int = 7
    threads: int = 1


@dataclass(frozen=True, slots=True)
class ForecastRequest:
    """What is asked of a fitted forecaster.

    Attributes:
        horizon: steps after the cutoff, at most the one it was fitted for.
        levels: the intervals wanted, in percent.
        series: the numbers of the series wanted, all of them where it is ``None``.
        future: known-ahead values to use instead of the stored ones (a what-if), each of shape
            ``(len(series), horizon)``, codes for text columns; NaN keeps the stored value.
    """

    horizon: int
    levels: tuple[float, ...] = ()
    series: NDArray[np.int64] | None = None
    future: dict[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecasts and their intervals.

    Attributes:
        series: the numbers of the series, shape ``(n,)``.
        cutoff: the grid index that the forecast starts after.
        mean: shape ``(n, horizon)``.
        lower: by level, shape ``(n, horizon)``; NaN where there is too little evidence for that level.
        upper: likewise.
        notes: what the reader must know, such as "price: last known value used".
    """

    series: NDArray[np.int64]
    cutoff: int
    mean: NDArray[np.float64]
    lower: dict[float, NDArray[np.float64]] = field(default_factory=dict)
    upper: dict[float, NDArray[np.float64]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@runtime_checkable
class Forecaster(Protocol):
    """A model of a panel of series.

    A constructor only stores its parameters; what ``fit`` learns ends in an underscore.
    """

    memory: int
    """How many trailing periods ``update`` needs to see, known after ``fit``."""

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Learn from all that the panel holds."""
        ...

    def update(self, panel: Panel) -> Self:
        """A copy that stands at the panel's cutoff without learning anew.

        The panel holds at least ``memory`` trailing periods of every series, among them new and corrected
        rows and new series, and what is known ahead. ``self`` stays as it is.
        """
        ...

    def forecast(self, request: ForecastRequest) -> Forecast:
        """Forecast from the panel that was last seen by ``fit`` or ``update``."""
        ...

    def series_panel(self) -> Panel:
        """The panel's head as last seen: its keys, grid, cutoff, categories (its rows may be cut to a tail)."""
        ...

    def parameters(self) -> dict[str, Any]:
        """What the constructor stored, as JSON values."""
        ...

    def save(self, folder: Path) -> None:
        """Write all of the fitted state below an empty folder; the same state gives the same bytes."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        ...
