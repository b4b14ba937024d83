"""Frequencies: the regular grid of instants that a series lives on.

An instant on the grid has an integer index, so that lags and horizons are plain differences. Grids are given
as a count and a unit: ``"1d"``, ``"1w"``, ``"15min"``, ``"1h"``, ``"1mo"``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import SettingsError

__all__ = ["Frequency"]

_SECONDS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SEASON = {"s": 60, "min": 60, "h": 24, "d": 7, "w": 52, "mo": 12, "q": 4, "y": 1}
_MONTHS = {"mo": 1, "q": 3, "y": 12}


@dataclass(frozen=True, slots=True)
class Frequency:
    """A grid of instants: every ``count`` ``unit``s, with ``anchor`` (microseconds since 1970) on the grid.

    >>> day = Frequency.parse("1d")
    >>> index = day.index(np.array(["2011-12-09", "2011-12-10"], "M8[us]"))
    >>> index
    array([15317, 15318])
    >>> day.times(index)[0]
    np.datetime64('2011-12-09T00:00:00.000000')
    """

    count: int
    unit: str
    anchor: int = 0

    @classmethod
    def parse(cls, text: str, *, anchor: int = 0) -> Frequency:
        """The frequency that a text such as ``"1d"`` means.

        Raises:
            SettingsError: the text is of another form.
        """
        match = re.fullmatch(r"([1-9]\d*)(s|min|h|d|w|mo|q|y)", text)
        if match is None:
            raise SettingsError(
                "frequency",
                f"{text!r} is not a frequency",
                hint="write a count and one of s, min, h, d, w, mo, q, y: '1d', '1w', '15min'",
                path="data.frequency",
            )
        return cls(int(match[1]), match[2], anchor)

    @property
    def season(self) -> int:
        """The length of the usual season in steps: 7 for days, 52 for weeks, 12 for months."""
        return max(1, _SEASON[self.unit] // self.count)

    @property
    def is_monthly(self) -> bool:
        """Whether a step is made of calendar months rather than of seconds."""
        return self.unit in _MONTHS

    @property
    def step_us(self) -> int:
        """The length of a step in microseconds (that of 30.4 days for a month)."""
        months = _MONTHS.get(self.unit)
        seconds = _SECONDS[self.unit] if months is None else months * 2_629_800
        return self.count * seconds * 1_000_000

    @property
    def text(self) -> str:
        """The form that :meth:`parse` reads."""
        return f"{self.count}{self.unit}"

    def anchored(self, instant: np.datetime64) -> Frequency:
        """The same frequency with ``instant`` on its grid."""
        return Frequency(self.count, self.unit, int(instant.astype("M8[us]").astype(np.int64)))

    def anchored_for(self, instant: datetime) -> Frequency:
        """The grid that a table with a row at ``instant`` lives on.

        Steps that divide a day start at midnight; weeks, several days and months start where the data do.
        """
        if self.unit in ("s", "min", "h") or (self.unit == "d" and self.count == 1):
            return self
        return self.anchored(np.datetime64(instant, "us"))

    def index(self, times: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """The grid index of each instant; an instant between two grid points belongs to the earlier one."""
        if self.is_monthly:
            months = times.astype("M8[M]").astype(np.int64)
            base = int(np.datetime64(self.anchor, "us").astype("M8[M]").astype(np.int64))
            return np.asarray((months - base) // (_MONTHS[self.unit] * self.count), dtype=np.int64)
        micros = times.astype("M8[us]").astype(np.int64)
        return np.asarray((micros - self.anchor) // self.step_us, dtype=np.int64)

    def times(self, index: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """The instant of each grid index, in microseconds."""
        index = np.asarray(index, dtype=np.int64)
        if self.is_monthly:
            anchor = np.datetime64(self.anchor, "us")
            month = anchor.astype("M8[M]")
            within = anchor - month.astype("M8[us]")
            return np.asarray((month + index * (_MONTHS[self.unit] * self.count)).astype("M8[us]") + within)
        return np.asarray((index * self.step_us + self.anchor).astype("M8[us]"))

    def is_on_grid(self, times: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Whether each instant lies on the grid exactly."""
        return np.asarray(self.times(self.index(times)) == times.astype("M8[us]"))

    def index_of(self, instant: datetime) -> int:
        """The grid index of one instant."""
        naive = instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant
        return int(self.index(np.array([naive], "M8[us]"))[0])

    def label(self, instant: Any) -> str:
        """An instant as text: a date for days and longer steps, date and time for shorter ones."""
        unit = "D" if self.unit in ("d", "w", "mo", "q", "y") else "s"
        return str(np.datetime64(instant, "us").astype(f"M8[{unit}]"))
