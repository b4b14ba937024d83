"""Summaries that drift is told from, and what each release learnt to expect: small, and made again where lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from everloop.store.schema import drift_references, drift_summaries

__all__ = ["SummaryRow", "get_reference", "keep_reference", "keep_summaries", "summaries_of"]

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The summary of one part (a month of the table, a batch of forecasts, an hour of the log).

    Attributes:
        part: which part.
        digest: what it was made from; another digest means that the part has changed since.
        content: the packed summary.
    """

    part: str
    digest: str
    content: bytes


def summaries_of(connection: Connection, source: str, *, first: str = "") -> dict[str, SummaryRow]:
    """The summaries of a source by their part, from part ``first`` on."""
    query = (
        select(drift_summaries.c.part, drift_summaries.c.digest, drift_summaries.c.content)
        .where(drift_summaries.c.source == source, drift_summaries.c.part >= first)
        .order_by(drift_summaries.c.part)
    )
    return {row.part: SummaryRow(*row) for row in connection.execute(query)}


def keep_summaries(connection: Connection, source: str, rows: Mapping[str, SummaryRow]) -> None:
    """Keep the newest summary of each part; an earlier one of the same part goes."""
    parts = list(rows)
    for start in range(0, len(parts), _AT_ONCE):
        some = parts[start : start + _AT_ONCE]
        connection.execute(
            delete(drift_summaries).where(drift_summaries.c.source == source, drift_summaries.c.part.in_(some))
        )
    if rows:
        values = [
            {"source": source, "part": row.part, "digest": row.digest, "content": row.content} for row in rows.values()
        ]
        connection.execute(insert(drift_summaries), values)


def get_reference(connection: Connection, release: str, digest: str) -> bytes | None:
    """What a release learnt to expect, under settings of this digest; ``None`` where it was not kept."""
    query = select(drift_references.c.content).where(
        drift_references.c.release == release, drift_references.c.digest == digest
    )
    return connection.execute(query).scalar()


def keep_reference(connection: Connection, release: str, digest: str, content: bytes, *, at: datetime) -> None:
    """Keep what a release learnt to expect, in place of what it learnt under other settings."""
    connection.execute(delete(drift_references).where(drift_references.c.release == release))
    connection.execute(insert(drift_references).values(release=release, digest=digest, at=at, content=content))
