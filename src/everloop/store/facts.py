"""Predictions and outcomes: what was answered, and what really happened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, func, insert, select

from everloop.core.digest import digest_json
from everloop.core.errors import NotFoundError
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


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """One answer; a server makes thousands of these a second.

    Attributes:
        id: its identifier, which the caller got too.
        at: when it was answered.
        release: the release's digest.
        state: the id of the serving state it was computed from; empty for the release's own.
        role: who answered: ``"champion"``, ``"challenger"`` for its share of a split, ``"named"`` where the caller
            named the release, ``"fallback"`` or ``"baseline"`` for who stepped in for one that failed, or ``"shadow"``
            for what a challenger would have said.
        kind: the door it came through: ``"forecast"``, ``"infer"``, ``"invocations"``, ``"batch"``.
        twin: for a shadow, the id of the champion's answer to the same request.
        first_time: the first instant that it speaks of; for a model without a time, when it was answered.
        last_time: the last one.
        request: what was asked; empty where only a share of the inputs is kept.
        response: the numbers, packed.
        unit: what the split was drawn by (a series, store or user), where there was one.
        experiment: the split that chose the release, where there was one.
    """

    id: str
    at: datetime
    release: str
    state: str
    role: str
    kind: str
    twin: str | None
    first_time: datetime
    last_time: datetime
    request: bytes
    response: bytes
    unit: str | None = None
    experiment: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What really happened to a series at an instant.

    A later outcome for the same series and time corrects an earlier one. ``id`` makes a repeat harmless: the
    caller's own, or else a digest of the content.
    """

    id: str
    received_at: datetime
    prediction: str | None
    series: str
    time: datetime
    value: float
    source: str
    seq: int = 0

    @staticmethod
    def content_id(series: str, time: datetime, value: float, prediction: str | None) -> str:
        """The id of an outcome whose sender gave none: the same content is the same outcome."""
        return digest_json([series, time.isoformat(), value, prediction])


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
