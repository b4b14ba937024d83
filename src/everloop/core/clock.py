"""Time, as everything that acts is given it.

The system's clock serves the running program; a manual one lets a replay walk through a past year in seconds.
All instants are in UTC and carry their zone.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "ManualClock", "OffsetClock", "SystemClock"]


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> datetime:
        """The present instant, in UTC with its zone."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is told to move.

    >>> clock = ManualClock(datetime(2011, 12, 9, tzinfo=UTC))
    >>> clock.advance(timedelta(days=1))
    >>> clock.now().isoformat()
    '2011-12-10T00:00:00+00:00'
    """

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The instant it was set to."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move on by a span of time."""
        self._now += by

    def set(self, to: datetime) -> None:
        """Move to an instant."""
        self._now = to.astimezone(UTC)


class OffsetClock:
    """A clock that runs on from a given instant, as fast as wanted: past data, served as if it were then.

    Args:
        start: the instant it shows first.
        speed: how many of its seconds pass in one real second.
    """

    def __init__(self, start: datetime, *, speed: float = 1.0) -> None:
        self._start = start.astimezone(UTC)
        self._speed = speed
        self._began = time.monotonic()

    def now(self) -> datetime:
        """The start, plus the time that has passed since, times the speed."""
        return self._start + timedelta(seconds=(time.monotonic() - self._began) * self._speed)
