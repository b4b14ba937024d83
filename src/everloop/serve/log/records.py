"""A prediction as the row that the log writes: plain values, in the order of the columns."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

from everloop.store.records import Prediction

__all__ = ["COLUMNS", "Record", "record_of"]

Record: TypeAlias = tuple[Any, ...]

COLUMNS = (
    "id", "at", "release", "state", "role", "kind", "twin", "first_time", "last_time", "request", "response", "unit",
    "experiment",
)  # fmt: skip

_SHARE_DIGITS = 8
_SHARES = 16**_SHARE_DIGITS
_EXACT_SECONDS = 2.0**32  # up to here a float tells microseconds apart


def record_of(prediction: Prediction, inputs: float) -> Record:
    """The row of a prediction.

    Args:
        prediction: the prediction.
        inputs: the share of requests whose inputs are kept; drawn by the prediction's id, so that the same one is
            kept or not however often it is asked.
    """
    at = prediction.at
    text = instant_text(at)
    first, last = prediction.first_time, prediction.last_time
    request = prediction.request
    if inputs < 1.0 and int(prediction.id[-_SHARE_DIGITS:], 16) >= inputs * _SHARES:
        request = b""
    return (
        prediction.id,
        text,
        prediction.release,
        prediction.state,
        prediction.role,
        prediction.kind,
        prediction.twin,
        text if first is at else _kept_text(first),
        text if last is at else _kept_text(last),
        request,
        prediction.response,
        prediction.unit,
        prediction.experiment,
    )


def instant_text(instant: datetime) -> str:
    """An instant in UTC as :class:`everloop.store.schema.Instant` writes it.

    >>> instant_text(datetime(2011, 12, 9, 3, tzinfo=UTC))
    '2011-12-09T03:00:00.000000Z'
    """
    global _second
    stamp = instant.timestamp()
    second = int(stamp)
    known, text = _second
    if second != known:  # most predictions share their second with the one before
        text = instant.astimezone(UTC).isoformat(timespec="microseconds")[:19]
        _second = (second if 1 <= stamp < _EXACT_SECONDS else None, text)  # in one assignment: threads ask too
    return f"{text}.{instant.microsecond:06d}Z"


_second: tuple[int | None, str] = (None, "")
_kept_text = lru_cache(maxsize=4096)(instant_text)
