"""The store by SQLAlchemy: transactions over a pool of connections, and the schema's migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from everloop.core.errors import SettingsError, UnavailableError
from everloop.store.place import Place, missing_driver

__all__ = ["Database", "migrate", "open_database"]


class Database:
    """An open database; hand out transactions with :meth:`read` and :meth:`write`."""

    def __init__(self, engine: Engine, place: Place) -> None:
        self.engine = engine
        self._place = place

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._guard(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; see :meth:`everloop.store.engine.Store.write`."""
        with (
            self._guard(),
            self.engine.connect().execution_options(everloop_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if error.connection_invalidated or type(error.orig).__name__ == "OperationalError":
                raise UnavailableError(
                    "store_unavailable",
                    f"the store {self._place.shown} does not answer: {error.orig}",
                    hint="is the database running, and the disk not full?",
                ) from error
            raise


def open_database(place: Place, *, fsync: bool) -> Database:
    """A database by SQLAlchemy; it connects when it is first asked.

    Raises:
        SettingsError: the URL names no database that is known, or its driver is not installed.
    """
    try:
        options: dict[str, Any] = {"connect_args": {"timeout": 30}} if place.is_sqlite else {"pool_pre_ping": True}
        engine = create_engine(place.url, **options)
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(
            "store_url",
            f"{place.url!r} is not a database URL: {error}",
            hint="sqlite:///file.db or postgresql+psycopg://user@host/name",
            path="store.url",
        ) from error
    except ModuleNotFoundError as error:
        raise missing_driver(error) from error
    if place.is_sqlite:
        _prepare_sqlite(engine, fsync=fsync)
    return Database(engine, place)


def _prepare_sqlite(engine: Engine, *, fsync: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 30000")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        is_write = connection.get_execution_options().get("everloop_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")


def migrate(database: Database) -> None:
    """Bring the schema up to date.

    Raises:
        UnavailableError: the database does not answer, or is of a newer version of Everloop.
    """
    from alembic import command  # a second that only a store of another revision need pay
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(4915)"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise UnavailableError(
                "store_newer",
                f"the store's schema is not one that this version knows: {error}",
                hint="upgrade everloop",
            ) from error
