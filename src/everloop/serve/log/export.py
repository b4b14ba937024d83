"""The export: predictions that the store holds and a Delta table does not are appended to it.

A mark in the store says how many predictions of each day the table held when it was last looked at. A day whose count
is still the same is passed over; any other is gone through, and the table says which of its rows are new. So nothing
depends on the order in which predictions came, and late ones, from another worker or from the buffer on disk, are
found whenever they come. The mark saves work and no more: without it, all days are gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from everloop.core.digest import digest_json
from everloop.core.project import Project
from everloop.serve.log.delta import PredictionTable
from everloop.store.engine import Store
from everloop.store.history import DayCount, day_counts, read_page
from everloop.store.marks import get_mark, list_marks, set_mark
from everloop.store.records import Prediction

__all__ = ["Exported", "export_location", "export_predictions", "forget_days", "last_exports"]

_MARK = "log_export:"
_PER_PAGE = 1_000
_PER_COMMIT = 20_000
_BYTES_PER_COMMIT = 64_000_000


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did.

    Attributes:
        location: the table.
        rows: how many predictions were appended.
        version: the table's version, ``None`` where nothing was ever appended.
        is_done: whether the table now holds all that the store held; ``False`` where ``most`` ended it.
    """

    location: str
    rows: int
    version: int | None
    is_done: bool


def export_location(project: Project, text: str) -> str:
    """Where a path or URL points to; paths are below the project's folder."""
    return text if "://" in text else str(project.root / text)


def export_predictions(
    store: Store,
    location: str,
    *,
    now: datetime,
    before: datetime | None = None,
    most: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Append the predictions that a table does not hold yet.

    Args:
        store: where the predictions are.
        location: the table, see :func:`export_location`.
        now: the clock's time.
        before: leave out what was answered at or after this time, the start of a day in UTC.
        most: stop after about so many predictions.
        progress: told how many predictions were gone through, of how many.

    Raises:
        ConflictError: the place holds a table of something else, or others kept appending to it.
        UnavailableError: the table or the store cannot be read or written.
    """
    table = PredictionTable(location)
    with store.read() as tx:
        counts = day_counts(tx, before=before)
        settled = _settled(tx, table)
    days = [(day, list(each)) for day, each in groupby(counts, key=lambda each: each.day)]
    changed = [(day, each) for day, each in days if settled.get(day) != sum(count.rows for count in each)]
    total = sum(count.rows for _, each in changed for count in each)
    batch, exported, done = _Batch(store, table, now), 0, 0
    for day, each in changed:
        seen = 0
        for page in _pages(store, each):
            seen += len(page)
            exported += batch.take(page)
            progress(done + seen, total)
            if most is not None and exported + len(batch.rows) >= most:
                return Exported(location, exported + batch.flush(), table.version, is_done=False)
        done += seen
        batch.finished[day] = seen
    exported += batch.flush()
    return Exported(location, exported, table.version, is_done=True)


def forget_days(connection: Connection, days: set[date], *, at: datetime) -> None:
    """Have exports look again at days of which predictions were deleted: their counts say nothing any more."""
    names = {day.isoformat() for day in days}
    for name, value in list_marks(connection, _MARK).items():
        kept = {day: rows for day, rows in value["days"].items() if day not in names}
        if len(kept) != len(value["days"]):
            set_mark(connection, name, value | {"days": kept}, at=at)


def last_exports(connection: Connection) -> list[dict[str, Any]]:
    """The tables that were exported to: location, the last day in them, and when they were last looked at."""
    return [
        {"location": value["location"], "last_day": max(value["days"], default=None), "at": value["at"]}
        for value in list_marks(connection, _MARK).values()
    ]


class _Batch:
    """Predictions on their way to one commit, and the days that are complete with it."""

    def __init__(self, store: Store, table: PredictionTable, now: datetime) -> None:
        self.rows: list[Prediction] = []
        self.finished: dict[date, int] = {}
        self._store = store
        self._table = table
        self._now = now
        self._bytes = 0

    def take(self, page: list[Prediction]) -> int:
        """Add those rows that the table does not hold; how many were appended to it by that."""
        fresh = self._table.missing(page)
        self.rows += fresh
        self._bytes += sum(len(row.request) + len(row.response) for row in fresh)
        is_full = len(self.rows) >= _PER_COMMIT or self._bytes >= _BYTES_PER_COMMIT
        return self.flush() if is_full else 0

    def flush(self) -> int:
        """Append what is there, and say so in the mark."""
        appended = self._table.append(self.rows)
        if self.finished:
            with self._store.write() as tx:
                _settle(tx, self._table, self.finished, at=self._now)
        self.rows, self.finished, self._bytes = [], {}, 0
        return appended


def _pages(store: Store, counts: list[DayCount]) -> Iterator[list[Prediction]]:
    """The predictions of a day, each page read in a transaction of its own, so that none lasts long."""
    for count in counts:
        page: list[Prediction] = []
        while True:
            with store.read() as tx:
                last = page[-1] if page else None
                page = read_page(tx, count.day, count.release, after=last, limit=_PER_PAGE)
            if page:
                yield page
            if len(page) < _PER_PAGE:
                break


def _settled(connection: Connection, table: PredictionTable) -> dict[date, int]:
    """How many predictions of each day the table held at the last look; nothing where it was made anew since."""
    mark = get_mark(connection, _mark_name(table))
    if mark is None or mark["table"] != table.id:
        return {}
    return {date.fromisoformat(day): rows for day, rows in mark["days"].items()}


def _settle(connection: Connection, table: PredictionTable, days: dict[date, int], *, at: datetime) -> None:
    known = {day.isoformat(): rows for day, rows in (_settled(connection, table) | days).items()}
    value = {"location": table.location, "table": table.id, "days": known, "at": at.isoformat()}
    set_mark(connection, _mark_name(table), value, at=at)


def _mark_name(table: PredictionTable) -> str:
    return _MARK + digest_json(table.location)[:16]
