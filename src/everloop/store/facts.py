"""Predictions and outcomes: what was answered, and what really happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, func, insert, select

from everloop.core.errors import NotFoundError
from everloop.store.records import Outcome, Prediction
from everloop.store.schema import outcomes, predictions

__all__ = [
    "Outcome",
    "Prediction",
    "add_outcomes",
    "add_predictions",
    "count_facts",
    "find_prediction",
    "has_prediction",
    "outcomes_after",
    "outcomes_since",
    "predictions_reaching",
]


def add_predictions(connection: Connection, rows: Sequence[Prediction]) -> None:
    """Store answers, before they are sent."""
    if rows:
        connection.execute(
            insert(predictions),
            [msgspec.structs.asdict(row) for row in rows],
        )


def find_prediction(connection: Connection, identifier: str) -> Prediction:
    """One answer.

    Raises:
        NotFoundError: nothing was answered under this id.
    """
    row = connection.execute(select(predictions).where(predictions.c.id == identifier)).first()
    if row is None:
        raise NotFoundError(
            "prediction_unknown",
            f"there is no prediction {identifier!r}",
            hint="the id stands in each answer, as 'id' or 'prediction_id'",
        )
    return Prediction(**row._mapping)


def predictions_reaching(
    connection: Connection, since: datetime, *, releases: Sequence[str] = (), kinds: Sequence[str] = ()
) -> Iterator[Prediction]:
    """The answers that speak of instants at or after ``since``, in the order they were given."""
    query = select(predictions).where(predictions.c.last_time >= since).order_by(predictions.c.at, predictions.c.id)
    if releases:
        query = query.where(predictions.c.release.in_(releases))
    if kinds:
        query = query.where(predictions.c.kind.in_(kinds))
    for row in connection.execute(query):
        yield Prediction(**row._mapping)


def add_outcomes(connection: Connection, rows: Sequence[Outcome]) -> int:
    """Store outcomes; one that is already there changes nothing. Returns how many were new."""
    unique = {row.id: row for row in rows}
    known: set[str] = set()
    ids = list(unique)
    for start in range(0, len(ids), 500):
        query = select(outcomes.c.id).where(outcomes.c.id.in_(ids[start : start + 500]))
        known.update(connection.execute(query).scalars())
    names = [name for name in Outcome.__dataclass_fields__ if name != "seq"]
    fresh = [{name: getattr(row, name) for name in names} for key, row in unique.items() if key not in known]
    if fresh:
        connection.execute(insert(outcomes), fresh)
    return len(fresh)


def outcomes_since(connection: Connection, since: datetime) -> list[Outcome]:
    """All outcomes about instants at or after ``since``, in the order they came."""
    query = select(outcomes).where(outcomes.c.time >= since).order_by(outcomes.c.seq)
    return [Outcome(**row._mapping) for row in connection.execute(query)]


def outcomes_after(connection: Connection, seq: int) -> list[Outcome]:
    """The outcomes that came after number ``seq``, in order."""
    query = select(outcomes).where(outcomes.c.seq > seq).order_by(outcomes.c.seq)
    return [Outcome(**row._mapping) for row in connection.execute(query)]


def has_prediction(connection: Connection, identifier: str) -> bool:
    """Whether an answer is stored."""
    return connection.execute(select(predictions.c.id).where(predictions.c.id == identifier)).first() is not None


def count_facts(connection: Connection) -> dict[str, int]:
    """How many predictions and outcomes are stored."""
    return {
        "predictions": int(connection.execute(select(func.count()).select_from(predictions)).scalar() or 0),
        "outcomes": int(connection.execute(select(func.count()).select_from(outcomes)).scalar() or 0),
    }
