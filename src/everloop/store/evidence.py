"""Evidence kept: what was known when something was decided, or looked at and not yet decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from everloop.core.digest import digest_json
from everloop.core.errors import NotFoundError
from everloop.store.schema import evidence

__all__ = ["EvidenceRow", "find_evidence", "keep_evidence", "list_evidence"]


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """A kept record of evidence.

    Attributes:
        seq: its number in order of keeping.
        id: the digest of what it says about whom; the same evidence is kept once.
        at: when it was computed.
        kind: which decision, such as ``"paired"``, ``"split"``, ``"drift"``.
        subject: whom it is about, mostly a release's digest.
        verdict: what it says.
        record: the record as JSON values, to be read by ``Evidence.from_dict``.
    """

    seq: int
    id: str
    at: datetime
    kind: str
    subject: str
    verdict: str
    record: dict[str, Any]


def keep_evidence(connection: Connection, record: dict[str, Any], *, at: datetime, kind: str, subject: str) -> str:
    """Keep a record within the transaction of what it decides; the id. The same record is kept once."""
    identity = digest_json([kind, subject, record])
    known = connection.execute(select(evidence.c.seq).where(evidence.c.id == identity)).first()
    if known is None:
        verdict = str(record["verdict"])
        connection.execute(
            insert(evidence).values(id=identity, at=at, kind=kind, subject=subject, verdict=verdict, record=record)
        )
    return identity


def list_evidence(
    connection: Connection, *, kinds: tuple[str, ...] = (), subject: str = "", limit: int = 100
) -> list[EvidenceRow]:
    """The newest records, oldest of them first; ``subject`` may be a beginning."""
    query = select(evidence).order_by(evidence.c.seq.desc()).limit(limit)
    if kinds:
        query = query.where(evidence.c.kind.in_(kinds))
    if subject:
        query = query.where(evidence.c.subject.startswith(subject, autoescape=True))
    return [EvidenceRow(**row._mapping) for row in reversed(connection.execute(query).all())]


def find_evidence(connection: Connection, beginning: str) -> EvidenceRow:
    """The record whose id begins so.

    Raises:
        NotFoundError: there is none, or more than one.
    """
    query = select(evidence).where(evidence.c.id.startswith(beginning, autoescape=True)).limit(2)
    found = connection.execute(query).all()
    if len(found) != 1:
        many = "more than one record" if found else "no record"
        raise NotFoundError(
            "evidence_unknown",
            f"{many} of evidence has an id that begins with {beginning!r}",
            hint="list them: everloop evidence",
        )
    return EvidenceRow(**found[0]._mapping)
