"""What lies near a period in columns that are known ahead: the days before a feast sell otherwise than the feast.

Two kinds of columns have neighbours: texts that are mostly empty (events, holidays) and numbers that are 0 or 1 (a
promotion that is on or off). A row may know what lies ahead of its target up to the end of the horizon, counted from
its origin, and no more: that is as far as a forecast's known-ahead values reach.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import Panel

__all__ = ["REACH", "event_columns", "flag_columns", "nearest_changes", "nearest_events"]

REACH = 7
"""How many periods before and after a target its neighbours are looked for."""

_MOST_FILLED = 0.5
_LEAST_DAYS = 10
"""Texts of a column are seen on so many days each, on average, or their neighbourhoods are not learnt."""
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def event_columns(panel: Panel) -> tuple[str, ...]:
    """Known-ahead columns of texts that are mostly empty, and whose texts come often enough to be learnt from.

    A feast of which the history holds one or two explains whatever else happened in those weeks: where the last day
    of one feast was once the eve of another, it was taken for the cause of the shops being closed. The kinds of
    feasts are seen often enough, their names are not.
    """
    index = panel.cutoff - panel.index_of_rows()
    found = []
    for name in sorted(set(panel.known) & set(panel.categories)):
        values = panel.known[name]
        is_event = ~np.isnan(values)
        if not is_event.any() or np.mean(is_event) > _MOST_FILLED:
            continue
        codes = len(panel.categories[name])
        days = np.bincount(index[is_event] * codes + values[is_event].astype(np.int64)) > 0
        if days.sum() >= _LEAST_DAYS * codes:
            found.append(name)
    return tuple(found)


def flag_columns(panel: Panel) -> tuple[str, ...]:
    """Known-ahead numbers that are 0 or 1, and not always the same."""
    found = []
    for name in sorted(set(panel.known) - set(panel.categories)):
        values = panel.known[name]
        is_one = values == 1
        if is_one.any() and not is_one.all() and bool((is_one | (values == 0) | np.isnan(values)).all()):
            found.append(name)
    return tuple(found)


def nearest_events(values: Floats, series: Ints, target: Ints, last: Ints) -> list[Floats]:
    """The next event after each target and the last one before it: periods away and code, NaN beyond reach.

    Args:
        values: codes, shape ``(series, columns)``, NaN where there is no event.
        series: the row of ``values``, shape ``(rows,)``.
        target: the column of each target, shape ``(rows,)``.
        last: the last column that may be known, shape ``(rows,)``.

    Returns:
        four arrays of shape ``(rows,)``: periods to the next, its code, periods since the last, its code.
    """
    after, after_code = _nearest(values, series, target, np.minimum(last, values.shape[1] - 1), forward=True)
    before, before_code = _nearest(values, series, target, np.full_like(target, values.shape[1] - 1), forward=False)
    return [after, after_code, before, before_code]


def nearest_changes(values: Floats, series: Ints, target: Ints, last: Ints) -> list[Floats]:
    """Periods until a number next changes, and since it last did (0 on the day of the change); NaN beyond reach."""
    changes = np.full_like(values, np.nan)
    changes[:, 1:] = np.where(values[:, 1:] != values[:, :-1], 1.0, np.nan)
    changes[:, 1:][np.isnan(values[:, 1:]) | np.isnan(values[:, :-1])] = np.nan
    until, _ = _nearest(changes, series, target, np.minimum(last, values.shape[1] - 1), forward=True)
    since, _ = _nearest(changes, series, target + 1, np.full_like(target, values.shape[1] - 1), forward=False)
    return [until, since - 1]


def _nearest(values: Floats, series: Ints, target: Ints, last: Ints, *, forward: bool) -> tuple[Floats, Floats]:
    away = np.full(len(target), np.nan, dtype=np.float32)
    code = np.full(len(target), np.nan, dtype=np.float32)
    for gap in range(REACH, 0, -1):
        column = target + gap if forward else target - gap
        is_known = (column >= 0) & (column <= last)
        found = np.where(is_known, values[series, np.clip(column, 0, values.shape[1] - 1)], np.float32(np.nan))
        is_event = ~np.isnan(found)
        away[is_event], code[is_event] = gap, found[is_event]
    return away, code
