"""What entries that were told hold: numbers, texts and instants, each checked; and their way into the store."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError as DuplicateError

from everloop.core.errors import ConflictError
from everloop.store.engine import Store

__all__ = ["finite", "instant", "present", "short_text", "store_all", "unknown_field"]

T = TypeVar("T")


def finite(given: Any) -> float:
    """A finite number.

    Raises:
        ValueError: it is none; the message says why.
    """
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError(f"{given!r:.60} is no number")
    try:
        value = float(given)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"{given!r:.60} is not finite")
    return value


def short_text(given: Any, most: int) -> str:
    """A text of 1 to ``most`` characters; no database but SQLite takes a NUL in one.

    Raises:
        ValueError: it is none; the message says so.
    """
    if not isinstance(given, str) or not 1 <= len(given) <= most or "\x00" in given:
        raise ValueError(f"{given!r:.80} is no text of at most {most} characters")
    return given


def instant(given: Any) -> datetime:
    """An instant from ISO text; without a zone it is UTC.

    Raises:
        ValueError: it is none; the message says so.
    """
    try:
        time = given if isinstance(given, datetime) else datetime.fromisoformat(given)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{given!r:.60} is no time") from None


def present(entry: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Those of some fields that an entry has; null is as good as left out."""
    return [name for name in names if entry.get(name) is not None]


def unknown_field(entry: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first field of an entry that is none of ``names``."""
    return next((str(name) for name in entry if name not in names), None)


def store_all(store: Store, put: Callable[[Connection], T]) -> T:
    """Store something in one transaction, once more where another writer brought the same at the same moment.

    Raises:
        ConflictError: others keep telling the same.
        UnavailableError: the store does not answer.
    """
    try:
        with store.write() as tx:
            return put(tx)
    except DuplicateError:  # now what the other brought is there to be seen
        try:
            with store.write() as tx:
                return put(tx)
        except DuplicateError as error:
            raise ConflictError("outcome_race", "the same is being told at once", hint="send it again") from error
