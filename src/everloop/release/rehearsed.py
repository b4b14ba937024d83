"""What a rehearsal showed of a release, as the store keeps it: measured later, and no part of the release."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from everloop.store.evidence import list_evidence

__all__ = ["REHEARSAL", "last_rehearsal", "rehearsed_gates"]

REHEARSAL = "rehearsal"
"""The kind of evidence."""


def last_rehearsal(connection: Connection, digest: str) -> dict[str, Any] | None:
    """The newest record of a release's rehearsals; ``None`` where it had none."""
    found = list_evidence(connection, kinds=(REHEARSAL,), subject=digest, limit=1)
    return found[0].record if found else None


def rehearsed_gates(connection: Connection, digest: str) -> list[dict[str, Any]]:
    """The verdicts of a release's newest rehearsal; empty where it had none."""
    record = last_rehearsal(connection, digest)
    return [] if record is None else list(record["gates"])
