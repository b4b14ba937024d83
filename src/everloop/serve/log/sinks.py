"""Where the log writes: SQLite or PostgreSQL, by their own drivers, in one transaction a group.

The store's own connections go through SQLAlchemy, whose work for a row costs more than the database's. Both sinks may
be given a group again whose fate is not known: what is stored already stays as it is.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Protocol

from everloop.core.errors import UnavailableError
from everloop.serve.log.records import COLUMNS, Record
from everloop.store.engine import Store
from everloop.store.place import Place, connect_postgres

__all__ = ["PostgresSink", "Sink", "SinkBusyError", "SqliteSink", "open_sink"]

_NAMES = ", ".join(COLUMNS)
_RETRY_SECONDS = 0.0005
_LONGEST_RETRY_SECONDS = 0.02


class SinkBusyError(Exception):
    """Another writer holds the database; nothing was written."""


class Sink(Protocol):
    """A database that takes groups of predictions."""

    is_instant: bool
    """Whether a group is written within a fraction of a millisecond, so that the event loop may do it."""

    def write(self, records: Sequence[Record], *, patience: float) -> None:
        """Store a group, all or nothing.

        Args:
            records: rows in the order of ``COLUMNS``.
            patience: how long to wait for another writer, seconds.

        Raises:
            SinkBusyError: another writer was not done in time.
            UnavailableError: the database does not answer; whether the group is stored is not known.
        """

    def write_again(self, records: Sequence[Record], *, patience: float) -> None:
        """Store a group of which some may be stored already.

        Raises:
            SinkBusyError: another writer was not done in time.
            UnavailableError: the database does not answer.
        """

    def close(self) -> None:
        """Close the connection."""


def open_sink(store: Store, *, fsync: bool) -> Sink:
    """The sink of a store; it connects when it is first written to."""
    if store.place.is_sqlite:
        return SqliteSink(store.place.database, fsync=fsync)
    return PostgresSink(store.place)


class SqliteSink:
    """SQLite in WAL mode.

    Args:
        path: the database file.
        fsync: whether a commit waits for the disk. Without it a commit survives the end of the process, however it
            ends, but not that of the machine.
    """

    def __init__(self, path: str, *, fsync: bool) -> None:
        self.is_instant = not fsync
        self._path = path
        self._fsync = fsync
        self._connection: sqlite3.Connection | None = None
        values = ", ".join("?" * len(COLUMNS))
        # one that was late, was kept on disk, and came to the store from there meanwhile stays as it is
        self._insert = f"INSERT OR IGNORE INTO predictions ({_NAMES}) VALUES ({values})"

    def write(self, records: Sequence[Record], *, patience: float) -> None:
        """See :class:`Sink`."""
        self._write(self._insert, records, patience)

    def write_again(self, records: Sequence[Record], *, patience: float) -> None:
        """See :class:`Sink`."""
        self._write(self._insert, records, patience)

    def close(self) -> None:
        """See :class:`Sink`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, statement: str, records: Sequence[Record], patience: float) -> None:
        try:
            connection = self._connection or self._connect()
            self._begin(connection, patience)
            try:
                connection.executemany(statement, records)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise UnavailableError(
                "store_unavailable",
                f"the store {self._path} does not take predictions: {error}",
                hint="is the disk full, or the file moved?",
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._fsync else 'NORMAL'}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # see checkpoint.py
        self._connection = connection
        return connection

    @staticmethod
    def _begin(connection: sqlite3.Connection, patience: float) -> None:
        """Take the write lock. SQLite's own waiting sleeps up to a tenth of a second between two looks."""
        deadline, pause = 0.0, _RETRY_SECONDS
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                now = time.monotonic()
                deadline = deadline or now + patience
                if now >= deadline:
                    raise SinkBusyError from error
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_SECONDS)


class PostgresSink:
    """PostgreSQL, by COPY.

    Args:
        place: where the store is.
    """

    is_instant = False

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection: Any = None

    def write(self, records: Sequence[Record], *, patience: float) -> None:
        """See :class:`Sink`."""
        import psycopg

        try:
            self._write(records, is_again=False)
        except UnavailableError as error:
            # one that was late, was kept on disk, and came to the store from there meanwhile stays as it is
            if not isinstance(error.__cause__, psycopg.errors.UniqueViolation):
                raise
            self._write(records, is_again=True)

    def write_again(self, records: Sequence[Record], *, patience: float) -> None:
        """See :class:`Sink`."""
        self._write(records, is_again=True)

    def close(self) -> None:
        """See :class:`Sink`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, records: Sequence[Record], *, is_again: bool) -> None:
        import psycopg  # an optional part of the installation, which the URL asks for

        try:
            connection = self._connection or self._connect()
            with connection.transaction(), connection.cursor() as cursor:
                if is_again:
                    query = "SELECT id FROM predictions WHERE id = ANY(%s)"
                    known = {row[0] for row in cursor.execute(query, ([record[0] for record in records],))}
                    records = [record for record in records if record[0] not in known]
                with cursor.copy(f"COPY predictions ({_NAMES}) FROM STDIN") as copy:
                    for record in records:
                        copy.write_row(record)
        except psycopg.Error as error:
            if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
                self.close()
            raise UnavailableError(
                "store_unavailable",
                f"the store {self._place.shown} does not take predictions: {error}",
                hint="is the database running?",
            ) from error

    def _connect(self) -> Any:
        self._connection = connect_postgres(self._place)
        return self._connection
