"""The store: one database, SQLite or PostgreSQL, brought to the present schema when it is opened.

SQLAlchemy is imported by the first transaction, so that a server, which only looks at the store before its first answer
(see :mod:`everloop.store.reader`), need not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from everloop.store.place import Place, missing_driver, place_of
from everloop.store.reader import Look, Reader

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from everloop.store.database import Database

__all__ = ["REVISION", "Store", "open_store"]

REVISION = "0005"
"""The schema revision that this version of Everloop works with."""


class Store:
    """An open store; hand out transactions with :meth:`read` and :meth:`write`.

    Args:
        place: where it is.
        fsync: on SQLite, whether a commit waits for the disk.
    """

    def __init__(self, place: Place, *, fsync: bool = True) -> None:
        self.place = place
        self._fsync = fsync
        self._reader = Reader(place)
        self._lock = threading.Lock()
        self._database: Database | None = None

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine."""
        return self.database.engine

    @property
    def database(self) -> Database:
        """The store by SQLAlchemy, which is imported when it is first asked for."""
        with self._lock:
            if self._database is None:
                from everloop.store.database import open_database

                self._database = open_database(self.place, fsync=self._fsync)
            return self._database

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self.database.read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: all of it, or, where an error leaves the block, nothing.

        On SQLite it takes the write lock at its start, so that two writers wait instead of failing midway.
        """
        with self.database.write() as connection:
            yield connection

    def look(self) -> AbstractContextManager[Look]:
        """A transaction that only reads, by the database's own driver; see :mod:`everloop.store.wanted`."""
        return self._reader.look()

    def close(self) -> None:
        """Close all connections."""
        self._reader.close()
        if self._database is not None:
            self._database.engine.dispose()


def open_store(url: str, *, fsync: bool = True) -> Store:
    """Open a store, make it where it is missing, and bring its schema up to date.

    Args:
        url: an SQLAlchemy URL of SQLite or PostgreSQL (``postgresql+psycopg://``).
        fsync: on SQLite, whether a commit waits for the disk; PostgreSQL has a setting of its own.

    Raises:
        SettingsError: the URL cannot be read, or its driver is not installed.
        UnavailableError: the database does not answer, or is of a newer version of Everloop.
    """
    place = place_of(url)
    if place.is_sqlite and place.database:
        Path(place.database).parent.mkdir(parents=True, exist_ok=True)
    store = Store(place, fsync=fsync)
    try:
        is_present = _revision(store) == REVISION
    except ModuleNotFoundError as error:
        raise missing_driver(error) from error
    if not is_present:
        from everloop.store.database import migrate

        migrate(store.database)
    return store


def _revision(store: Store) -> str | None:
    with store.look() as look:
        row = look.row("SELECT version_num FROM alembic_version") if look.has_table("alembic_version") else None
    return None if row is None else str(row[0])
