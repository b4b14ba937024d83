"""Calendar columns by name: holidays, school holidays and paydays, known for every period ahead.

A name is a kind, a colon and what it is about:

- ``holidays:US``, ``holidays:DE-BY``: a country (ISO 3166-1), or one of its parts (ISO 3166-2), as the library
  `holidays` knows them; ``holidays:{country}``: by series, where the static or series column ``country`` holds such
  codes;
- ``school_holidays:DE-BY``, likewise, where that library knows them; ``school_holidays:FILE.csv``: a file of the
  project with the columns ``start`` and ``end`` (both days included);
- ``paydays:15,last``: days of the month; ``paydays:15,last,workday`` moves those on a weekend to the Friday before;
  ``paydays:friday``: a day of the week.

Each gives days since the nearest one before and days to the nearest one after (0 on the day, 30 where it is farther);
holidays also give their name as a coded column, school holidays a column of 0 and 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import DataError, SettingsError
from everloop.core.frequency import Frequency
from everloop.data.calendar_days import LIMIT, Days, holiday_days, payday_days, school_days
from everloop.data.panel import Future, Panel

__all__ = ["CalendarName", "with_calendar"]

_FORM = re.compile(r"(holidays|school_holidays|paydays):(.+)")
NO_HOLIDAY = "none"


@dataclass(frozen=True, slots=True)
class CalendarName:
    """One entry of ``data.calendar``: its kind, what it is about, and the column that says so by series, if any."""

    kind: str
    about: str
    column: str = ""

    @classmethod
    def parse(cls, text: str) -> CalendarName:
        """What a text such as ``"holidays:DE-BY"`` means.

        Raises:
            SettingsError: it is of another form.

        >>> CalendarName.parse("holidays:{country}").column
        'country'
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise SettingsError(
                "calendar_name",
                f"{text!r} names no calendar",
                hint="write holidays:US, holidays:{country}, school_holidays:DE-BY or paydays:15,last",
                path="data.calendar",
            )
        about = match[2].strip()
        column = about[1:-1] if about.startswith("{") and about.endswith("}") else ""
        return cls(match[1], about, column)

    @property
    def slug(self) -> str:
        """What its columns are called after."""
        return self.column or re.sub(r"[^A-Za-z0-9]+", "_", Path(self.about).stem).strip("_")


def with_calendar(panel: Panel, names: Sequence[str], *, root: Path, horizon: int) -> Panel:
    """The panel with calendar columns beside its known-ahead ones, up to ``horizon`` periods after the cutoff.

    Args:
        panel: the data.
        names: see the module.
        root: the project's folder, where files are looked for.
        horizon: how far ahead; no value is missing there.

    Raises:
        SettingsError: a name of no known form.
        DataError: a country, column or file that is not there, or years that are not known.
    """
    for text in names:
        panel = _with_one(panel, CalendarName.parse(text), root, horizon)
    return panel


def _with_one(panel: Panel, name: CalendarName, root: Path, horizon: int) -> Panel:
    count = int(panel.lengths.max(initial=0)) + horizon
    first = panel.cutoff + horizon - count + 1
    begin, end = _spans(panel.frequency, first, count)
    values, owner = _places(panel, name)
    found = [_days_of(name, value, root)(begin.min(), end.max()) for value in values]
    labels = sorted({NO_HOLIDAY, *(label for each in found for label in each.labels)})
    tables = {column: np.empty((len(values), count), dtype=np.float32) for column in _columns(name)}
    for place, days in enumerate(found):
        for column, row in _rows(name, days, begin, end, labels).items():
            tables[column][place] = row
    known, future = dict(panel.known), dict(panel.future.columns)
    series, index = panel.series_of_rows(), panel.index_of_rows()
    for column, table in tables.items():
        if column in known or column in panel.observed or column in panel.static:
            raise DataError(
                "calendar_column",
                f"data.calendar makes a column {column!r}, which the data have already",
                hint="rename the column of the data, or leave the calendar out",
                path="data.calendar",
            )
        known[column] = table[owner[series], index - first]
        future[column] = np.ascontiguousarray(table[owner][:, count - horizon :])
    categories = dict(panel.categories)
    if name.kind == "holidays":
        categories[_columns(name)[0]] = tuple(labels)
    steps = max(panel.future.steps, horizon)
    return replace(panel, known=known, future=Future(steps, future), categories=categories)


