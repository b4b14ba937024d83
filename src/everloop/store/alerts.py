"""Alerts: raised once when something begins, cleared once when it ends, an event each time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from everloop.store.events import record_event
from everloop.store.marks import delete_mark, get_mark, list_marks, set_mark
from everloop.store.records import Alert

__all__ = ["Alert", "clear_alert", "open_alerts", "raise_alert"]

_PREFIX = "alert:"


def raise_alert(
    connection: Connection,
    code: str,
    message: str,
    *,
    at: datetime,
    actor: str,
    hint: str = "",
    subject: str = "",
    evidence: dict[str, Any] | None = None,
) -> bool:
    """Raise an alert; one that is open already stays as it is. Tells whether it is new."""
    known = get_mark(connection, _PREFIX + code)
    since = known["since"] if known else at.isoformat()
    set_mark(connection, _PREFIX + code, {"message": message, "hint": hint, "since": since}, at=at)
    if known is None:
        record_event(connection, at, "alert", message, actor=actor, subject=subject or code, evidence=evidence)
    return known is None


def clear_alert(connection: Connection, code: str, *, at: datetime, actor: str) -> bool:
    """End an alert, where it is open."""
    if not delete_mark(connection, _PREFIX + code):
        return False
    record_event(connection, at, "cleared", f"alert {code!r} is over", actor=actor, subject=code)
    return True


def open_alerts(connection: Connection) -> list[Alert]:
    """The alerts that are open now."""
    return [
        Alert(name.removeprefix(_PREFIX), value["message"], value["hint"], datetime.fromisoformat(value["since"]))
        for name, value in list_marks(connection, _PREFIX).items()
    ]
