"""Recorded requests: what was asked of a release, to be asked of another."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from everloop.store.schema import predictions

__all__ = ["Recorded", "recent_requests"]

_KINDS = ("forecast", "infer", "invocations")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it was stored.

    Attributes:
        id: the id of its prediction.
        kind: the door it came through; it says how ``request`` is to be read.
        request: what was asked.
    """

    id: str
    kind: str
    request: bytes


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
