"""Events that are known ahead, as regressors of a day's numbers: a feast that was seen before is no drift.

Taken from known-ahead columns that follow the calendar (one value a day for all series): a category on few days, or a
flag of nought and one. Each event has a column for its day, one for the day before and one for the day after.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.monitor.drift.summaries import ALL, Summary

__all__ = ["Event", "event_columns", "plan_events"]

_MOST_EVENTS = 40
_MOST_DAYS = 0.25
"""What is there on more of the days than this is a season rather than an event."""
_LEAST_TIMES = 2
_ONE = float(np.arcsinh(1.0))
_OFFSETS = (-1, 0, 1)


class Event(msgspec.Struct, frozen=True, array_like=True, order=True):
    """An event: a column, and its category; of a flag the category is empty."""

    column: str
    category: str = ""


def plan_events(reference: Summary, columns: Sequence[str]) -> tuple[Event, ...]:
    """The events that a reference tells enough of: on two days at least, and on a quarter of all at most.

    Args:
        reference: the summary of the reference.
        columns: the known-ahead columns that follow the calendar.
    """
    found = []
    for column in sorted(columns):
        for event in _events_of(reference, column):
            days = int(_is_on(reference, event).sum())
            if _LEAST_TIMES <= days <= _MOST_DAYS * len(reference.periods):
                found.append((days, event))
    # where there are too many, those of most days teach most
    kept = sorted(found, key=lambda each: (-each[0], each[1]))[:_MOST_EVENTS]
    return tuple(sorted(event for _, event in kept))


def event_columns(summary: Summary, events: Sequence[Event], periods: NDArray[np.int64]) -> NDArray[np.float64]:
    """The regressors of some periods, shape ``(q, 3 * len(events))``: of each event the day before, on it and after.

    Args:
        summary: what is known of the days, also of those to come.
        events: the events.
        periods: days since 1970, ascending.
    """
    columns = np.zeros((len(periods), len(_OFFSETS) * len(events)))
    for number, event in enumerate(events):
        on = summary.periods[_is_on(summary, event)]
        for place, offset in enumerate(_OFFSETS):
            columns[:, len(_OFFSETS) * number + place] = np.isin(periods, on + offset)
    return columns


def _events_of(reference: Summary, column: str) -> list[Event]:
    counts = reference.categories.get(column)
    if counts is not None:
        return [Event(column, name) for name in counts.names]
    return [Event(column)] if (column, ALL) in reference.numbers else []


def _is_on(summary: Summary, event: Event) -> NDArray[np.bool_]:
    """On which periods an event is; a number that is neither nought nor one is no flag and never on."""
    counts = summary.categories.get(event.column)
    if event.category:
        if counts is None or event.category not in counts.names:
            return np.zeros(len(summary.periods), dtype=bool)
        return counts.counts[:, counts.names.index(event.category)] > 0
    moments = summary.numbers.get((event.column, ALL))
    if moments is None:
        return np.zeros(len(summary.periods), dtype=bool)
    mean = np.nan_to_num(moments.mean)
    is_flag = bool((np.isclose(mean, 0) | np.isclose(mean, _ONE)).all())
    return np.isclose(mean, _ONE) & is_flag
