"""Marks as stretches of time that a person can read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everloop.data.marks import KINDS, PRICE
from everloop.data.panel import Panel, join_key

__all__ = ["Stretch", "stretches"]

_SEASONS = 4


@dataclass(frozen=True, slots=True)
class Stretch:
    """Marked periods of one kind and series, one after the other.

    Attributes:
        kind: one of :data:`everloop.data.marks.KINDS`.
        series: the series.
        first: its first period.
        last: its last period.
        periods: how many of them are marked.
        observed: the sum of the targets (the mean price, for wrong prices).
        usual: the mean of a period of the four seasons before (of the price, likewise), ``None`` without any.
        known_since: the period from which on the first of them was known to be what it is.
        treatment: what became of it.
    """

    kind: str
    series: str
    first: str
    last: str
    periods: int
    observed: float
    usual: float | None
    known_since: str
    treatment: str


def stretches(
    panel: Panel, *, kinds: tuple[str, ...] = (), series: str = "", limit: int | None = None
) -> tuple[list[Stretch], int]:
    """The newest stretches of a marked panel, and how many there are in all.

    Args:
        panel: with marks.
        kinds: only these; all where it is empty.
        series: only this one.
        limit: at most so many.
    """
    marks = panel.marks
    if marks is None or not len(marks):
        return [], 0
    owner = panel.series_of_rows()[marks.row]
    keep = np.ones(len(marks), dtype=bool)
    if kinds:
        keep &= np.isin(marks.kind, [KINDS.index(kind) for kind in kinds])
    if series:
        names = np.array([join_key(key) == series for key in panel.keys])
        keep &= names[owner]
    order = np.flatnonzero(keep)[np.lexsort((marks.row[keep], owner[keep], marks.kind[keep]))]
    if not len(order):
        return [], 0
    row, kind, whose = marks.row[order], marks.kind[order], owner[order]
    is_new = np.ones(len(order), dtype=bool)
    # missing rows within a run do not divide it
    is_new[1:] = (kind[1:] != kind[:-1]) | (whose[1:] != whose[:-1]) | (np.diff(row) > panel.frequency.season)
    first = np.flatnonzero(is_new)
    last = np.append(first[1:], len(order)) - 1
    index = panel.index_of_rows()
    newest = np.lexsort((first, -index[row[last]]))[:limit]
    raw = panel.untreated()
    return [_stretch(raw, order[first[each] : last[each] + 1]) for each in newest.tolist()], len(first)


def _stretch(raw: Panel, places: np.ndarray) -> Stretch:
    marks = raw.marks
    if marks is None:
        raise ValueError("the panel has no marks")
    row = marks.row[places]
    owner = int(np.searchsorted(raw.offsets, row[0], side="right") - 1)
    kind = int(marks.kind[places[0]])
    values = raw.y
    if kind == PRICE:
        values = raw.known[marks.price] if marks.price in raw.known else raw.observed[marks.price]
    before = values[max(int(raw.offsets[owner]), int(row[0]) - _SEASONS * raw.frequency.season) : int(row[0])]
    known = before[np.isfinite(before)]
    observed = marks.raw[places].astype(np.float64)
    end = int(raw.offsets[owner + 1]) - 1
    days = raw.frequency.times(raw.cutoff - end + row)
    since = raw.frequency.times(marks.known_at[places[:1]])
    return Stretch(
        kind=KINDS[kind],
        series=join_key(raw.keys[owner]),
        first=raw.frequency.label(days[0]),
        last=raw.frequency.label(days[-1]),
        periods=len(row),
        observed=float(observed.mean() if kind == PRICE else observed.sum()),
        usual=float(known.mean()) if len(known) else None,
        known_since=raw.frequency.label(since[0]),
        treatment=marks.treatments[KINDS[kind]],
    )
