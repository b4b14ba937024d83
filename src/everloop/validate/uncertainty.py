"""WSPL: the scaled pinball loss of the quantiles of sums over a hierarchy of series, weighted by their worth.

Source: "The M5 competition: competitors' guide" (2020), University of Nicosia; Makridakis et al., "The M5 uncertainty
competition", International Journal of Forecasting 38(4), 2022, equations 1 and 2. M5 asked for nine quantiles: the
median and the ends of intervals of 50, 67, 95 and 99 %.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import UsageError
from everloop.data.panel import Panel
from everloop.data.totals import Grouping, grouping
from everloop.models.total_errors import TotalErrors
from everloop.validate.backtest import Backtest
from everloop.validate.hierarchy import Sums, WeightedError, scales
from everloop.validate.totals import PastWindows

__all__ = ["weighted_pinball", "wspl"]

Floats = NDArray[np.float64]


def weighted_pinball(sums: Sums, backtest: Backtest, panel: Panel) -> tuple[WeightedError, ...]:
    """The WSPL of each window of a backtest, over the levels and by the worth of WRMSSE.

    The quantiles are the ends of the intervals and, for the median, the forecast. The series have the model's own
    intervals; those of sums are learnt from the errors of the same sums in the *other* windows, as
    ``everloop forecast --by`` gives them, so one window alone has none.

    Args:
        sums: the levels and the worth.
        backtest: the forecasts beside what happened.
        panel: the data that it was made on.

    Raises:
        UsageError: a column is not there.
    """
    windows = PastWindows.of(backtest, panel)
    values: list[list[float | None]] = [[] for _ in backtest.folds]
    for columns in sums.levels:
        level = grouping(panel, columns, path="validate.sums")
        quantiles = _quantiles(backtest, windows, panel, level)
        for number, fold in enumerate(backtest.folds):
            past = panel.until(fold.cutoff)
            own = Grouping(level.columns, level.codes[fold.positions], level.labels)
            values[number].append(
                wspl(
                    own.sums(np.nan_to_num(fold.actual)),
                    quantiles[number],
                    scale=scales(past, own.codes, len(level.labels), power=1),
                    weights=own.sums(sums.worths(past, fold.actual.shape[1])[:, None])[:, 0],
                )
            )
    return tuple(_over_levels(each, backtest) for each in values)


def wspl(actual: Floats, quantiles: Mapping[float, Floats], *, scale: Floats, weights: Floats) -> float | None:
    """The weighted scaled pinball loss of the sums of one level, the mean over the quantiles.

    Args:
        actual: shape ``(sums, steps)``.
        quantiles: by probability, of the same shape.
        scale: the mean absolute one-step difference of each sum's past, shape ``(sums,)``; a sum whose scale is zero or
            NaN has no weight.
        weights: the worth of each sum, shape ``(sums,)``.

    Returns:
        ``None`` where no sum has both scale and weight, or a quantile of one that has is NaN.

    Raises:
        UsageError: there are no quantiles.

    >>> wspl(np.array([[3.0]]), {0.5: np.array([[1.0]])}, scale=np.array([2.0]), weights=np.array([1.0]))
    0.5
    """
    if not quantiles:
        raise UsageError("wspl_quantiles", "there are no quantiles", hint="ask for intervals: forecast.levels")
    usable = np.isfinite(scale) & (scale > 0) & (weights > 0)
    if not usable.any():
        return None
    truth = actual[usable]
    losses = np.zeros(len(truth))
    for probability, values in quantiles.items():
        miss = truth - values[usable]
        losses += np.maximum(probability * miss, (probability - 1) * miss).mean(axis=1)
    found = float((weights[usable] / weights[usable].sum() * losses / scale[usable]).sum() / len(quantiles))
    return found if np.isfinite(found) else None


def _quantiles(backtest: Backtest, windows: PastWindows, panel: Panel, level: Grouping) -> list[dict[float, Floats]]:
    """The quantiles of a level's sums, for each window."""
    past = windows.totals(panel, level)
    is_series = len(level.labels) == panel.n_series
    lowest = -np.inf if np.nanmin(panel.y, initial=np.inf) < 0 else 0.0
    found = []
    for number, fold in enumerate(backtest.folds):
        own = Grouping(level.columns, level.codes[fold.positions], level.labels)
        mean = own.sums(fold.mean)
        if is_series:
            lower, upper = (
                {each: own.sums(ends[each]) for each in backtest.levels} for ends in (fold.lower, fold.upper)
            )
        else:
            errors = TotalErrors.collect(past.without(number), lowest=lowest)
            lower, upper = errors.intervals(mean, past.unit[number], backtest.levels)
        quantiles = {0.5: mean}
        for each in backtest.levels:
            quantiles[(1 - each / 100) / 2], quantiles[(1 + each / 100) / 2] = lower[each], upper[each]
        found.append(quantiles)
    return found


def _over_levels(values: list[float | None], backtest: Backtest) -> WeightedError:
    known = [each for each in values if each is not None]
    if len(known) == len(values) and known:
        return WeightedError(float(np.mean(known)), tuple(values))
    reason = f"level {values.index(None)}: no demand, no worth, or no interval of some sum"
    if len(backtest.folds) < 3:
        reason += f"; intervals of sums need other windows, here are {len(backtest.folds) - 1}"
    return WeightedError(None, tuple(values), reason)
