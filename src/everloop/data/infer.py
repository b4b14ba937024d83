"""Guessing a project's settings from its data, with a reason for each guess.

The rules are plain ones: a time column is what reads as time, the series columns are the fewest that name a row
together with the time, a static column never changes within a series. Where data cannot tell (whether a value is
known ahead, say) the careful answer is given and said to be a guess.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from everloop.core.errors import DataError, nearest
from everloop.core.frequency import Frequency
from everloop.data.conforming import read_number, read_time
from everloop.data.guessed_grid import guess_closed_weekdays, guess_frequency, guess_horizon
from everloop.data.sources import read_file

__all__ = ["Guess", "infer", "infer_file"]

_TIME_NAMES = ("date", "ds", "day", "datetime", "timestamp", "time", "week", "month")
_TARGET_NAMES = (
    *("target", "y", "units", "unit_sales", "units_sold", "sales", "sold", "demand", "quantity", "qty", "volume"),
    *("orders", "visits", "count", "amount", "revenue", "consumption", "load", "value"),
)
_SERIES_WORDS = {
    *("id", "item", "product", "sku", "article", "store", "shop", "site", "location", "warehouse", "region"),
    *("series", "code", "stockcode", "branch", "outlet", "customer", "meter", "sensor", "zone"),
}
_AHEAD_WORDS = {"price", "promo", "promotion", "discount", "holiday", "event", "snap", "campaign", "schoolholiday"}
_READABLE_SHARE = 0.99
_UNIQUE_SHARE = 0.999
_MAX_CATEGORIES = 1_000
_MANY_NEGATIVE = 0.01
_MAX_ROWS = 5_000_000


@dataclass(frozen=True, slots=True)
class Guess:
    """Settings as the data suggest them.

    Attributes:
        time: the time column.
        target: the column to forecast.
        series: the columns that name a series.
        static: columns that never change within a series.
        observed: columns that change; known only up to the present, as long as nobody says more.
        likely_ahead: those of ``observed`` whose name suggests that they are known ahead.
        ignored: columns left out.
        frequency: the step of the time grid.
        closed_weekdays: weekdays without any row.
        horizon: a sensible reach of a forecast, in steps.
        types: the type of each column that is used.
        ranges: the lowest and highest value of numeric columns, widened.
        accepts_negative: whether the target goes below zero as a rule.
        reasons: why, by the name of a setting or column.
    """

    time: str
    target: str
    series: tuple[str, ...]
    static: tuple[str, ...]
    observed: tuple[str, ...]
    likely_ahead: tuple[str, ...]
    ignored: tuple[str, ...]
    frequency: str
    closed_weekdays: tuple[str, ...]
    horizon: int
    types: dict[str, str]
    ranges: dict[str, tuple[float, float]]
    accepts_negative: bool
    reasons: dict[str, str] = field(default_factory=dict)


def infer(frame: pl.DataFrame) -> Guess:
    """The settings that a frame of rows suggests; CSV columns may come as text.

    >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 3, 31), eager=True)
    >>> guess = infer(pl.DataFrame({"shop": "a", "day": days, "sales": range(91)}))
    >>> guess.time, guess.series, guess.target, guess.frequency
    ('day', ('shop',), 'sales', '1d')

    Raises:
        DataError: there are no rows, or no column that can be the time, the target or the name of a series.
    """
    if frame.is_empty():
        raise DataError("infer_empty", "the file has no rows", hint="give a file with some history of every series")
    reasons: dict[str, str] = {}
    time, times = _find_time(frame, reasons)
    numbers = {
        name: values for name in frame.columns if name != time and (values := _as_number(frame[name])) is not None
    }
    target = _find_target(frame, numbers, reasons)
    rows = frame.with_columns(times.alias(time), *[values.alias(name) for name, values in numbers.items()])
    rows = rows.filter(pl.col(time).is_not_null())
    series = _find_series(rows.unique(maintain_order=True).select(pl.exclude(target)), time, reasons)
    static, observed, ignored = _sort_out(rows, time, target, series, numbers, reasons)
    frequency, reasons["frequency"] = guess_frequency(rows, series, time)
    closed, reason = guess_closed_weekdays(rows[time], frequency)
    if closed:
        reasons["closed_weekdays"] = reason
    horizon, reasons["horizon"] = guess_horizon(rows, series, time, Frequency.parse(frequency))
    accepts_negative = int((rows[target] < 0).sum()) > _MANY_NEGATIVE * rows.height
    used = [target, *static, *observed]
    return Guess(
        time=time,
        target=target,
        series=series,
        static=static,
        observed=observed,
        likely_ahead=tuple(name for name in observed if _words(name) & _AHEAD_WORDS),
        ignored=ignored,
        frequency=frequency,
        closed_weekdays=closed,
        horizon=horizon,
        types={name: "float" if name in numbers else "string" for name in used},
        ranges={
            name: _widened(rows[name], is_target=name == target, accepts_negative=accepts_negative)
            for name in used
            if name in numbers
        },
        accepts_negative=accepts_negative,
        reasons=reasons,
    )


def infer_file(path: Path) -> Guess:
    """The settings that a CSV or Parquet file suggests, by its first five million rows.

    Raises:
        DataError: the file is missing or cannot be read, or no settings can be guessed; see :func:`infer`.
    """
    if not path.is_file():
        names = [each.name for each in path.parent.iterdir() if each.is_file()] if path.parent.is_dir() else []
        hint = nearest(path.name, names) if names else "name a CSV or Parquet file"
        raise DataError("source_missing", f"there is no file {str(path)!r}", hint=hint, path=str(path))
    chunks = []
    rows = 0
    for chunk in read_file(path):
        chunks.append(chunk)
        rows += chunk.height
        if rows >= _MAX_ROWS:
            break
    return infer(pl.concat(chunks) if chunks else pl.DataFrame())


def _find_time(frame: pl.DataFrame, reasons: dict[str, str]) -> tuple[str, pl.Series]:
    found: dict[str, pl.Series] = {}
    for name in frame.columns:
        times = read_time(frame[name])
        filled = _filled(frame[name])
        if filled and times.is_not_null().sum() >= _READABLE_SHARE * filled:
            found[name] = times
    if not found:
        raise _no_time(frame)
    name = min(found, key=lambda each: (_place(each, _TIME_NAMES), -found[each].n_unique()))
    reasons["time"] = "it reads as time" + (f"; so do {_listed(set(found) - {name})}" if len(found) > 1 else "")
    return name, found[name]


def _no_time(frame: pl.DataFrame) -> DataError:
    for name in [each for each in frame.columns if _words(each) & set(_TIME_NAMES)]:
        example = next((value for value in frame[name].cast(pl.String) if value), "")
        if re.search(r"\d\D+\d|\d{6}", example):
            iso = "write instants as ISO 8601, such as 2024-12-31 or 2024-12-31T23:00"
            return DataError("infer_no_time", "no column reads as time", hint=f"{name!r} holds {example!r}: {iso}")
    if len(frame.columns) > 100:
        hint = (
            f"the file has {len(frame.columns)} columns: if each is a period, make rows of them in a function "
            "and name it as data.source = 'module:function'"
        )
    else:
        hint = f"columns: {_listed(frame.columns)}; instants are written as ISO 8601, such as 2024-12-31"
    return DataError("infer_no_time", "no column reads as time", hint=hint)


def _find_target(frame: pl.DataFrame, numbers: dict[str, pl.Series], reasons: dict[str, str]) -> str:
    """The number that is named like a target, else the one of most different values that is no name of a series."""
    varying = {name: values for name, values in numbers.items() if values.n_unique() > 1}
    named = [name for name in varying if _place(name, _TARGET_NAMES) < len(_TARGET_NAMES)]
    if named:
        name = min(named, key=lambda each: _place(each, _TARGET_NAMES))
        reasons["target"] = "numbers, and named like a target"
        return name
    others = [name for name in varying if not _words(name) & (_SERIES_WORDS | _AHEAD_WORDS)]
    if not others:
        raise DataError(
            "infer_no_target",
            "no column holds numbers to forecast",
            hint=f"columns: {_listed(frame.columns)}; the target holds plain numbers such as 12 or 3.5",
        )
    reasons["target"] = "a guess: of the columns of numbers it has the most different values"
    return max(others, key=lambda each: varying[each].n_unique())


def _find_series(rows: pl.DataFrame, time: str, reasons: dict[str, str]) -> tuple[str, ...]:
    """The fewest columns that name a row together with the time."""
    instants = rows[time].n_unique()
    candidates = [name for name in rows.columns if name != time and _can_name(rows[name], instants)]
    candidates.sort(key=lambda each: (not _words(each) & _SERIES_WORDS, rows[each].n_unique()))
    if instants >= _UNIQUE_SHARE * rows.height:
        constant = [name for name in candidates if rows[name].n_unique() == 1]
        if constant:
            reasons["series"] = "every instant occurs once: there is one series"
            return (constant[0],)
        raise DataError(
            "infer_no_series",
            "every instant occurs once, and no column names the series",
            hint="add a column that does, such as 'item' with one value",
        )
    for count in (1, 2, 3):
        for names in itertools.combinations(candidates[:10], count):
            if rows.select(pl.struct(time, *names).n_unique()).item() >= _UNIQUE_SHARE * rows.height:
                reasons["series"] = f"with {time} {_listed(names)} name{'s' if count == 1 else ''} each row"
                return names
    raise DataError(
        "infer_no_series",
        f"no columns name each row together with {time!r}",
        hint="are there several rows for one series and instant? Sum them first, or name the series in data.series",
    )


def _can_name(column: pl.Series, instants: int) -> bool:
    """A name is text or a whole number, is never empty, and comes back at other instants."""
    if column.null_count() or column.n_unique() > max(1, 0.5 * len(column)):
        return False
    if column.dtype.is_float():
        is_whole = bool((column % 1 == 0).all())
        return is_whole and bool(_words(column.name) & _SERIES_WORDS or column.n_unique() < instants)
    return column.dtype == pl.String or column.dtype.is_integer() or column.dtype == pl.Categorical


def _sort_out(
    rows: pl.DataFrame,
    time: str,
    target: str,
    series: tuple[str, ...],
    numbers: dict[str, pl.Series],
    reasons: dict[str, str],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The other columns as static, observed and ignored ones."""
    static, observed, ignored = [], [], []
    counts = rows.group_by(series).agg(pl.exclude(time, target).drop_nulls().n_unique())
    for name in [each for each in rows.columns if each not in (time, target, *series)]:
        if rows[name].drop_nulls().n_unique() < 2:
            ignored.append(name)
            reasons[name] = "it has one value only"
        elif counts[name].max() == 1:
            if name not in numbers and rows[name].n_unique() >= counts.height > 1:
                ignored.append(name)
                reasons[name] = "another name of the series"
            else:
                static.append(name)
                reasons[name] = "it never changes within a series"
        elif _is_calendar(rows, time, name):
            ignored.append(name)
            reasons[name] = "it follows from the date, which models know"
        elif name not in numbers and rows[name].n_unique() > _MAX_CATEGORIES:
            ignored.append(name)
            reasons[name] = f"text of {rows[name].n_unique()} different values"
        else:
            observed.append(name)
            reasons[name] = "it changes within a series"
    return tuple(static), tuple(observed), tuple(ignored)


