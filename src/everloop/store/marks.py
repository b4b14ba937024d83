"""Marks: how far a recurring duty has come, so that it can be resumed and done twice without harm."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from everloop.store.schema import marks

__all__ = ["delete_mark", "get_mark", "list_marks", "set_mark"]


def get_mark(connection: Connection, name: str) -> Any:
    """The value of a mark, ``None`` where it was never set."""
    return connection.execute(select(marks.c.value).where(marks.c.name == name)).scalar()


def set_mark(connection: Connection, name: str, value: Any, *, at: datetime) -> None:
    """Set a mark within the transaction of what it tells of."""
    done = connection.execute(update(marks).where(marks.c.name == name).values(value=value, at=at))
    if done.rowcount == 0:
        connection.execute(insert(marks).values(name=name, value=value, at=at))


def delete_mark(connection: Connection, name: str) -> bool:
    """Remove a mark; tells whether it was there."""
    return connection.execute(delete(marks).where(marks.c.name == name)).rowcount > 0


def list_marks(connection: Connection, prefix: str) -> dict[str, Any]:
    """All marks whose name begins with ``prefix``, in the order of their names."""
    query = (
        select(marks.c.name, marks.c.value)
        .where(marks.c.name.startswith(prefix, autoescape=True))
        .order_by(marks.c.name)
    )
    return {row.name: row.value for row in connection.execute(query)}
