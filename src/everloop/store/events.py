"""The audit log: who or what decided what, when, and on which evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from everloop.store.schema import events

__all__ = ["Event", "events_after", "last_event", "list_events", "record_event"]


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the audit log.

    Attributes:
        at: when.
        kind: what happened, such as ``"promoted"``, ``"kept"``, ``"ingested"``, ``"alert"``.
        actor: who or what: ``"loop"``, ``"cli:NAME"``.
        subject: what it is about, mostly a release's digest.
        message: a sentence for a person.
        evidence: the numbers behind it, as JSON values.
        seq: its number in the log.
    """

    at: datetime
    kind: str
    actor: str
    subject: str
    message: str
    evidence: dict[str, Any]
    seq: int = 0


def record_event(
    connection: Connection,
    at: datetime,
    kind: str,
    message: str,
    *,
    actor: str,
    subject: str = "",
    evidence: dict[str, Any] | None = None,
) -> None:
    """Append an event within the transaction of what it tells of."""
    connection.execute(
        insert(events).values(at=at, kind=kind, actor=actor, subject=subject, message=message, evidence=evidence or {})
    )


def list_events(connection: Connection, *, kinds: tuple[str, ...] = (), limit: int = 100) -> list[Event]:
    """The newest events, oldest of them first."""
    query = select(events).order_by(events.c.seq.desc()).limit(limit)
    if kinds:
        query = query.where(events.c.kind.in_(kinds))
    return [Event(**row._mapping) for row in reversed(connection.execute(query).all())]


def events_after(connection: Connection, seq: int) -> list[Event]:
    """The events that came after number ``seq``, in order."""
    query = select(events).where(events.c.seq > seq).order_by(events.c.seq)
    return [Event(**row._mapping) for row in connection.execute(query)]


def last_event(connection: Connection) -> int:
    """The number of the newest event, 0 where there is none."""
    return int(connection.execute(select(func.max(events.c.seq))).scalar() or 0)
