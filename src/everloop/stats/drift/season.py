"""What a date alone lets one expect: a regression on weekday, the year's two first harmonics and given regressors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["WEEKDAY", "YEAR", "blocks", "day_of_year", "fit", "grid", "recurring", "season_columns"]

Floats = NDArray[np.float64]
Days = NDArray[np.int64]

WEEKDAY = "weekday"
YEAR = "weekday and year"
_YEAR_DAYS = 365.25
_HARMONICS = 2
_BLOCKS = 8
_LEAST_BLOCK = 4
_FORTNIGHT = 14
_LEAP_DAY = 59


def grid(days: Days, values: Floats, first: int, last: int, period_days: int) -> tuple[Days, Floats]:
    """Periods without holes from ``first`` to ``last`` (days since 1970), NaN where nothing is known.

    Raises:
        ValueError: the days are not one period apart, or come twice.
    """
    offset = days - first
    if np.any(offset % period_days) or len(np.unique(days)) != len(days):
        raise ValueError("days must be the first days of periods, each once")
    number = max((last - first) // period_days + 1, 0)
    full = np.full((number, values.shape[1]), np.nan)
    place = offset // period_days
    inside = (place >= 0) & (place < number)
    full[place[inside]] = values[inside]
    return first + period_days * np.arange(number, dtype=np.int64), full


def season_columns(days: Days, season: str, *, period_days: int, regressors: Floats | None = None) -> Floats:
    """The regressors of some dates, shape ``(p, k)``; the first is the constant.

    Args:
        days: days since 1970 (a Thursday).
        season: ``"none"``, ``"weekday"`` or ``"weekday and year"``.
        period_days: with more than one, weekdays mean nothing.
        regressors: more columns, such as holidays, shape ``(p, r)``.
    """
    columns = [np.ones(len(days))]
    if season in (WEEKDAY, YEAR) and period_days == 1:
        weekday = (days + 3) % 7
        # each column sums to zero over a week, so the constant is the level of an average day
        columns += [(weekday == day) - (weekday == 6).astype(float) for day in range(6)]
    if season == YEAR:
        angle = 2 * np.pi * days / _YEAR_DAYS
        for harmonic in range(1, _HARMONICS + 1):
            columns += [np.sin(harmonic * angle), np.cos(harmonic * angle)]
    design = np.stack(columns, axis=1)
    return design if regressors is None else np.concatenate([design, regressors], axis=1)


def fit(design: Floats, values: Floats, rows: NDArray[np.bool_], shrunk: NDArray[np.bool_]) -> Floats:
    """Coefficients by least squares, shape ``(k, m)``, each stream from the rows where it is known.

    A direction that the rows do not determine gets the coefficient of least length.

    Args:
        design: shape ``(p, k)``.
        values: shape ``(p, m)``, NaN where unknown.
        rows: those that are fitted to, shape ``(p,)``.
        shrunk: the columns, shape ``(k,)``, whose coefficients are drawn to zero as by one observation there (ridge
            regression, Hoerl and Kennard 1970): what is seen two or three times is believed by two thirds or three
            quarters.
    """
    known = np.isfinite(values) & rows[:, None]
    coefficients = np.zeros((design.shape[1], values.shape[1]))
    if not design.shape[1]:
        return coefficients
    patterns, group = np.unique(known, axis=1, return_inverse=True) if known.size else (known, np.zeros(0, np.int64))
    for place in range(patterns.shape[1]):
        use, members = patterns[:, place], np.flatnonzero(group.ravel() == place)
        if use.any():
            extra = np.eye(design.shape[1])[shrunk]
            inverse = np.linalg.pinv(np.concatenate([design[use], extra]), rcond=1e-8)[:, : int(use.sum())]
            coefficients[:, members] = inverse @ values[np.ix_(use, members)]
    return coefficients


def blocks(number: int) -> Iterator[NDArray[np.bool_]]:
    """Contiguous blocks of periods, each left out in turn; a block is never shorter than four periods."""
    pieces = max(min(_BLOCKS, number // _LEAST_BLOCK), 2)
    edges = np.linspace(0, number, pieces + 1).astype(int)
    for start, stop in pairwise(edges.tolist()):
        chosen = np.zeros(number, dtype=bool)
        chosen[start:stop] = True
        yield chosen


def day_of_year(days: Days) -> NDArray[np.int64]:
    """The day of the year from 0 to 365; from March on the same for all years."""
    dates = days.astype("M8[D]")
    years = dates.astype("M8[Y]")
    place = (dates - years).astype(np.int64)
    numbers = years.astype(np.int64) + 1970
    is_leap = (numbers % 4 == 0) & ((numbers % 100 != 0) | (numbers % 400 == 0))
    shifted: NDArray[np.int64] = place + ((place >= _LEAP_DAY) & ~is_leap)
    return shifted


def recurring(days: Days, left: Floats, period_days: int) -> Floats:
    """What the season left at the same time of each year, shape ``(366, m)``; without two years, ``(0, m)``.

    Means over a fortnight are taken of each of the past years. Where all years agree on the sign, the one nearest to
    zero counts, so an event of one year counts for nothing and noise for little.

    Args:
        days: the periods, without holes, shape ``(p,)``.
        left: what the season left, out of fold, shape ``(p, m)``.
        period_days: how many days a period has.
    """
    a_year = round(_YEAR_DAYS / period_days)
    years = len(days) // a_year
    if years < 2:
        return left[:0]
    smooth = _moving_mean(left, 2 * (-(-_FORTNIGHT // (2 * period_days))) + 1)
    low = np.full((366, left.shape[1]), np.inf)
    high = -low
    for year in range(years):
        part = slice(len(days) - (year + 1) * a_year, len(days) - year * a_year)
        dates = day_of_year(days[part])
        order = np.argsort(dates, kind="stable")
        # a date that the year's periods do not begin at takes the period before it
        place = np.searchsorted(dates[order], np.arange(366), "right") - 1
        values = smooth[part][order[place]]
        low, high = np.minimum(low, values), np.maximum(high, values)
    agreed = np.where(low > 0, low, np.where(high < 0, high, 0.0))
    return np.nan_to_num(agreed)


def _moving_mean(values: Floats, width: int) -> Floats:
    """The mean of the known values around each period, NaN where there are none."""
    half = width // 2
    is_known = np.isfinite(values)
    sums, counts = (
        np.cumsum(np.pad(part, ((half + 1, half), (0, 0))), axis=0)
        for part in (np.where(is_known, values, 0.0), is_known.astype(np.float64))
    )
    total, number = sums[width:] - sums[:-width], counts[width:] - counts[:-width]
    mean = np.full(values.shape, np.nan)
    np.divide(total, number, out=mean, where=number > 0.5)
    return mean