def _is_calendar(rows: pl.DataFrame, time: str, name: str) -> bool:
    """Whether a column says no more than weekday, month, week, quarter, year or hour."""
    pairs = rows.select(time, name).unique()
    if pairs.height > pairs[time].n_unique():
        return False
    when = pl.col(time).dt
    parts = {
        "weekday": when.weekday(),
        "month": when.month(),
        "week": when.week(),
        "quarter": when.quarter(),
        "year": when.year(),
        "hour": when.hour(),
    }
    for key, part in parts.items():
        groups = pairs.group_by(part.alias(key)).agg(pl.col(name).n_unique().alias("_n"), pl.len().alias("_rows"))
        if groups.filter((pl.col("_n") > 1) | (pl.col("_rows") < 2)).is_empty():  # one value each time, time and again
            return True
    return False


def _as_number(column: pl.Series) -> pl.Series | None:
    """A column's numbers, where nearly all of it are numbers and none is a code such as 00123."""
    if column.dtype == pl.Boolean or column.dtype.is_numeric():
        return read_number(column)
    if column.dtype != pl.String:
        return None
    filled = _filled(column)
    numbers = read_number(column)
    if not filled or numbers.is_not_null().sum() < _READABLE_SHARE * filled:
        return None
    return None if column.str.contains(r"^\s*0\d").any() else numbers


