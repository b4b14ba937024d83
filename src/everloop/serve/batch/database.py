"""Batches in a table of a database: one transaction for each, so that a reader sees all of it or nothing.

PostgreSQL takes the rows by ``COPY``, SQLite by prepared inserts. The key is cutoff, series and time, in that order,
which is the order that rows come in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    event,
    func,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from everloop.core.errors import SettingsError, UnavailableError, UsageError
from everloop.serve.batch.rows import CUTOFF, PREDICTION, BatchRows

__all__ = ["write_table"]

_KINDS = ("postgresql", "sqlite")


def write_table(rows: BatchRows, url: str, name: str, *, keep: int = 0) -> bool:
    """Put a batch into a table, in place of what the table holds of the same cutoff; it is made where there is none.

    Args:
        rows: the rows.
        url: an SQLAlchemy URL of SQLite or PostgreSQL (``postgresql+psycopg://``).
        name: the table's name, which may have a schema before it (``sales.forecasts``).
        keep: how many of the newest cutoffs stay; 0 means all.

    Returns:
        Whether anything was written; a batch that is there already stays as it is.

    Raises:
        SettingsError: the URL cannot be read, or its driver is not installed.
        UsageError: there is a table of something else.
        UnavailableError: the database does not answer, or refuses.
    """
    engine = _engine(url)
    table = _table(rows, name)
    try:
        with engine.begin() as connection:
            _make_room(connection, table)
            known = connection.execute(select(table.c[CUTOFF]).distinct()).scalars().all()
            own = rows.cutoff.item()
            gone = sorted({*known, own})[:-keep] if keep else []
            is_there = _holds(connection, table, rows)
            if gone:
                connection.execute(delete(table).where(table.c[CUTOFF].in_(gone)))
            if not is_there and own not in gone:
                connection.execute(delete(table).where(table.c[CUTOFF] == own))
                _insert(connection, table, rows)
            return bool(gone) or not is_there
    except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise UnavailableError(
            "forecast_database",
            f"the table {name!r} of {shown} cannot be written: {getattr(error, 'orig', None) or error}",
            hint="nothing was changed; is the database running, and may you write there?",
            path="--out",
        ) from error
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in _KINDS:
            raise ArgumentError(f"{parsed.get_backend_name()} is not known here")
        engine = create_engine(parsed)
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(
            "forecast_url",
            f"the database URL cannot be used: {error}",
            hint="sqlite:///file.db or postgresql+psycopg://user@host/name",
            path="--out",
        ) from error
    except ModuleNotFoundError as error:
        raise SettingsError(
            "forecast_driver",
            f"the driver {error.name!r} is not installed",
            hint="pip install 'everloop[postgres]'",
            path="--out",
        ) from error
    if parsed.get_backend_name() == "sqlite":
        _prepare_sqlite(engine)
    return engine


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver commits before it makes a table; a transaction must not

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA busy_timeout = 30000")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _table(rows: BatchRows, name: str) -> Table:
    schema, _, plain = name.rpartition(".")
    kind = Date if rows.has_dates else DateTime
    return Table(
        plain,
        MetaData(),
        Column(CUTOFF, kind(), primary_key=True),
        *(Column(each, String(), primary_key=True) for each in rows.series),
        Column(rows.time, kind(), primary_key=True),
        Column("forecast", Double(), nullable=False),
        *(Column(each, Double()) for each in rows.bounds),
        Column(PREDICTION, String(36), nullable=False),
        schema=schema or None,
        sqlite_with_rowid=False,
    )


def _make_room(connection: Connection, table: Table) -> None:
    """Make the table, or the columns of levels that it does not have yet."""
    if connection.dialect.name == "postgresql":
        # two that make the same table, or write the same cutoff, do so one after the other
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"everloop {table.fullname}",))
    seen = inspect(connection)
    if not seen.has_table(table.name, schema=table.schema):
        table.create(connection)
        return
    present = {each["name"] for each in seen.get_columns(table.name, schema=table.schema)}
    quoted = connection.dialect.identifier_preparer
    for column in table.columns:
        if column.name in present:
            continue
        if not column.nullable:
            raise UsageError(
                "forecast_table",
                f"the table {table.fullname!r} has no column {column.name!r}, so it holds no forecasts of this project",
                hint="name another one by --table",
                path="--table",
            )
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(
            f"ALTER TABLE {quoted.format_table(table)} ADD COLUMN {quoted.format_column(column)} {kind}"
        )


def _holds(connection: Connection, table: Table, rows: BatchRows) -> bool:
    """Whether the table holds this very batch, all of it."""
    query = (
        select(table.c[PREDICTION], func.count())
        .where(table.c[CUTOFF] == rows.cutoff.item())
        .group_by(table.c[PREDICTION])
    )
    return dict(connection.execute(query).all()) == rows.held


def _insert(connection: Connection, table: Table, rows: BatchRows) -> None:
    quoted = connection.dialect.identifier_preparer
    names = ", ".join(quoted.format_column(column) for column in table.columns)
    where = f"{quoted.format_table(table)} ({names})"
    if connection.dialect.name == "postgresql":
        with _cursor(connection) as cursor, cursor.copy(f"COPY {where} FROM STDIN WITH (FORMAT csv)") as copy:
            for block in rows.keyed_blocks():
                # quoted texts, so that an empty one is not taken for none
                copy.write(block.write_csv(include_header=False, quote_style="non_numeric"))
        return
    marks = ", ".join("?" * len(table.columns))
    times = [CUTOFF, rows.time]
    with _cursor(connection) as cursor:
        for block in rows.keyed_blocks():
            texts = block.with_columns(_as_text(block, name, has_dates=rows.has_dates) for name in times)
            cursor.executemany(f"INSERT INTO {where} VALUES ({marks})", texts.iter_rows())


def _as_text(block: Any, name: str, *, has_dates: bool) -> Any:
    """Instants as SQLAlchemy stores them in SQLite."""
    return block[name].dt.strftime("%Y-%m-%d" if has_dates else "%Y-%m-%d %H:%M:%S%.6f")


@contextmanager
def _cursor(connection: Connection) -> Iterator[Any]:
    """A cursor of the driver, within the transaction."""
    cursor = connection.connection.cursor()
    try:
        yield cursor
    finally:
        cursor.close()
