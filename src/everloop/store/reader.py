"""Reading the store by the database's own driver: what a server needs before it can answer, and looks at ever again.

SQLAlchemy takes longer to import than all the rest of a server's start, and more than the database does for each look.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from everloop.core.errors import UnavailableError
from everloop.store.place import Place, connect_postgres

__all__ = ["Look", "Reader"]

_PATIENCE_SECONDS = 30


class Look:
    """One look at the store: a transaction that only reads, by a driver's own connection."""

    def __init__(self, connection: Any, *, is_sqlite: bool) -> None:
        self._connection = connection
        self._is_sqlite = is_sqlite

    def rows(self, query: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        """The rows of a query, whose parameters are written ``?``."""
        text = query if self._is_sqlite else query.replace("?", "%s")
        found: Sequence[tuple[Any, ...]] = self._connection.execute(text, parameters).fetchall()
        return found

    def row(self, query: str, *parameters: Any) -> tuple[Any, ...] | None:
        """The first row of a query, ``None`` where there is none."""
        return next(iter(self.rows(query, *parameters)), None)

    def has_table(self, name: str) -> bool:
        """Whether there is a table."""
        query = "SELECT 1 FROM sqlite_master WHERE name = ?" if self._is_sqlite else "SELECT to_regclass(?)"
        row = self.row(query, name)
        return row is not None and row[0] is not None


class Reader:
    """Reads the store over one connection, which is opened when it is first needed, and anew where it broke.

    Args:
        place: where the store is.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._connection: Any = None

    @contextlib.contextmanager
    def look(self) -> Iterator[Look]:
        """A transaction that only reads; one at a time.

        Raises:
            UnavailableError: the store does not answer.
        """
        with self._lock:
            try:
                connection = self._begin()
                try:
                    yield Look(connection, is_sqlite=self._place.is_sqlite)
                finally:
                    connection.execute("ROLLBACK")
            except self._failures() as error:
                self._drop()
                raise UnavailableError(
                    "store_unavailable",
                    f"the store {self._place.shown} does not answer: {error}",
                    hint="is the database running, and the disk not full?",
                ) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _begin(self) -> Any:
        """A connection in a transaction; a PostgreSQL server may have gone and come back since the last one."""
        if self._connection is not None:
            try:
                self._connection.execute("BEGIN")
            except self._failures():
                self._drop()
            else:
                return self._connection
        self._connection = self._connect()
        self._connection.execute("BEGIN")
        return self._connection

    def _connect(self) -> Any:
        if not self._place.is_sqlite:
            return connect_postgres(self._place)
        connection = sqlite3.connect(
            self._place.database, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*self._failures()):
                self._connection.close()
            self._connection = None

    def _failures(self) -> tuple[type[Exception], ...]:
        if self._place.is_sqlite:
            return (sqlite3.Error,)
        import psycopg  # an optional part of the installation, which the URL asks for

        return (psycopg.Error,)
