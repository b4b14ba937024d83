"""What really came of the rows that a model of rows answered, told by the prediction's id."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from everloop.store.schema import predictions, row_outcomes
from everloop.store.telling import fresh_of, known_ids

__all__ = [
    "ONLY_ROW",
    "RowOutcome",
    "add_row_outcomes",
    "count_unmatched",
    "responses_of",
    "row_outcomes_after",
    "row_outcomes_of",
]

ONLY_ROW = -1
"""The row of an outcome that does not say it: that of a prediction with a single one."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What really came of a row. A later one for the same row corrects it.

    Attributes:
        received_at: when it was told.
        prediction: the id that the answer carried; it may be told before the answer itself is stored.
        row: the number of the row in its request, from 0; ``ONLY_ROW`` where it was not said.
        value: the number; ``None`` where a label was told.
        label: the class as a text; ``None`` where a number was told.
        at: when it happened, where that was said.
        source: where it comes from.
        id: the sender's own id; empty for none, which is given one when it is stored.
        seq: its place in the order in which all were told.
    """

    received_at: datetime
    prediction: str
    row: int
    value: float | None
    label: str | None
    at: datetime | None
    source: str
    id: str = ""
    seq: int = 0

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What it is about."""
        return (self.prediction, self.row)

    @property
    def content(self) -> tuple[Hashable, ...]:
        """What it says of that."""
        return (self.value, self.label, self.at)


def add_row_outcomes(connection: Connection, rows: Sequence[RowOutcome]) -> int:
    """Store outcomes of rows; what was told already changes nothing. Returns how many were new."""
    known = known_ids(connection, row_outcomes.c.id, {row.id for row in rows if row.id})
    fresh = fresh_of(rows, row_outcomes_of(connection, {row.prediction for row in rows}), known)
    if fresh:
        values = [asdict(row) for row in fresh]
        for each in values:
            del each["seq"]
        connection.execute(insert(row_outcomes), values)
    return len(fresh)


def row_outcomes_of(connection: Connection, identifiers: Collection[str]) -> list[RowOutcome]:
    """All outcomes that were told of some predictions, in the order in which they came."""
    found: list[RowOutcome] = []
    listed = list(identifiers)
    for start in range(0, len(listed), _AT_ONCE):
        query = select(row_outcomes).where(row_outcomes.c.prediction.in_(listed[start : start + _AT_ONCE]))
        found.extend(RowOutcome(**row._mapping) for row in connection.execute(query))
    return sorted(found, key=lambda each: each.seq)


def row_outcomes_after(connection: Connection, seq: int) -> list[RowOutcome]:
    """The outcomes of rows that came after number ``seq``, in order."""
    query = select(row_outcomes).where(row_outcomes.c.seq > seq).order_by(row_outcomes.c.seq)
    return [RowOutcome(**row._mapping) for row in connection.execute(query)]


def responses_of(connection: Connection, identifiers: Collection[str]) -> dict[str, bytes]:
    """The packed answers of those predictions among some that are stored."""
    found: dict[str, bytes] = {}
    listed = list(identifiers)
    for start in range(0, len(listed), _AT_ONCE):
        query = select(predictions.c.id, predictions.c.response).where(
            predictions.c.id.in_(listed[start : start + _AT_ONCE])
        )
        found.update((row.id, row.response) for row in connection.execute(query))
    return found


def count_unmatched(connection: Connection, since: datetime) -> int:
    """How many predictions are not stored of which outcomes were told at or after ``since``."""
    query = (
        select(func.count(func.distinct(row_outcomes.c.prediction)))
        .select_from(row_outcomes.outerjoin(predictions, predictions.c.id == row_outcomes.c.prediction))
        .where(row_outcomes.c.received_at >= since, predictions.c.id.is_(None))
    )
    return int(connection.execute(query).scalar() or 0)
