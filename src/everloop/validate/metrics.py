"""Forecast accuracy, each metric with its denominator and what it does at zero demand.

Arrays are ``(rows, steps)``: a row is one series in one window of the backtest. A period without an actual value
(a closed day: NaN) enters nothing. A metric that cannot be told is ``None`` with a reason, never a harmless number.

==========  =========================================  ================================================
metric      is                                         cannot be told when
==========  =========================================  ================================================
wape        sum |f - a| / sum |a|                      all demand is zero
bias        sum (f - a) / sum |a|                      all demand is zero
mase        mean of |f - a| / s, s = mean |a_t - a_(t-m)|   every series was constant at lag m (s = 0)
            in the row's own past, m the season
rmsse       mean over rows of sqrt(mean (f - a)^2 / s),     every series was constant (s = 0)
            s = mean (a_t - a_(t-1))^2 in the past
pinball     sum of the mean quantile loss / sum |a|    no intervals; all demand is zero
coverage    share of actuals within the interval       no intervals
width       sum (upper - lower) / sum |a|              no intervals; all demand is zero
==========  =========================================  ================================================

MASE: Hyndman & Koehler (2006), "Another look at measures of forecast accuracy". RMSSE: the M5 competitors' guide
(2020). Pinball: Koenker & Bassett (1978); the quantiles are the ends of the intervals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.validate.lagged import lagged

__all__ = ["DEMAND", "Cells", "Measure", "metric_cells", "past_scale", "reduce_cells", "rmsse_of_rows", "step_cells"]

Floats = NDArray[np.float64]
DEMAND = "sum of |actual|"


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric's value, or ``None`` and the reason.

    Attributes:
        value: the number.
        n: how many actual values entered.
        denominator: what it is divided by.
        reason: why there is no value, or what was left out of it.
    """

    value: float | None
    n: int
    denominator: str
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cells:
    """A metric before it is summed: numerator and denominator of each cell, shape ``(rows, steps)``.

    Attributes:
        numerator: zero where the cell does not enter.
        denominator: likewise.
        enters: which cells enter.
        broken: which cells have an actual value but no finite forecast.
        skipped: which other cells with an actual value do not enter.
        denominator_name: what the denominator is.
        left_out: why cells are skipped, empty where none can be.
        is_ratio_of_rows: whether the metric is a mean over rows of the root of each row's own ratio (RMSSE).
    """

    numerator: Floats
    denominator: Floats
    enters: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    skipped: NDArray[np.bool_]
    denominator_name: str
    left_out: str = ""
    is_ratio_of_rows: bool = False


def metric_cells(
    actual: Floats,
    mean: Floats,
    *,
    lower: dict[float, Floats],
    upper: dict[float, Floats],
    mase_scale: Floats,
    rmsse_scale: Floats,
) -> dict[str, Cells]:
    """The cells of every metric.

    Args:
        actual: what happened, NaN where there is nothing to compare with.
        mean: the forecast.
        lower: the lower ends of the intervals by level in percent, NaN where none was given.
        upper: the upper ends.
        mase_scale: per row, the mean absolute seasonal difference of its past; shape ``(rows,)``.
        rmsse_scale: per row, the mean squared one-step difference of its past.
    """
    known = np.isfinite(actual)
    finite = np.isfinite(mean)
    demand = np.abs(np.where(known, actual, 0.0))
    error = np.where(known & finite, mean - actual, 0.0)
    cells = {
        "wape": _cells(np.abs(error), demand, known, known & finite, DEMAND),
        "bias": _cells(error, demand, known, known & finite, DEMAND),
        "mase": _scaled(np.abs(error), mase_scale, known, finite),
        "rmsse": _scaled(error**2, rmsse_scale, known, finite, is_rmsse=True),
    }
    if lower:
        cells["pinball"] = _pinball_cells(actual, lower, upper)
    for level in sorted(lower):
        low, high = lower[level], upper[level]
        given = known & np.isfinite(low) & np.isfinite(high)
        inside = given & (actual >= low) & (actual <= high)
        note = "no interval was given there"
        one = np.ones_like(actual)
        cells[f"coverage_{level:g}"] = _cells(
            inside.astype(float), one, known, given, "actuals with an interval", left_out=note
        )
        cells[f"width_{level:g}"] = _cells(high - low, demand, known, given, DEMAND, left_out=note)
    return cells


def reduce_cells(cells: Cells, groups: NDArray[np.int64] | None = None, count: int = 1) -> list[Measure]:
    """Sum cells by the group of their row (all in one group by default): a measure for each group.

    Args:
        cells: the cells.
        groups: the group of each row, from 0; a row with -1 enters none.
        count: how many groups there are.
    """
    rows = cells.numerator.shape[0]
    groups = np.zeros(rows, dtype=np.int64) if groups is None else groups
    is_member = groups >= 0
    index = groups[is_member]

    def total(values: NDArray[Any]) -> Floats:
        return np.asarray(np.bincount(index, weights=values[is_member], minlength=count), dtype=np.float64)

    if cells.is_ratio_of_rows:
        value, usable = rmsse_of_rows(cells)
        numerator, denominator = total(value), total(usable.astype(float))
    else:
        numerator, denominator = total(cells.numerator.sum(axis=1)), total(cells.denominator.sum(axis=1))
    entered = total(cells.enters.sum(axis=1)).astype(int)
    broken = total(cells.broken.sum(axis=1)).astype(int)
    skipped = total(cells.skipped.sum(axis=1)).astype(int)
    return [
        _measure(cells, float(numerator[each]), float(denominator[each]), (entered[each], broken[each], skipped[each]))
        for each in range(count)
    ]


