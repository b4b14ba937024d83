"""WRMSSE: the root mean squared scaled error of sums over a hierarchy of series, weighted by their worth.

Source: "The M5 competition: competitors' guide" (2020), University of Nicosia; Makridakis, Spiliotis &
Assimakopoulos, "M5 accuracy competition", International Journal of Forecasting 38(4), 2022, equations 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import UsageError, nearest
from everloop.core.settings.whole import Settings
from everloop.data.panel import Panel
from everloop.data.totals import grouping

__all__ = ["Sums", "WeightedError", "scales", "wrmsse"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WeightedError:
    """A WRMSSE or WSPL.

    Attributes:
        value: the mean of the levels' values; ``None`` where a level has none.
        by_level: the value of each level, in the order asked.
        reason: why there is no value.
    """

    value: float | None
    by_level: tuple[float | None, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sums:
    """Which sums of series count, and what each series is worth.

    Attributes:
        levels: for each level its columns; see :func:`wrmsse`.
        worth: a known-ahead, observed or static column of numbers that the target is multiplied by; empty for one.
    """

    levels: tuple[tuple[str, ...], ...]
    worth: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Sums | None:
        """What the settings say, ``None`` where no sums are asked."""
        validation = settings.validation
        return cls(tuple(map(tuple, validation.sums)), validation.worth) if validation.sums else None

    def error(self, past: Panel, actual: Floats, forecast: Floats) -> WeightedError:
        """The WRMSSE of forecasts after a panel's cutoff; series weigh by their last periods, as many as are forecast.

        Raises:
            UsageError: a column is not there.
        """
        weights = self.worths(past, actual.shape[1])
        return wrmsse(past, actual, forecast, weights=weights, levels=self.levels)

    def worths(self, past: Panel, periods: int) -> Floats:
        """What each series of a panel was worth over its last periods, shape ``(n_series,)``.

        Raises:
            UsageError: there is no such column of numbers.
        """
        price: NDArray[np.float32] | float = 1.0
        moving = {name: each for name, each in (past.known | past.observed).items() if name not in past.categories}
        if self.worth in moving:
            price = replace(past, y=moving[self.worth]).last(periods)
        elif self.worth in past.static and self.worth not in past.categories:
            price = past.static[self.worth][:, None]
        elif self.worth:
            raise UsageError(
                "wrmsse_worth",
                f"{self.worth!r} is no column of numbers",
                hint=nearest(self.worth, [*moving, *past.static]),
                path="validate.worth",
            )
        return np.asarray(np.nansum(past.last(periods).astype(np.float64) * price, axis=1))


def wrmsse(
    panel: Panel,
    actual: Floats,
    forecast: Floats,
    *,
    weights: Floats,
    levels: Sequence[Sequence[str]],
) -> WeightedError:
    """The WRMSSE of forecasts of all series of a panel.

    At each level the series are summed by the values of its columns. A sum's error is
    ``sqrt(mean_h (a - f)^2 / s)``, where ``s`` is the mean squared one-step difference of its history from its
    first demand above zero on. Sums weigh by the worth of their members, within a level by shares of 1; levels
    weigh the same.

    Args:
        panel: the history up to the cutoff.
        actual: what happened, shape ``(n_series, horizon)``; NaN (no row) counts as zero demand.
        forecast: likewise, without NaN.
        weights: the worth of each series, shape ``(n_series,)``; in M5 its sales in dollars over the last 28 days.
        levels: for each level its columns, series or static ones; an empty list is the sum of everything, all
            series columns are the series themselves.

    Raises:
        UsageError: a column is neither a series nor a static one, or the shapes do not fit.
    """
    if actual.shape != forecast.shape or len(actual) != panel.n_series or weights.shape != (panel.n_series,):
        raise UsageError(
            "wrmsse_shape",
            f"actual {actual.shape}, forecast {forecast.shape} and weights {weights.shape} do not fit "
            f"{panel.n_series} series",
            hint="give one row for each series of the panel, in its order",
        )
    values = [_level(panel, np.nan_to_num(actual), forecast, weights, columns) for columns in levels]
    missing = [number for number, value in enumerate(values) if value is None]
    if missing or not values:
        reason = f"level {missing[0]}: no demand, or no worth" if missing else "no levels were asked"
        return WeightedError(None, tuple(values), reason)
    return WeightedError(float(np.mean([value for value in values if value is not None])), tuple(values))


def _level(panel: Panel, actual: Floats, forecast: Floats, weights: Floats, columns: Sequence[str]) -> float | None:
    level = grouping(panel, columns, path="validate.sums")
    groups, count = level.codes, len(level.labels)
    worth = np.bincount(groups, weights=weights, minlength=count)
    scale = scales(panel, groups, count)
    mean_square = (level.sums(actual - forecast) ** 2).mean(axis=1)
    # a sum without demand has no scale and, by the guide, no worth; its share falls away
    usable = np.isfinite(scale) & (scale > 0)
    total = worth[usable].sum()
    if total <= 0:
        return None
    return float((worth[usable] / total * np.sqrt(mean_square[usable] / scale[usable])).sum())


def scales(panel: Panel, groups: NDArray[np.int64], count: int, *, power: int = 2) -> Floats:
    """The mean one-step difference of each sum's history to a power, from its first demand on; NaN without any.

    Args:
        panel: the history.
        groups: the sum that each series belongs to.
        count: how many sums there are.
        power: 2 for WRMSSE, 1 for WSPL.
    """
    length = int(panel.lengths.max(initial=0))
    place = panel.index_of_rows() - (panel.cutoff - length + 1)
    flat = groups[panel.series_of_rows()] * length + place
    sums = np.bincount(flat, weights=np.nan_to_num(panel.y), minlength=count * length).reshape(count, length)
    has_begun = np.maximum.accumulate(sums > 0, axis=1)[:, :-1]
    steps = np.where(has_begun, np.abs(np.diff(sums, axis=1)) ** power, 0.0).sum(axis=1)
    pairs = has_begun.sum(axis=1)
    found = np.full(count, np.nan)
    np.divide(steps, pairs, out=found, where=pairs > 0)
    return found
