"""How hard each time of the year is to forecast, and how much that differs from window to window.

The seasonal naive needs no fitting, so it can be examined over the whole history, in many more windows than a
candidate. Its errors tell the season of the difficulty, and how far the level of one window lies from the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel
from everloop.validate.lagged import lagged

__all__ = ["History", "Spread", "learn_history"]

Floats = NDArray[np.float64]

_MOST_FREEDOM = 16.0
"""The naive is not the candidate: however long the history, it counts for no more windows than this."""
_LEAST_YEARS = 2
_FLOOR = 1e-3


@dataclass(frozen=True, slots=True)
class Spread:
    """How a kind of level differs from window to window.

    Attributes:
        months: the factor of each month (``"1"`` to ``"12"``), added to the level; empty without a season.
        variance: of a window's level, months aside.
        below: how far the lowest window lay below the mean of all.
        above: how far the highest lay above it.
    """

    months: dict[str, float] = field(default_factory=dict)
    variance: float = 0.0
    below: float = 0.0
    above: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """What the naive's errors tell.

    Attributes:
        error: of the logarithm of the error over the sales.
        scale: of the logarithm of the error itself.
        bias: of the signed error over the sales; it has no season.
        season: how the months were learnt, or why not.
        freedom: how many windows this knowledge counts for.
        inflation: the variance of a month's factor, as a share of a window's.
    """

    error: Spread = field(default_factory=Spread)
    scale: Spread = field(default_factory=Spread)
    bias: Spread = field(default_factory=Spread)
    season: str = ""
    freedom: float = 0.0
    inflation: float = 0.0


def learn_history(
    panel: Panel, *, lag: int, slow: int, steps: int, window: int, season: History | None = None
) -> History:
    """What a seasonal naive of some lag would have done all along.

    Args:
        panel: the history.
        lag: the lag, in steps.
        slow: the lag of a forecaster that averages several seasons, in steps. It follows a season of the sales later
            than the naive does, so its bias differs more from window to window; the bias is learnt from it.
        steps: how many steps make one observation.
        window: how many observations make a window.
        season: takes the months' factors from here; ``None`` learns them.
    """
    first, absolute, _, actual = _naive_sums(panel, lag, steps)
    typical = float(np.median(actual[actual > 0])) if (actual > 0).any() else 0.0
    usable = actual > 0.05 * typical
    safe = np.where(usable, actual, 1.0)
    error = np.where(usable, np.log(np.maximum(absolute / safe, _FLOOR)), np.nan)
    scale = np.where(usable, np.log(np.maximum(absolute, _FLOOR * typical or 1.0)), np.nan)
    bias, bias_dates = _slow_bias(panel, slow, steps, 0.05 * typical)
    dates = _dates(panel, first, len(actual), steps)
    years = _years(error, dates)
    learnt = season or History(
        error=Spread(_months(error, dates, years)), scale=Spread(_months(scale, dates, years)), season=_words(years)
    )
    blocks = len(_block_means(error, window))
    # each factor that was learnt has used up a window
    left = blocks - 1 - (11 if learnt.error.months else 0)
    if left < 1:
        return replace(learnt, freedom=0.0)
    spent = (blocks - 1) / left
    return History(
        error=_spread(error, dates, learnt.error.months, window, spent),
        scale=_spread(scale, dates, learnt.scale.months, window, spent),
        bias=_spread(bias, bias_dates, {}, window, 1.0),
        season=learnt.season,
        freedom=min(float(left), _MOST_FREEDOM),
        inflation=1 / years if learnt.error.months and years else 0.0,
    )


def _slow_bias(panel: Panel, lag: int, steps: int, least: float) -> tuple[Floats, NDArray[np.int64]]:
    """The bias by observation of a naive of some lag, and the month of each."""
    first, _, signed, actual = _naive_sums(panel, lag, steps)
    usable = actual > least
    bias = np.divide(signed, actual, out=np.full(len(actual), np.nan), where=usable)
    return bias, _dates(panel, first, len(actual), steps)


def _dates(panel: Panel, first: int, size: int, steps: int) -> NDArray[np.int64]:
    """The month of each observation, counted from 1970."""
    return panel.frequency.times((first + np.arange(size)) * steps).astype("M8[M]").astype(np.int64)


def _spread(values: Floats, dates: NDArray[np.int64], months: dict[str, float], window: int, spent: float) -> Spread:
    if months:
        values = values - np.array([months[str(month)] for month in dates % 12 + 1])
    levels = _block_means(values, window)
    if len(levels) < 2:
        return Spread(months)
    middle = float(levels.mean())
    return Spread(
        months=months,
        variance=float(levels.var(ddof=1)) * spent,
        below=middle - float(levels.min()),
        above=float(levels.max()) - middle,
    )


def _naive_sums(panel: Panel, lag: int, steps: int) -> tuple[int, Floats, Floats, Floats]:
    """The first observation, and by observation the sums of absolute and signed errors and of sales."""
    base = (panel.cutoff + 1 - int(panel.lengths.max(initial=0))) // steps
    size = panel.cutoff // steps - base + 1
    seen = np.zeros(size, dtype=np.int64)
    sums = np.zeros((3, size))
    for part in lagged(panel.y, panel.offsets, lag):
        known = np.isfinite(part.difference)
        age = np.repeat(part.begins[1:], np.diff(part.begins)) - np.arange(len(known))
        place = (panel.cutoff + 1 - age[known]) // steps - base
        error, sales = -part.difference[known], np.abs(part.values[known])
        seen += np.bincount(place, minlength=size)
        sums += [np.bincount(place, weights, size) for weights in (np.abs(error), error, sales)]
    places = np.flatnonzero(seen)
    if not len(places):
        empty = np.zeros(0)
        return 0, empty, empty, empty
    absolute, signed, actual = sums[:, places[0] : places[-1] + 1]
    return base + int(places[0]), absolute, signed, actual


def _years(error: Floats, dates: NDArray[np.int64]) -> int:
    """In how many years each month was seen, 0 for fewer than are needed to tell a season."""
    seen = np.isfinite(error)
    years = min(len(np.unique(dates[seen & (dates % 12 == month)])) for month in range(12))
    return years if years >= _LEAST_YEARS else 0


def _words(years: int) -> str:
    if years:
        return f"each month's factor is the seasonal naive's error in it, over at least {years} years"
    return (
        f"the history does not show each month {_LEAST_YEARS} times: no season of the error is told apart, and the "
        "ranges hold the whole year's"
    )


def _months(values: Floats, dates: NDArray[np.int64], years: int) -> dict[str, float]:
    """The mean of each month over the mean of all months; empty where they were not seen often enough."""
    if not years:
        return {}
    seen = np.isfinite(values)
    means = np.array([float(np.mean(values[seen & (dates % 12 == month)])) for month in range(12)])
    means -= means.mean()
    return {str(month + 1): float(mean) for month, mean in enumerate(means)}


def _block_means(values: Floats, window: int) -> Floats:
    """The means of consecutive windows, the newest whole; those with less than half of their values are left out."""
    whole = len(values) // window
    if whole == 0:
        return np.zeros(0)
    blocks = values[len(values) - whole * window :].reshape(whole, window)
    seen = np.isfinite(blocks)
    sums = np.where(seen, blocks, 0.0).sum(axis=1)
    enough = seen.sum(axis=1) * 2 >= window
    return np.asarray(sums[enough] / seen.sum(axis=1)[enough], dtype=np.float64)