def step_cells(cells: Cells, step: int) -> Cells:
    """The cells of one step ahead (0 is the first)."""
    part = slice(step, step + 1)
    return Cells(
        cells.numerator[:, part],
        cells.denominator[:, part],
        cells.enters[:, part],
        cells.broken[:, part],
        cells.skipped[:, part],
        cells.denominator_name,
        cells.left_out,
        cells.is_ratio_of_rows,
    )


def rmsse_of_rows(cells: Cells) -> tuple[Floats, NDArray[np.bool_]]:
    """The RMSSE of each row, and which rows have one."""
    counted = cells.denominator.sum(axis=1)
    usable = counted > 0
    ratio = np.divide(cells.numerator.sum(axis=1), counted, out=np.zeros(len(counted)), where=usable)
    return np.sqrt(ratio), usable


def past_scale(
    y: NDArray[np.floating[Any]], offsets: NDArray[np.int64], lag: int, *, is_squared: bool = False
) -> Floats:
    """Mean absolute, or mean squared, difference at a lag, of every series' past.

    Args:
        y: all series one after another, NaN where there is no row.
        offsets: where each series begins, and the end; shape ``(n + 1,)``.
        lag: in steps.
        is_squared: whether it is the squared difference.

    Returns:
        Shape ``(n,)``; NaN for a series without one pair of values.
    """
    found = np.full(len(offsets) - 1, np.nan)
    for part in lagged(y, offsets, lag):
        sizes = np.square(part.difference) if is_squared else np.abs(part.difference)
        found[part.series] = _means(sizes, part.begins)
    return found


def _means(values: Floats, begins: NDArray[np.int64]) -> Floats:
    """The mean of the values that are there of each series, NaN where there is none; the others become zero."""
    is_there = ~np.isnan(values)
    values[~is_there] = 0.0
    is_filled = np.diff(begins) > 0
    sums, count = np.zeros((2, len(is_filled)))
    if is_filled.any():
        starts = begins[:-1][is_filled]
        sums[is_filled] = np.add.reduceat(values, starts)
        count[is_filled] = np.add.reduceat(is_there, starts, dtype=np.int64)
    means: Floats = np.divide(sums, count, out=np.full(len(count), np.nan), where=count > 0)
    return means


def _cells(
    numerator: Floats,
    denominator: Floats,
    known: NDArray[np.bool_],
    enters: NDArray[np.bool_],
    name: str,
    *,
    left_out: str = "",
) -> Cells:
    """Cells that enter or not; where nothing may be left out, a known cell that does not enter is broken."""
    missing = known & ~enters
    nothing = np.zeros_like(known)
    return Cells(
        np.where(enters, numerator, 0.0),
        np.where(enters, denominator, 0.0),
        enters,
        nothing if left_out else missing,
        missing if left_out else nothing,
        name,
        left_out,
    )


def _scaled(
    error: Floats, scale: Floats, known: NDArray[np.bool_], finite: NDArray[np.bool_], *, is_rmsse: bool = False
) -> Cells:
    usable = np.broadcast_to((np.isfinite(scale) & (scale > 0))[:, None], error.shape)
    enters = known & finite & usable
    numerator = np.divide(error, scale[:, None], out=np.zeros_like(error), where=enters)
    return Cells(
        numerator,
        enters.astype(float),
        enters,
        known & ~finite,
        known & finite & ~usable,
        "mean squared step of the past" if is_rmsse else "mean seasonal step of the past",
        "the series' past is constant or too short",
        is_rmsse,
    )


def _pinball_cells(actual: Floats, lower: dict[float, Floats], upper: dict[float, Floats]) -> Cells:
    known = np.isfinite(actual)
    losses = np.zeros_like(actual)
    enters = known.copy()
    for level, quantile_values in _quantiles(lower, upper):
        miss = np.where(known, actual, 0.0) - quantile_values
        losses += np.maximum(level * miss, (level - 1) * miss)
        enters &= np.isfinite(quantile_values)
    losses = losses / (2 * len(lower))
    demand = np.abs(np.where(known, actual, 0.0))
    return _cells(losses, demand, known, enters, DEMAND, left_out="not every interval was given there")


def _quantiles(lower: dict[float, Floats], upper: dict[float, Floats]) -> Iterable[tuple[float, Floats]]:
    for level in sorted(lower):
        yield (1 - level / 100) / 2, lower[level]
        yield (1 + level / 100) / 2, upper[level]


def _measure(cells: Cells, numerator: float, denominator: float, counts: tuple[int, int, int]) -> Measure:
    entered, broken, skipped = (int(each) for each in counts)
    if broken:
        return Measure(None, entered, cells.denominator_name, f"{broken} forecasts are not finite")
    if denominator <= 0:
        nothing = cells.left_out if skipped else "there are no actual values"
        reason = "all demand is zero" if entered else nothing
        return Measure(None, entered, cells.denominator_name, reason)
    note = f"{skipped} values left out: {cells.left_out}" if skipped else ""
    return Measure(numerator / denominator, entered, cells.denominator_name, note)