def _columns(name: CalendarName) -> list[str]:
    """The columns that an entry makes."""
    one = {"holidays": "holiday", "school_holidays": "school_holiday", "paydays": "payday"}[name.kind]
    distances = [f"days_to_{one}_{name.slug}", f"days_since_{one}_{name.slug}"]
    return distances if name.kind == "paydays" else [f"{one}_{name.slug}", *distances]


def _rows(
    name: CalendarName, days: Days, begin: NDArray[np.int64], end: NDArray[np.int64], labels: list[str]
) -> dict[str, NDArray[np.float32]]:
    """The columns of an entry, one value for each period from ``begin`` to ``end`` (days since 1970)."""
    there = days.days
    after = np.searchsorted(there, begin)
    before = np.searchsorted(there, end, side="right") - 1
    far = np.append(there, np.iinfo(np.int64).max // 2)
    to = np.where(far[after] <= end, 0, np.minimum(far[after] - begin, LIMIT))
    last = np.where(before >= 0, far[before], np.iinfo(np.int64).min // 2)
    since = np.where(last >= begin, 0, np.minimum(end - last, LIMIT))
    names = _columns(name)
    made = dict(zip(names[-2:], (to.astype(np.float32), since.astype(np.float32)), strict=True))
    if name.kind == "holidays":
        code = {label: place for place, label in enumerate(labels)}
        codes = np.array([*(code[label] for label in days.names), code[NO_HOLIDAY]], dtype=np.float32)
        made[names[0]] = np.where(to == 0, codes[np.minimum(after, len(there))], codes[-1])
    elif name.kind == "school_holidays":
        made[names[0]] = (to == 0).astype(np.float32)
    return made


def _spans(frequency: Frequency, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last day of each period, as days since 1970."""
    times = frequency.times(first + np.arange(count + 1)).astype("M8[us]")
    begin = times[:-1].astype("M8[D]").astype(np.int64)
    end = (times[1:] - np.timedelta64(1, "us")).astype("M8[D]").astype(np.int64)
    return begin, end


def _places(panel: Panel, name: CalendarName) -> tuple[list[str], NDArray[np.int64]]:
    """What the entry is about, and for each series which of these it belongs to."""
    if not name.column:
        return [name.about], np.zeros(panel.n_series, dtype=np.int64)
    if name.column in panel.series_columns:
        place = panel.series_columns.index(name.column)
        texts = [key[place] for key in panel.keys]
    elif name.column in panel.static and name.column in panel.categories:
        labels = panel.categories[name.column]
        texts = [labels[int(code)] if np.isfinite(code) else "" for code in panel.static[name.column]]
    else:
        raise DataError(
            "calendar_place",
            f"{name.column!r} is neither a series column nor a static column of texts",
            hint="name one in data.static that holds codes such as US or DE-BY",
            path="data.calendar",
        )
    if "" in texts:
        raise DataError(
            "calendar_place",
            f"series {panel.keys[texts.index('')]} has no {name.column!r}, so its holidays are not known",
            hint="fill the column in for every series",
            path="data.calendar",
        )
    values, owner = np.unique(texts, return_inverse=True)
    return [str(each) for each in values], owner.astype(np.int64)


def _days_of(name: CalendarName, value: str, root: Path) -> Callable[[int, int], Days]:
    match name.kind:
        case "holidays":
            return lambda first, last: holiday_days(value, first, last)
        case "school_holidays":
            return lambda first, last: school_days(value, first, last, root=root)
        case _:
            return lambda first, last: payday_days(value, first, last)
