"""What is told again, and what is told anew: facts of which the latest told holds, and the earlier ones are kept.

A sender that gives each fact an id may repeat it whenever it likes. Without ids, a repeat is known by its content: the
first facts of a batch about one thing are a repeat as far as they are the last ones that were told about it. So the
same file twice changes nothing, and yet a value may be corrected and corrected back.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import Field, replace
from typing import Any, ClassVar, Protocol, TypeVar

from sqlalchemy import Column, Connection, select

from everloop.core.digest import digest_json

__all__ = ["fresh_of", "known_ids", "latest_of"]

_AT_ONCE = 500


class Fact(Protocol):
    """A fact that may be told again: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def id(self) -> str:
        """The sender's own id, or empty."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What it is about."""

    @property
    def content(self) -> tuple[Hashable, ...]:
        """What it says of that."""


F = TypeVar("F", bound=Fact)


def fresh_of(rows: Sequence[F], history: Iterable[F], known: Collection[str]) -> list[F]:
    """The facts of a batch that are new, in its order, each with an id.

    Args:
        rows: facts, in the order in which they are told.
        history: those that were told of the same things before, in order.
        known: which of the batch's ids are stored already.
    """
    told: dict[Any, list[Any]] = {}
    for row in history:
        told.setdefault(row.key, []).append(row.content)
    nameless: dict[Any, list[Any]] = {}
    for row in rows:
        if not row.id:
            nameless.setdefault(row.key, []).append(row.content)
    repeated = {key: _overlap(_without_runs(told.get(key, [])), _without_runs(each)) for key, each in nameless.items()}
    last: dict[Any, Any] = {}
    seen = set(known)
    fresh = []
    for row in rows:
        so_far = told.setdefault(row.key, [])
        if row.id:
            if row.id in seen:
                continue
            seen.add(row.id)
        elif last.get(row.key) == row.content:
            continue
        else:
            last[row.key] = row.content
            if repeated[row.key]:
                repeated[row.key] -= 1
                continue
        # two writers that bring the same at once give it the same id, of which the store takes one
        fresh.append(row if row.id else replace(row, id=digest_json([*map(_text, row.key), len(so_far)])))
        so_far.append(row.content)
    return fresh


def known_ids(connection: Connection, column: Column[str], ids: Collection[str]) -> set[str]:
    """Which of some ids are stored."""
    known: set[str] = set()
    listed = list(ids)
    for start in range(0, len(listed), _AT_ONCE):
        known.update(connection.execute(select(column).where(column.in_(listed[start : start + _AT_ONCE]))).scalars())
    return known


def latest_of(rows: Iterable[F]) -> list[F]:
    """Of facts in the order in which they were told, the latest of each thing."""
    return list({row.key: row for row in rows}.values())


def _overlap(told: Sequence[Any], batch: Sequence[Any]) -> int:
    """How many of a batch's first facts are the last ones told."""
    for length in range(min(len(told), len(batch)), 0, -1):
        if told[-length:] == batch[:length]:
            return length
    return 0


def _without_runs(contents: Sequence[Any]) -> list[Any]:
    """The contents without those that only repeat the one before."""
    return [each for place, each in enumerate(contents) if not place or each != contents[place - 1]]


def _text(value: Any) -> Any:
    return value if isinstance(value, int | str) else str(value)
