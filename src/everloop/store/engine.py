"""The store: one database, SQLite or PostgreSQL, brought to the present schema when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from everloop.core.errors import SettingsError, UnavailableError

__all__ = ["REVISION", "Store", "open_store"]

REVISION = "0005"
"""The schema revision that this version of Everloop works with."""


class Store:
    """An open store; hand out transactions with :meth:`read` and :meth:`write`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._guard(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: all of it, or, where an error leaves the block, nothing.

        On SQLite it takes the write lock at its start, so that two writers wait instead of failing midway.
        """
        with (
            self._guard(),
            self.engine.connect().execution_options(everloop_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if error.connection_invalidated or type(error.orig).__name__ == "OperationalError":
                shown = self.engine.url.render_as_string(hide_password=True)
                raise UnavailableError(
                    "store_unavailable",
                    f"the store {shown} does not answer: {error.orig}",
                    hint="is the database running, and the disk not full?",
                ) from error
            raise


def open_store(url: str, *, fsync: bool = True) -> Store:
    """Open a store, make it where it is missing, and bring its schema up to date.

    Args:
        url: an SQLAlchemy URL of SQLite or PostgreSQL (``postgresql+psycopg://``).
        fsync: on SQLite, whether a commit waits for the disk; PostgreSQL has a setting of its own.

    Raises:
        SettingsError: the URL cannot be read, or its driver is not installed.
        UnavailableError: the database does not answer, or is of a newer version of Everloop.
    """
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        if is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_pre_ping=not is_sqlite, connect_args={"timeout": 30} if is_sqlite else {})
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(
            "store_url",
            f"{url!r} is not a database URL: {error}",
            hint="sqlite:///file.db or postgresql+psycopg://user@host/name",
            path="store.url",
        ) from error
    except ModuleNotFoundError as error:
        raise SettingsError(
            "store_driver",
            f"the driver {error.name!r} is not installed",
            hint="pip install 'everloop[postgres]'",
            path="store.url",
        ) from error
    if is_sqlite:
        _prepare_sqlite(engine, fsync=fsync)
    store = Store(engine)
    _migrate(store)
    return store


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


def _migrate(store: Store) -> None:
    """Bring the schema up to date; Alembic is imported only where there is something to do."""
    if _revision(store) == REVISION:
        return
    from alembic import command  # a second of start-up that a store at the present revision need not pay
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with store.write() as connection:
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


def _revision(store: Store) -> str | None:
    with store.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
