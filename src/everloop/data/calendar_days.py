"""The days that calendars are made of: holidays and school holidays of a place, and paydays."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.errors import DataError, SettingsError

__all__ = ["LIMIT", "Days", "holiday_days", "payday_days", "school_days"]

LIMIT = 30
"""Distances in days are not told farther than this."""

_EPOCH = date(1970, 1, 1)
_NAMED_YEARS = (2000, 2050)
"""The names of these years' holidays are always among the codes, so that a longer history does not change them."""

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Days:
    """Some days.

    Attributes:
        days: days since 1970, rising.
        names: what each is called; empty where they have no names.
        labels: every name that such days can have.
    """

    days: NDArray[np.int64]
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def holiday_days(place: str, first: int, last: int) -> Days:
    """The public holidays of a country or a part of it, with some room around the first and last day.

    Raises:
        DataError: the library does not know the place, or not the years.
    """
    years = range(_year(first - LIMIT), _year(last + LIMIT) + 1)
    wanted = range(min(years.start, _NAMED_YEARS[0]), max(years.stop, _NAMED_YEARS[1]))
    found = _of_library(place, "public", wanted)
    _check_years(place, "holidays", {day.year for day in found}, years)
    order = sorted(found)
    kept = [day for day in order if day.year in years]
    return Days(_numbers(kept), tuple(found[day] for day in kept), tuple(sorted(set(found.values()))))


def school_days(place: str, first: int, last: int, *, root: Path) -> Days:
    """The school holidays of a place that the library knows, or those of a file ``start,end`` below ``root``.

    Raises:
        DataError: the place, the file, its columns or some of the years are not there.
    """
    years = range(_year(first - LIMIT), _year(last + LIMIT) + 1)
    if place.endswith(".csv"):
        found = _of_file(root / place)
        # a file says what it says up to its last day; what comes later is not known
        needed = range(_year(first), _year(last) + 1)
    else:
        found = set(_of_library(place, "school", years))
        needed = range(_year(first), _year(last) + 1)
    _check_years(place, "school holidays", {day.year for day in found}, needed)
    return Days(_numbers(sorted(found)))


def payday_days(rule: str, first: int, last: int) -> Days:
    """The paydays of a rule such as ``15,last``, ``25,workday`` or ``friday``.

    Raises:
        SettingsError: it is no such rule.
    """
    words = [word.strip() for word in rule.split(",")]
    is_moved = "workday" in words
    days = range(first - LIMIT - 7, last + LIMIT + 8)
    chosen = [word for word in words if word != "workday"]
    dates = [_EPOCH + timedelta(days=day) for day in days]
    found: set[date] = set()
    for word in chosen:
        if word in _WEEKDAYS:
            found |= {day for day in dates if day.weekday() == _WEEKDAYS.index(word)}
        elif word == "last":
            found |= {day for day in dates if (day + timedelta(days=1)).day == 1}
        elif word.isdecimal() and 1 <= int(word) <= 31:
            # the 31st of a short month is its last day
            found |= {day for day in dates if day.day == min(int(word), calendar.monthrange(day.year, day.month)[1])}
        else:
            raise _bad_rule(rule, word)
    if not chosen:
        raise _bad_rule(rule, rule)
    if is_moved:
        found = {day - timedelta(days=max(day.weekday() - 4, 0)) for day in found}
    return Days(_numbers(sorted(found)))


def _bad_rule(rule: str, word: str) -> SettingsError:
    return SettingsError(
        "calendar_name",
        f"{word!r} in 'paydays:{rule}' is no payday",
        hint="write days of the month, last, weekdays (friday) and workday, with commas between",
        path="data.calendar",
    )


def _of_library(place: str, category: str, years: range) -> dict[date, str]:
    # half a second, which a project without calendars need not pay
    import holidays

    country, _, part = place.partition("-")
    options: dict[str, Any] = {"subdiv": part} if part else {}
    try:
        known = holidays.country_holidays(country, **options)
        if category not in known.supported_categories:
            raise NotImplementedError(f"it knows no {category} holidays of {place}")
        if "en_US" in known.supported_languages:
            options["language"] = "en_US"
        listed = holidays.country_holidays(country, years=years, categories=(category,), **options)
    except (NotImplementedError, ValueError) as error:
        raise DataError(
            "calendar_place",
            f"the library 'holidays' does not know {place!r}: {error}",
            hint="write a country as ISO 3166-1 (US, DE) and its part as ISO 3166-2 (DE-BY, US-CA)"
            + ("; or give a file: school_holidays:breaks.csv" if category == "school" else ""),
            path="data.calendar",
        ) from error
    return {day: str(name) for day, name in listed.items()}


def _of_file(path: Path) -> set[date]:
    try:
        frame = pl.read_csv(path, try_parse_dates=True)
        spans = frame.select(pl.col("start").cast(pl.Date), pl.col("end").cast(pl.Date)).drop_nulls().rows()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            "calendar_file",
            f"cannot read school holidays from {path}: {error}",
            hint="a CSV file with the columns start and end, days such as 2024-07-29",
            path=str(path),
        ) from error
    return {start + timedelta(days=day) for start, end in spans for day in range((end - start).days + 1)}


def _check_years(place: str, what: str, known: set[int], needed: range) -> None:
    missing = [year for year in needed if year not in known]
    if missing:
        raise DataError(
            "calendar_years",
            f"the {what} of {place!r} are not known for {missing[0]}",
            hint="known ahead must be known: give a file, bring the library 'holidays' up to date, or lower "
            "train.history",
            path="data.calendar",
        )


def _year(day: int) -> int:
    return (_EPOCH + timedelta(days=int(day))).year


def _numbers(days: list[date]) -> NDArray[np.int64]:
    return np.array([(day - _EPOCH).days for day in days], dtype=np.int64)
