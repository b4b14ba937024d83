"""Marks: how far a recurring duty has come, so that it can be resumed and done twice without harm."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from everloop.store.schema import marks

__all__ = ["get_mark", "set_mark"]


def get_mark(connection: Connection, name: str) -> Any:
    """The value of a mark, ``None`` where it was never set."""
    return connection.execute(select(marks.c.value).where(marks.c.name == name)).scalar()


def set_mark(connection: Connection, name: str, value: Any, *, at: datetime) -> None:
    """Set a mark within the transaction of what it tells of."""
    done = connection.execute(update(marks).where(marks.c.name == name).values(value=value, at=at))
    if done.rowcount == 0:
        connection.execute(insert(marks).values(name=name, value=value, at=at))
