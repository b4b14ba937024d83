"""What was measured of units: revenue, returns, clicks, and whatever else an experiment may be judged by."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from everloop.store.schema import measurements
from everloop.store.telling import fresh_of, known_ids, latest_of

__all__ = ["Measurement", "add_measurements", "measurements_between", "metric_names"]

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number about a unit at an instant. A later one for the same unit, metric and instant corrects it.

    Attributes:
        received_at: when it was told.
        unit: the unit, as predictions keep the one that a split draws by.
        metric: what was measured.
        at: the instant that it is about.
        value: the number.
        source: where it comes from.
        id: the sender's own id; empty for none, which is given one when it is stored.
        seq: its place in the order in which all were told.
    """

    received_at: datetime
    unit: str
    metric: str
    at: datetime
    value: float
    source: str
    id: str = ""
    seq: int = 0

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What it is about."""
        return (self.unit, self.metric, self.at)

    @property
    def content(self) -> tuple[Hashable, ...]:
        """What it says of that."""
        return (self.value,)


def add_measurements(connection: Connection, rows: Sequence[Measurement]) -> int:
    """Store measurements; what was told already changes nothing. Returns how many were new."""
    if not rows:
        return 0
    known = known_ids(connection, measurements.c.id, {row.id for row in rows if row.id})
    fresh = fresh_of(rows, _history(connection, rows), known)
    if fresh:
        values = [asdict(row) for row in fresh]
        for each in values:
            del each["seq"]
        connection.execute(insert(measurements), values)
    return len(fresh)


def measurements_between(
    connection: Connection, start: datetime, end: datetime, metrics: Sequence[str] = ()
) -> list[Measurement]:
    """What is known now of the instants from ``start`` until before ``end``.

    Args:
        connection: the store.
        start: the first instant.
        end: the first one after the last.
        metrics: their names; all by default.

    Returns:
        The latest told of each unit, metric and instant, in the order of instant, metric and unit.
    """
    query = select(measurements).where(measurements.c.at >= start, measurements.c.at < end).order_by(measurements.c.seq)
    if metrics:
        query = query.where(measurements.c.metric.in_(metrics))
    latest = latest_of(Measurement(**row._mapping) for row in connection.execute(query))
    return sorted(latest, key=lambda each: (each.at, each.metric, each.unit))


def metric_names(connection: Connection) -> tuple[str, ...]:
    """The metrics of which something was told, in alphabetical order."""
    query = select(measurements.c.metric).distinct().order_by(measurements.c.metric)
    return tuple(connection.execute(query).scalars())


def _history(connection: Connection, rows: Sequence[Measurement]) -> list[Measurement]:
    """What was told before of the units, metrics and instants of some measurements, in order, and perhaps of others."""
    first, last = min(row.at for row in rows), max(row.at for row in rows)
    by_metric: dict[str, set[str]] = {}
    for row in rows:
        by_metric.setdefault(row.metric, set()).add(row.unit)
    found: list[Measurement] = []
    for metric, units in by_metric.items():
        listed = sorted(units)
        for start in range(0, len(listed), _AT_ONCE):
            query = select(measurements).where(
                measurements.c.metric == metric,
                measurements.c.at.between(first, last),
                measurements.c.unit.in_(listed[start : start + _AT_ONCE]),
            )
            found.extend(Measurement(**row._mapping) for row in connection.execute(query))
    return sorted(found, key=lambda each: each.seq)
