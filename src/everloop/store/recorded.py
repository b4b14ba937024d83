"""Recorded requests: what was asked of a release, to be asked of another."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from everloop.store.records import Recorded
from everloop.store.schema import predictions

__all__ = ["Recorded", "recent_requests"]

_KINDS = ("forecast", "infer", "invocations")


def recent_requests(connection: Connection, release: str, *, limit: int) -> list[Recorded]:
    """The newest requests that a release answered and whose inputs were kept, newest first; batches are left out."""
    columns = (predictions.c.id, predictions.c.kind, predictions.c.request)
    query = (
        select(*columns)
        .where(
            predictions.c.release == release,
            predictions.c.kind.in_(_KINDS),
            predictions.c.role != "shadow",
            func.length(predictions.c.request) > 0,
        )
        .order_by(predictions.c.at.desc())
        .limit(limit)
    )
    return [Recorded(*row) for row in connection.execute(query)]
