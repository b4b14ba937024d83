"""Guessing the time grid of some rows: its step, its closed weekdays, and how far a forecast may sensibly reach."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import reduce

import polars as pl

from everloop.core.errors import DataError
from everloop.core.frequency import Frequency

__all__ = ["guess_closed_weekdays", "guess_frequency", "guess_horizon"]

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_RARE = 0.01
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKS_TO_TELL = 6
_HORIZONS = {"s": 60, "min": 60, "h": 48, "d": 28, "w": 13, "mo": 12, "q": 4, "y": 3}


def guess_frequency(rows: pl.DataFrame, series: tuple[str, ...], time: str) -> tuple[str, str]:
    """The step that the distances between a series' instants suggest, and why.

    Steps of months are seen by instants that keep their day of the month; others are the greatest common divisor
    of all distances that are not rare, so that holes do not matter.

    Raises:
        DataError: no series has two instants, or they lie on no grid.
    """
    ordered = rows.select(*series, time).unique().sort(*series, time)
    steps = (
        ordered.select(pl.col(time).diff().over(series).dt.total_microseconds().alias("us"))
        .drop_nulls()
        .group_by("us")
        .agg(pl.len().alias("rows"))
        .sort("rows", descending=True)
    )
    if steps.is_empty():
        raise DataError(
            "infer_no_history",
            "no series has more than one instant",
            hint="a row is one series at one instant; is the right column the time?",
        )
    share = steps["rows"][0] / steps["rows"].sum()
    months = _months(ordered[time], steps)
    if months is not None:
        return months, "rows keep their day of the month"
    usual = steps.filter(pl.col("rows") >= _RARE * pl.lit(steps["rows"].sum()))["us"].to_list() or [steps["us"][0]]
    seconds = max(1, reduce(math.gcd, usual) // _SECOND)
    if min(usual) >= 28 * _DAY and seconds < 604_800:
        raise DataError(
            "infer_grid",
            f"{time!r} steps by months, but not on one day of the month",
            hint="write a month as its first day, such as 2024-03-01 for March",
        )
    unit, length = next((unit, length) for unit, length in _UNITS if seconds % length == 0)
    return (
        f"{seconds // length}{unit}",
        f"{share:.0%} of the rows follow their series' last one after {_span(steps['us'][0])}",
    )


def _months(times: pl.Series, steps: pl.DataFrame) -> str | None:
    """The step in months, where all instants keep their day of the month and are that far apart."""
    days = steps["us"].min()
    if times.dt.day().n_unique() > 1 or not isinstance(days, int) or days < 28 * _DAY:
        return None
    numbers = (times.dt.year().cast(pl.Int64) * 12 + times.dt.month().cast(pl.Int64)).unique().sort()
    step = reduce(math.gcd, numbers.diff().drop_nulls().to_list(), 0)
    if step == 0:
        return None
    if step % 12 == 0:
        return f"{step // 12}y"
    return f"{step // 3}q" if step % 3 == 0 else f"{step}mo"


def guess_closed_weekdays(times: pl.Series, frequency: str) -> tuple[tuple[str, ...], str]:
    """The weekdays without any row, where the data are daily and reach over some weeks."""
    span = times.max()
    start = times.min()
    if frequency != "1d" or span is None or span - start < timedelta(weeks=_WEEKS_TO_TELL):  # type: ignore[operator]
        return (), ""
    seen = set(times.dt.weekday().unique().to_list())
    closed = tuple(name for number, name in enumerate(_WEEKDAYS, start=1) if number not in seen)
    return closed, f"there is no row on any of {(span - start).days // 7} weeks' {closed[0]}s" if closed else ""  # type: ignore[operator, union-attr]


def guess_horizon(rows: pl.DataFrame, series: tuple[str, ...], time: str, frequency: Frequency) -> tuple[int, str]:
    """The usual reach for a frequency, at most a fifth of what half of the series have, and why."""
    usual = max(1, _HORIZONS[frequency.unit] // frequency.count)
    lengths = rows.group_by(series).agg(pl.col(time).n_unique().alias("n"))["n"]
    limit = max(1, int(lengths.median() or 1) // 5)  # type: ignore[arg-type]
    if limit < usual:
        return limit, f"a fifth of the {int(lengths.median() or 1)} periods that half of the series have"  # type: ignore[arg-type]
    return usual, f"usual for steps of {frequency.text}"


def _span(us: int) -> str:
    seconds = us // _SECOND
    unit, length = next((unit, length) for unit, length in _UNITS if seconds % length == 0 and unit != "w")
    return f"{seconds // length} {unit}"
