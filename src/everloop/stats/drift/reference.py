"""What streams of daily numbers learnt to expect from their own past, kept per release.

A stream is modelled as its season (weekday, two yearly harmonics, given regressors) plus a level that may wander
slowly plus an autoregression of lags 1, 2 and 7. All errors that later errors are judged against are out of fold: each
block of the past is predicted by a season that was fitted on the others, so that what is not known of the season is
part of what is usual.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.stats.drift.dynamics import autoregression, innovations, level_share, slow_level
from everloop.stats.drift.season import WEEKDAY, YEAR, blocks, day_of_year, fit, grid, recurring, season_columns
from everloop.stats.drift.usual import Usual

__all__ = ["KINDS", "Reference", "learn"]

Floats = NDArray[np.float64]
Days = NDArray[np.int64]

KINDS = ("value", "share", "unseen", "bias", "error")
"""``value``: any number. ``share``: the arcsine of the root of a share, times two. ``unseen``: such a share that was
zero in all the reference. ``bias``: a signed error, expected to be zero. ``error``: a size of errors, only its rise
counts."""

_LEAST_DAYS = 28
_LEAST_WEEKS = 26
_YEARLY_DAYS = 548
_TAIL = 400


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What is expected of ``m`` streams.

    Attributes:
        kinds: of each stream, one of :data:`KINDS`.
        period_days: how many days a period has.
        last_day: the first day of the newest period that was learnt from, days since 1970.
        season: ``"weekday and year"``, ``"weekday"`` or ``"none"``: the most that was learnt of any stream. A stream
            with a shorter past of its own has less.
        known: how many periods each stream was known for, shape ``(m,)``.
        coefficients: of the season, shape ``(k, m)``.
        follows: the share of the slow level that is expected, 0 for streams that may not wander, shape ``(m,)``.
        lags: the autoregression's coefficients at its lags, shape ``(3, m)``.
        usual: what errors are usual.
        recurring: what came back at the same time of each year beside the season, by day of the year, shape
            ``(366, m)``; of shape ``(0, m)`` where there are not two years.
        tail: what the season left of the newest periods (out of fold), shape ``(t, m)``: later ones build on it.
        answered: whether a stream was known at a given regressor at least once, or does not use it, shape ``(r, m)``.
    """

    kinds: tuple[str, ...]
    period_days: int
    last_day: int
    season: str
    known: NDArray[np.int64]
    coefficients: Floats
    follows: Floats
    lags: Floats
    usual: Usual
    recurring: Floats
    tail: Floats
    answered: NDArray[np.bool_]

    @property
    def too_little(self) -> NDArray[np.bool_]:
        """The streams that nothing can be said about: their past is too short. Shape ``(m,)``."""
        always = np.array([kind == "unseen" for kind in self.kinds], dtype=bool)
        result: NDArray[np.bool_] = (self.known < _least(self.period_days)) & ~always
        return result

    @property
    def is_pinned(self) -> NDArray[np.bool_]:
        """The streams whose level may not wander, shape ``(m,)``."""
        return _pinned(self.kinds)

    def columns(self, days: Days, regressors: Floats | None = None) -> Floats:
        """The season's regressors at some dates, as they were used to learn."""
        return season_columns(days, self.season, period_days=self.period_days, regressors=regressors)

    def recurring_at(self, days: Days) -> Floats:
        """What comes back each year beside the season, shape ``(q, m)``."""
        if not len(self.recurring):
            return np.zeros((len(days), len(self.kinds)))
        return self.recurring[day_of_year(days)]

    def select(self, places: Sequence[int] | NDArray[np.int64]) -> Reference:
        """Some of the streams."""
        chosen = np.asarray(places, dtype=np.int64)
        return Reference(
            tuple(self.kinds[place] for place in chosen.tolist()),
            self.period_days,
            self.last_day,
            self.season,
            self.known[chosen],
            self.coefficients[:, chosen],
            self.follows[chosen],
            self.lags[:, chosen],
            self.usual.select(chosen),
            self.recurring[:, chosen],
            self.tail[:, chosen],
            self.answered[:, chosen],
        )

    def pack(self) -> bytes:
        """The bytes to keep: a JSON line that tells of the arrays, then their numbers bit for bit.

        They are not compressed: the noise of hundreds of streams takes a second and becomes hardly smaller.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS} | self.usual.arrays()
        numbers = b"".join(np.ascontiguousarray(each).tobytes() for each in arrays.values())
        head = {
            "kinds": self.kinds,
            "period_days": self.period_days,
            "last_day": self.last_day,
            "season": self.season,
            "arrays": {name: [each.dtype.str, each.shape] for name, each in arrays.items()},
            "crc32": zlib.crc32(numbers),
        }
        return json.dumps(head).encode() + b"\n" + numbers

    @classmethod
    def unpack(cls, content: bytes) -> Reference:
        """Back from :meth:`pack`.

        Raises:
            ValueError: the bytes are no reference.
        """
        line, _, numbers = content.partition(b"\n")
        try:
            head = json.loads(line)
            if zlib.crc32(numbers) != head["crc32"]:
                raise ValueError("its numbers were changed")
            arrays = dict(_arrays(head["arrays"], numbers))
            known, coefficients, follows, lags, again, tail, answered = (arrays.pop(name) for name in _ARRAYS)
            return cls(
                kinds=tuple(head["kinds"]),
                period_days=int(head["period_days"]),
                last_day=int(head["last_day"]),
                season=str(head["season"]),
                known=known,
                coefficients=coefficients,
                follows=follows,
                lags=lags,
                usual=Usual(**arrays),
                recurring=again,
                tail=tail,
                answered=answered,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no reference for drift: {error}") from error


def _arrays(told: Mapping[str, tuple[str, Sequence[int]]], numbers: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """Arrays by name from their kinds and shapes, and the bytes of all of them."""
    place = 0
    for name, (kind, shape) in told.items():
        size = math.prod(shape)
        yield name, np.frombuffer(numbers, kind, size, place).reshape(shape)
        place += size * np.dtype(kind).itemsize


_ARRAYS = ("known", "coefficients", "follows", "lags", "recurring", "tail", "answered")


def learn(
    days: Days,
    values: Floats,
    kinds: Sequence[str],
    *,
    period_days: int = 1,
    regressors: Floats | None = None,
) -> Reference:
    """Learn what to expect of streams.

    Args:
        days: the first day of each period, days since 1970, ascending; periods may be missing. Shape ``(p,)``.
        values: shape ``(p, m)``, NaN where nothing is known.
        kinds: of each stream, one of :data:`KINDS`.
        period_days: how many days a period has.
        regressors: what else moves the streams and is known ahead (holidays), shape ``(p, r)``.

    Raises:
        ValueError: no period, days that are not periods apart, or an unknown kind.
    """
    if not len(days) or values.shape != (len(days), len(kinds)) or not set(kinds) <= set(KINDS):
        raise ValueError(f"expected periods and one of {', '.join(KINDS)} for each of {values.shape[1:]} streams")
    first, last = int(days[0]), int(days[-1])
    season = season_of(last - first + period_days, period_days)
    full_days, full = grid(days, values, first, last, period_days)
    extra = None if regressors is None else np.nan_to_num(grid(days, regressors, first, last, period_days)[1])
    design = season_columns(full_days, season, period_days=period_days, regressors=extra)
    spans = _spans(full)
    seasons = [season_of((stop - start) * period_days, period_days) for start, stop in spans.tolist()]
    used = [_used(kind, design.shape[1], own, period_days) for kind, own in zip(kinds, seasons, strict=True)]
    masks = np.array(used, dtype=bool).reshape(len(kinds), design.shape[1]).T
    given = design.shape[1] - (0 if extra is None else extra.shape[1])
    shrunk = np.arange(design.shape[1]) >= given
    coefficients = _fit_masked(design, full, np.ones(len(full), dtype=bool), masks, shrunk)
    left = _out_of_fold(design, full, masks, shrunk, spans)
    left[:, np.array([kind == "unseen" for kind in kinds], dtype=bool)] = 0.0
    level = slow_level(left, left[:0], period_days)
    follows = level_share(left, level, ~_pinned(kinds), period_days)
    level = follows * level
    lags = autoregression(left - level, period_days)
    usual = Usual.of(innovations(left - level, lags, period_days), left - level, ~_pinned(kinds))
    known = np.isfinite(full).sum(axis=0)
    again = left[:0]
    if season == YEAR:
        again = np.where(_pinned(kinds), 0.0, recurring(full_days, left, period_days))
    return Reference(
        tuple(kinds),
        period_days,
        last,
        season,
        known,
        coefficients,
        follows,
        lags,
        usual,
        again,
        left[-_TAIL // period_days :],
        _answered(design[:, given:], full) | ~masks[given:],
    )


def _answered(regressors: Floats, values: Floats) -> NDArray[np.bool_]:
    """Whether each stream has a value where a regressor is not zero, shape ``(r, m)``."""
    met: NDArray[np.bool_] = (regressors != 0).T.astype(np.float64) @ np.isfinite(values).astype(np.float64) > 0
    return met


def season_of(span_days: int, period_days: int) -> str:
    """What of the season so many days can teach."""
    if span_days >= _YEARLY_DAYS:
        return YEAR
    return WEEKDAY if period_days == 1 and span_days >= _LEAST_DAYS else "none"


def _least(period_days: int) -> int:
    return _LEAST_DAYS if period_days == 1 else _LEAST_WEEKS


def _pinned(kinds: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([kind in ("unseen", "bias", "error") for kind in kinds], dtype=bool)


def _spans(values: Floats) -> NDArray[np.int64]:
    """From which period up to which, exclusive, each stream is known, shape ``(m, 2)``."""
    known = np.isfinite(values)
    number = len(values)
    some = known.any(axis=0)
    start = np.where(some, known.argmax(axis=0), 0)
    return np.stack([start, np.where(some, number - known[::-1].argmax(axis=0), 0)], axis=1)


def _used(kind: str, columns: int, season: str, period_days: int) -> NDArray[np.bool_]:
    """Which columns of the design a kind of stream is regressed on, by what its own past can teach."""
    used = np.zeros(columns, dtype=bool)
    weekdays = 7 if period_days == 1 else 1
    if kind in ("bias", "unseen"):
        return used
    # a release's errors are known for too short a time to learn more than their weekday
    if season == YEAR and kind != "error":
        used[:] = True
    elif season == "none":
        used[0] = True
    else:
        used[: min(weekdays, columns)] = True
    return used


def _out_of_fold(
    design: Floats,
    values: Floats,
    masks: NDArray[np.bool_],
    shrunk: NDArray[np.bool_],
    spans: NDArray[np.int64],
) -> Floats:
    """What a season that was fitted without them leaves of each block of a stream's own past."""
    left = np.full_like(values, np.nan)
    for start, stop in np.unique(spans, axis=0).tolist():
        members = np.flatnonzero((spans == (start, stop)).all(axis=1))
        if stop - start < 2:
            continue
        own, part = values[start:stop, members], design[start:stop]
        for block in blocks(stop - start):
            fitted = _fit_masked(part, own, ~block, masks[:, members], shrunk)
            left[np.ix_(start + np.flatnonzero(block), members)] = own[block] - part[block] @ fitted
    return left


def _fit_masked(
    design: Floats,
    values: Floats,
    rows: NDArray[np.bool_],
    masks: NDArray[np.bool_],
    shrunk: NDArray[np.bool_],
) -> Floats:
    """Coefficients where each stream uses its own columns; the others are zero."""
    result = np.zeros(masks.shape)
    for pattern in np.unique(masks, axis=1).T:
        members = np.flatnonzero((masks == pattern[:, None]).all(axis=0))
        result[np.ix_(np.flatnonzero(pattern), members)] = fit(
            design[:, pattern], values[:, members], rows, shrunk[pattern]
        )
    return result