def _filled(column: pl.Series) -> int:
    if column.dtype == pl.String:
        return int((column.str.strip_chars() != "").sum())
    return len(column) - column.null_count()


def _words(name: str) -> set[str]:
    """The words of a name such as ``store_id``, ``StoreId`` or ``unit price``, and the whole of it."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return {part.lower() for part in parts} | {name.lower()}


def _place(name: str, known: Sequence[str]) -> int:
    """The place of a name among known ones, after all of them where it is none."""
    lower = name.lower()
    return known.index(lower) if lower in known else len(known)


def _listed(names: Sequence[str] | set[str]) -> str:
    shown = sorted(names) if isinstance(names, set) else list(names)
    return ", ".join(repr(name) for name in shown[:8]) + (" ..." if len(shown) > 8 else "")


def _widened(values: pl.Series, *, is_target: bool, accepts_negative: bool) -> tuple[float, float]:
    """A range about ten times as wide as what was seen, in round numbers; flags stay from 0 to 1."""
    seen = values.drop_nulls()
    low, high = (float(bound) if isinstance(bound, float) else 0.0 for bound in (seen.min(), seen.max()))
    if not is_target and low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0 or (is_target and not accepts_negative):
        return 0.0, _round_up(10 * high)
    reach = _round_up(10 * max(abs(low), abs(high)))
    return -reach, reach


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ...

    >>> _round_up(48_480)
    50000.0
    """
    power = 1.0
    while power < value:
        power *= 10
    return next(step * power for step in (0.1, 0.2, 0.5, 1.0) if step * power >= value or step == 1.0)
