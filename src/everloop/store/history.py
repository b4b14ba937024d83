"""All stored predictions, from the oldest on: counted by day, read in pages, and deleted in small batches.

No query looks at more rows than it gives: days are counted in the index of releases and times, pages are read through
it, and what is old enough to go is found by the last instant that it speaks of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, Connection, String, and_, delete, func, or_, select

from everloop.store.facts import Prediction
from everloop.store.schema import predictions

__all__ = [
    "DayCount",
    "HistoryEnds",
    "count_due",
    "count_predictions",
    "day_counts",
    "day_of",
    "delete_predictions",
    "due_predictions",
    "history_ends",
    "read_page",
]

_IDS_PER_STATEMENT = 500


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many predictions of a release were made on a day, in UTC."""

    day: date
    release: str
    rows: int


@dataclass(frozen=True, slots=True)
class HistoryEnds:
    """When the first and the last stored prediction were made; ``None`` where there is none."""

    first: datetime | None
    last: datetime | None


def day_of(prediction: Prediction) -> date:
    """The day that a prediction was made on, in UTC."""
    return prediction.at.astimezone(UTC).date()


def day_counts(connection: Connection, *, before: datetime | None = None) -> list[DayCount]:
    """How many predictions each release made on each day, in the order of the days.

    Args:
        connection: a transaction.
        before: count only what was made before.
    """
    day = func.substr(predictions.c.at, 1, 10, type_=String)
    query = select(day, predictions.c.release, func.count()).group_by(predictions.c.release, day)
    if before is not None:
        query = query.where(predictions.c.at < before)
    found = [DayCount(date.fromisoformat(text), release, rows) for text, release, rows in connection.execute(query)]
    return sorted(found, key=lambda each: (each.day, each.release))


def count_predictions(connection: Connection) -> int:
    """How many predictions are stored."""
    return int(connection.execute(select(func.count()).select_from(predictions)).scalar_one())


def history_ends(connection: Connection) -> HistoryEnds:
    """The times of the first and the last prediction, by one look into the index for each release."""
    firsts: list[datetime] = []
    lasts: list[datetime] = []
    release = connection.execute(select(func.min(predictions.c.release))).scalar()
    while release is not None:
        times = predictions.c.release == release
        firsts.append(connection.execute(select(func.min(predictions.c.at)).where(times)).scalar_one())
        lasts.append(connection.execute(select(func.max(predictions.c.at)).where(times)).scalar_one())
        following = select(func.min(predictions.c.release)).where(predictions.c.release > release)
        release = connection.execute(following).scalar()
    return HistoryEnds(min(firsts, default=None), max(lasts, default=None))


def read_page(
    connection: Connection, day: date, release: str, *, after: Prediction | None, limit: int
) -> list[Prediction]:
    """The predictions that a release made on a day, by time and id, beginning behind ``after``."""
    start = datetime.combine(day, time(), UTC)
    columns = predictions.c
    query = select(predictions).where(columns.release == release, columns.at < start + timedelta(days=1))
    if after is None:
        query = query.where(columns.at >= start)
    else:
        is_behind = or_(columns.at > after.at, and_(columns.at == after.at, columns.id > after.id))
        query = query.where(columns.at >= after.at, is_behind)
    query = query.order_by(columns.at, columns.id).limit(limit)
    return [Prediction(**row._mapping) for row in connection.execute(query)]


def due_predictions(
    connection: Connection, *, made_before: datetime, over_before: datetime, limit: int
) -> list[Prediction]:
    """Predictions that were made, and whose last instant lies, before two times; earliest last instant first."""
    query = (
        select(predictions)
        .where(_is_due(made_before, over_before))
        .order_by(predictions.c.last_time, predictions.c.id)
        .limit(limit)
    )
    return [Prediction(**row._mapping) for row in connection.execute(query)]


def count_due(connection: Connection, *, made_before: datetime, over_before: datetime) -> int:
    """How many predictions :func:`due_predictions` would give without a limit."""
    query = select(func.count()).select_from(predictions).where(_is_due(made_before, over_before))
    return int(connection.execute(query).scalar_one())


def delete_predictions(connection: Connection, ids: Sequence[str]) -> int:
    """Delete predictions; tells how many there were."""
    deleted = 0
    for start in range(0, len(ids), _IDS_PER_STATEMENT):
        part = ids[start : start + _IDS_PER_STATEMENT]
        deleted += connection.execute(delete(predictions).where(predictions.c.id.in_(part))).rowcount
    return deleted


def _is_due(made_before: datetime, over_before: datetime) -> ColumnElement[bool]:
    return and_(predictions.c.last_time < over_before, predictions.c.at < made_before)
