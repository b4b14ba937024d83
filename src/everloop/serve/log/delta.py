"""A Delta table of predictions: a row each, columns as in the store, partitioned by the day of the answer in UTC.

The table itself says what it holds: before rows are appended, their ids are looked up in the partitions of their days,
and a commit goes through only on top of the version that was looked at. So a row is appended once, whoever died in
the middle of whatever, and however many append at the same time.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from everloop.core.errors import ConflictError, UnavailableError
from everloop.store.history import day_of
from everloop.store.records import Prediction

__all__ = ["PredictionTable"]

_META = "everloop.predictions"
_DAY = "day"
_TIME = pl.Datetime("us", "UTC")
_SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "at": _TIME,
    "release": pl.String(),
    "state": pl.String(),
    "role": pl.String(),
    "kind": pl.String(),
    "twin": pl.String(),
    "first_time": _TIME,
    "last_time": _TIME,
    "request": pl.Binary(),
    "response": pl.Binary(),
    "unit": pl.String(),
    "experiment": pl.String(),
    _DAY: pl.Date(),
}
_ATTEMPTS = 12
_WAIT_SECONDS = 0.02
_MOST_IDS_HELD = 2_000_000


class _BehindError(Exception):
    """Somebody else changed the table first."""


class PredictionTable:
    """A table that predictions are appended to; made by the first ones.

    Args:
        location: a folder, or a URL that Delta Lake can write to.

    Raises:
        ConflictError: there is a table already, of something else.
        UnavailableError: the place cannot be read.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._table: DeltaTable | None = None
        self._days: set[date] = set()
        self._known: dict[date, set[str]] = {}
        self._reload()

    @property
    def id(self) -> str:
        """Delta's own id of the table; empty as long as there is none."""
        return "" if self._table is None else str(self._table.metadata().id)

    @property
    def version(self) -> int | None:
        """Its version, ``None`` as long as there is no table."""
        return None if self._table is None else self._table.version()

    def missing(self, rows: Sequence[Prediction]) -> list[Prediction]:
        """Those rows that it does not hold.

        Raises:
            UnavailableError: the place cannot be read.
        """
        with self._guard():
            return [row for row in rows if row.id not in self._ids(day_of(row))]

    def append(self, rows: Sequence[Prediction]) -> int:
        """Append those rows that it does not hold, in one commit that is on the disk; how many these were.

        Raises:
            ConflictError: others kept appending at the same time.
            UnavailableError: the place cannot be read or written.
        """
        for attempt in range(_ATTEMPTS):
            fresh = self.missing(rows)
            if not fresh:
                return 0
            try:
                with self._guard():
                    self._commit(fresh)
            except _BehindError:
                # somebody else appended first: look again at what is there, and not in step with other losers
                time.sleep(random.uniform(0, _WAIT_SECONDS * (attempt + 1)))
                self._reload()
                continue
            return len(fresh)
        raise ConflictError(
            "log_export_conflict",
            f"others keep appending to the table {self.location}",
            hint="try again later",
            path=self.location,
        )

    def _commit(self, rows: list[Prediction]) -> None:
        """Append rows to the version at hand.

        Raises:
            _BehindError: it is not the newest any more.
        """
        number = 0 if self._table is None else self._table.version() + 1
        said = json.dumps({"rows": len(rows), "first": rows[0].id, "last": rows[-1].id})
        properties = CommitProperties(custom_metadata={_META: said}, max_commit_retries=0)
        frame = _frame(rows)
        try:
            if self._table is not None:
                write_deltalake(self._table, frame, mode="append", commit_properties=properties)
            else:
                write_deltalake(self.location, frame, mode="error", partition_by=[_DAY], commit_properties=properties)
        except DeltaError as error:
            # Delta has no error of its own for a table that somebody else made meanwhile
            if isinstance(error, CommitFailedError) or (self._table is None and _is_table(self.location)):
                raise _BehindError from error
            raise
        _sync(self.location, number)
        if self._table is None or self._table.version() != number:
            self._reload()
            return
        for row in rows:
            day = day_of(row)
            self._days.add(day)
            if day in self._known:  # not forgotten meanwhile for lack of room
                self._known[day].add(row.id)

    def _ids(self, day: date) -> set[str]:
        """The ids of a day, read once for each version that others made."""
        found = self._known.get(day)
        if found is not None:
            return found
        if sum(map(len, self._known.values())) > _MOST_IDS_HELD:
            self._known.clear()
        ids: set[str] = set()
        if self._table is not None and day in self._days:
            query = pl.scan_delta(self._table).filter(pl.col(_DAY) == day).select("id")
            ids.update(query.collect()["id"])
        self._known[day] = ids
        return ids

    def _reload(self) -> None:
        """Look at the newest version."""
        self._known.clear()
        with self._guard():
            try:
                self._table = DeltaTable(self.location)
            except TableNotFoundError:
                self._table, self._days = None, set()
                return
            if [field.name for field in self._table.schema().fields] != [*_SCHEMA]:
                raise ConflictError(
                    "log_export_foreign",
                    f"{self.location} is a table of something else than predictions",
                    hint="choose another place: log.export, or --to",
                    path=self.location,
                )
            files = pl.DataFrame(self._table.get_add_actions(flatten=True))
            self._days = set(files[f"partition.{_DAY}"]) if files.height else set()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (DeltaError, OSError, pl.exceptions.PolarsError) as error:
            raise UnavailableError(
                "log_export",
                f"the table of predictions {self.location} cannot be read or written: {error}",
                hint="is the disk full, or the place not yours to write?",
                path=self.location,
            ) from error


def _is_table(location: str) -> bool:
    try:
        return DeltaTable.is_deltatable(location)
    except DeltaError:
        return False


def _frame(rows: list[Prediction]) -> pl.DataFrame:
    columns = {name: [getattr(row, name) for row in rows] for name in _SCHEMA if name != _DAY}
    return pl.DataFrame(columns | {_DAY: [day_of(row) for row in rows]}, schema=_SCHEMA)


def _sync(location: str, version: int) -> None:
    """Have a commit on the disk, so that what it holds may be deleted elsewhere; an object store needs no asking."""
    log = Path(location) / "_delta_log"
    if "://" in location or not log.is_dir():
        return
    commit = log / f"{version:020d}.json"
    added = [json.loads(line).get("add") for line in commit.read_text(encoding="utf-8").splitlines()]
    files = [Path(location) / unquote(each["path"]) for each in added if each]
    for path in (*files, *{each.parent for each in files}, commit, log):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
