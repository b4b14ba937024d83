"""The streams that are watched: one number a period for each aspect of a column, made from its summary.

Each is on a scale where its noise is about the same at all heights: means of arcsinh, logarithms of deviations and
ratios, and arcsines of shares. :func:`shown` turns a value back into what a reader knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.monitor.drift.events import Event, plan_events
from everloop.monitor.drift.residuals import ErrorSums
from everloop.monitor.drift.summaries import ALL, Moments, Summary

__all__ = [
    "FORECAST_ERROR",
    "ROWS",
    "Aspect",
    "Plan",
    "StreamKey",
    "calendar_columns",
    "error_streams",
    "kinds_of",
    "plan_streams",
    "shown",
    "side_by_side",
    "streams_of",
]

Aspect = Literal["level", "spread", "missing", "silent", "mix", "unseen", "bias", "error"]

FORECAST_ERROR = "(forecast error)"
"""The column under which a release's own errors are told."""
ROWS = "(rows)"
"""The column under which series that do not report are told."""

_MOST_SHARES = 8
_LEAST_SHARE = 0.01
_TRAIL = 28
_GROUP_PRESENCE = 0.9


class StreamKey(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Which stream: an aspect of a column, of one category or group where ``label`` says so."""

    column: str
    aspect: Aspect
    label: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What is watched, as it was chosen from the reference.

    Attributes:
        keys: the streams of the table.
        known: the categories that the reference holds, by column.
        left_out: columns without a stream, with the reason.
        events: what is known ahead and moves the streams for a day.
    """

    keys: tuple[StreamKey, ...]
    known: dict[str, tuple[str, ...]]
    left_out: dict[str, str]
    events: tuple[Event, ...] = ()


def plan_streams(reference: Summary, *, columns: Sequence[str], target: str, known_ahead: Sequence[str]) -> Plan:
    """Choose the streams of a table by what its reference holds.

    Args:
        reference: the summary of the reference.
        columns: the columns that are to be watched.
        target: the target among them, empty for none.
        known_ahead: those whose values are known for the future too.
    """
    calendar = calendar_columns(reference, known_ahead)
    left_out = {name: "known ahead and the same for all series of a day" for name in columns if name in calendar}
    groups = _steady_groups(reference, target)
    keys: list[StreamKey] = []
    known: dict[str, tuple[str, ...]] = {}
    if target and (target, ALL) in reference.numbers:
        keys.append(StreamKey(ROWS, "silent"))
    for column in columns:
        if column in left_out:
            continue
        moments = reference.numbers.get((column, ALL))
        if moments is None:
            left_out[column] = "not in the reference"
            continue
        keys.append(StreamKey(column, "missing"))
        counts = reference.categories.get(column)
        if counts is not None:
            total = counts.counts.sum(axis=0)
            # the names of all periods stand there, also of those after the reference
            known[column] = tuple(name for name, count in zip(counts.names, total, strict=True) if count > 0)
            shares = total / max(total.sum(), 1)
            common = [place for place in np.argsort(-shares, kind="stable").tolist() if shares[place] >= _LEAST_SHARE]
            # the shares add up to one, so the last of all would say nothing new
            most = common[: min(_MOST_SHARES, len(known[column]) - 1)]
            keys += [StreamKey(column, "mix", counts.names[place]) for place in most]
            keys.append(StreamKey(column, "unseen"))
        elif moments.known.any():
            keys += [StreamKey(column, "level"), StreamKey(column, "spread")]
            keys += [StreamKey(column, "level", group) for group in groups]
    return Plan(tuple(keys), known, left_out, plan_events(reference, sorted(calendar)))


def calendar_columns(reference: Summary, known_ahead: Sequence[str]) -> frozenset[str]:
    """The known-ahead columns that follow from the date alone: one value a day for all series, or the calendar's own.

    What such a column says of a day to come is certain; it cannot drift, and a release has been told of it.
    """
    found = set()
    days = reference.periods.astype("M8[D]")
    month = days.astype("M8[M]")
    keys = [
        (reference.periods + 3) % 7,
        (days - month).astype(np.int64),
        month.astype(np.int64) % 12,
        (month.astype(np.int64) % 12) * 31 + (days - month).astype(np.int64),
    ]
    for column in known_ahead:
        moments = reference.numbers.get((column, ALL))
        if column in reference.categories:
            counts = reference.categories[column].counts
            is_common = bool((np.count_nonzero(counts, axis=1) <= 1).all())
            several = counts.sum(axis=1).max(initial=0) > 1
            values = counts.argmax(axis=1).astype(np.float64) if counts.size else np.zeros(len(days))
        elif moments is not None and moments.known.any():
            several = bool(moments.known.max() > 1)
            is_common = bool((np.nan_to_num(moments.spread) == 0).all())
            values = moments.mean
        else:
            continue
        if is_common and (several or any(_follows(values, key) for key in keys)):
            found.add(column)
    return frozenset(found)


def _follows(values: NDArray[np.float64], key: NDArray[np.int64]) -> bool:
    """Whether values follow from a part of the date that came round at least twice."""
    is_known = np.isfinite(values)
    where, place, counts = np.unique(key[is_known], return_inverse=True, return_counts=True)
    if not len(where) or counts.min() < 2:
        return False
    low, high = np.full(len(where), np.inf), np.full(len(where), -np.inf)
    np.minimum.at(low, place, values[is_known])
    np.maximum.at(high, place, values[is_known])
    return bool(np.allclose(low, high, rtol=1e-9, atol=1e-9))


def _steady_groups(reference: Summary, target: str) -> list[str]:
    """The groups that had rows in nearly all of the newest periods of the reference."""
    newest = slice(-2 * _TRAIL, None)
    return sorted(
        group
        for (column, group), moments in reference.numbers.items()
        if group != ALL and column == target and (moments.rows[newest] > 0).mean() >= _GROUP_PRESENCE
    )


_KINDS: dict[str, str] = {
    "level": "value",
    "spread": "value",
    "missing": "share",
    "silent": "share",
    "mix": "share",
    "unseen": "unseen",
    "bias": "bias",
    "error": "error",
}


def kinds_of(keys: Sequence[StreamKey]) -> list[str]:
    """How each stream is judged, as :func:`everloop.stats.drift.reference.learn` names it."""
    return [_KINDS[key.aspect] for key in keys]


def streams_of(summary: Summary, plan: Plan) -> NDArray[np.float64]:
    """The values of a plan's streams, shape ``(p, m)``, NaN where there is none."""
    values = np.full((len(summary.periods), len(plan.keys)), np.nan)
    for place, key in enumerate(plan.keys):
        values[:, place] = _stream(summary, plan, key)
    return values


def _stream(summary: Summary, plan: Plan, key: StreamKey) -> NDArray[np.float64]:
    nothing = np.full(len(summary.periods), np.nan)
    if key.aspect == "silent":
        rows = next((each.rows for (_, group), each in summary.numbers.items() if group == ALL), None)
        return nothing if rows is None else _arcsine(_silent(rows))
    if key.aspect in ("mix", "unseen"):
        return _share_of(summary, plan, key)
    moments = summary.numbers.get((key.column, key.label))
    if moments is None:
        return nothing
    if key.aspect == "missing":
        return _arcsine(moments.missing)
    return _moment(moments, key.aspect)


def _moment(moments: Moments, aspect: str) -> NDArray[np.float64]:
    if aspect == "level":
        return moments.mean
    spread = moments.spread
    return np.log(np.where(spread > 0, spread, np.nan))


def _share_of(summary: Summary, plan: Plan, key: StreamKey) -> NDArray[np.float64]:
    """The share of one category, or of all that the reference does not hold, among the rows that have a value."""
    counts = summary.categories.get(key.column)
    if counts is None:
        return np.full(len(summary.periods), np.nan)
    wanted = {key.label} if key.aspect == "mix" else set(counts.names) - set(plan.known[key.column])
    total = counts.counts.sum(axis=1)
    chosen = [place for place, name in enumerate(counts.names) if name in wanted]
    share = np.full(len(total), np.nan)
    np.divide(counts.counts[:, chosen].sum(axis=1), total, out=share, where=total > 0)
    return _arcsine(share)


def _silent(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many rows are missing, of the most of the periods just before."""
    if not len(rows):
        return rows
    padded = np.concatenate([np.full(_TRAIL - 1, rows[0]), rows])
    most = np.lib.stride_tricks.sliding_window_view(padded, _TRAIL).max(axis=1)
    return np.where(most > 0, 1 - rows / np.maximum(most, 1), np.nan)


def _arcsine(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """The arcsine of the root: the variance of a share is then about the same at every height."""
    return 2 * np.arcsin(np.sqrt(np.clip(share, 0, 1)))


def error_streams(errors: ErrorSums) -> tuple[tuple[StreamKey, ...], NDArray[np.float64]]:
    """The streams of a release's errors: the signed one, and the absolute one against what the backtest promised."""
    keys = (StreamKey(FORECAST_ERROR, "bias"), StreamKey(FORECAST_ERROR, "error"))
    return keys, np.stack([errors.bias, errors.excess], axis=1)


def shown(value: float, aspect: Aspect) -> float | None:
    """A stream's value in its column's own unit, a share as a share, a logarithm as the ratio; ``None`` for NaN.

    >>> shown(0.0, "bias"), shown(float("nan"), "level")
    (1.0, None)
    """
    if not np.isfinite(value):
        return None
    if aspect == "level":
        return float(np.sinh(value))
    if aspect in ("spread", "bias", "error"):
        return float(np.exp(value))
    return float(np.sin(np.clip(value, 0, np.pi) / 2) ** 2)


def side_by_side(
    first: tuple[NDArray[np.int64], NDArray[np.float64]], second: tuple[NDArray[np.int64], NDArray[np.float64]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Streams of two sources over the periods of either, NaN where one has none."""
    periods = np.union1d(first[0], second[0])
    width = first[1].shape[1]
    values = np.full((len(periods), width + second[1].shape[1]), np.nan)
    values[np.searchsorted(periods, first[0]), :width] = first[1]
    values[np.searchsorted(periods, second[0]), width:] = second[1]
    return periods, values
