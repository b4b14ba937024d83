"""Where studies lie, and how a process has them for itself.

They lie in an SQLite file of their own below ``.everloop``, or, where the project's store is PostgreSQL, there, in a
schema of their own: both Everloop and Optuna call the table of their migrations ``alembic_version``.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from everloop.core.errors import ConflictError, UnavailableError
from everloop.core.project import Project
from everloop.core.seeds import derive_seed

if TYPE_CHECKING:
    import optuna

__all__ = ["alone", "opened_study"]

_SCHEMA = "everloop_tuning"


@contextmanager
def opened_study(project: Project, name: str, pruner: optuna.pruners.BasePruner) -> Iterator[optuna.Study]:
    """A study by its name, made where it is missing.

    Raises:
        UnavailableError: the database does not answer, or is of another version of Optuna.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options: dict[str, Any]
    url, options = project.store_url, {"options": f"-csearch_path={_SCHEMA}"}
    if not _is_postgres(project):
        url, options = f"sqlite:///{project.home / 'tuning.db'}", {"timeout": 30}
    try:
        if not _is_postgres(project):
            _prepare(project.home / "tuning.db")
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": options})
        if not _is_postgres(project):
            event.listen(storage.engine, "connect", _relax)
            storage.engine.dispose()  # so that connections made from now on are relaxed
        study = optuna.create_study(
            study_name=name, storage=storage, pruner=pruner, direction="minimize", load_if_exists=True
        )
    except (SQLAlchemyError, sqlite3.Error, RuntimeError) as error:
        raise UnavailableError(
            "tune_store",
            f"the studies cannot be opened: {error}",
            hint="is the disk full, or the file made by a newer Optuna? Without it a search begins anew",
            path="" if _is_postgres(project) else str(project.home / "tuning.db"),
        ) from error
    try:
        yield study
    except optuna.exceptions.StorageInternalError as error:
        hint = "the same command goes on where it stopped"
        raise UnavailableError("tune_store", f"the studies cannot be written: {error}", hint=hint) from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _prepare(path: Path) -> None:
    """Let the file be written ahead, which it remembers; where somebody reads it just now, a later call does so."""
    with closing(sqlite3.connect(path, timeout=1)) as connection, suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")


def _relax(connection: Any, _record: Any) -> None:
    """Do not wait for the disk at each of many commits: a killed process loses nothing, a power cut some trials."""
    connection.execute("PRAGMA synchronous = NORMAL")


@contextmanager
def alone(project: Project) -> Iterator[None]:
    """Keep other searches of the project out; whatever way this process ends, the system then lets them in.

    Raises:
        ConflictError: another process searches in this project.
        UnavailableError: PostgreSQL does not answer.
    """
    busy = ConflictError(
        "tune_busy", f"another process tunes {project.name!r}", hint="wait for it, or stop it; what it found is kept"
    )
    if not _is_postgres(project):
        project.home.mkdir(parents=True, exist_ok=True)
        with (project.home / "tuning.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy from None
            yield
        return
    engine = create_engine(project.store_url)
    try:
        with engine.connect() as connection:
            key = derive_seed(0, "everloop tune", project.name)
            if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar():
                raise busy
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}"))
            connection.commit()
            yield
    except SQLAlchemyError as error:
        raise UnavailableError("tune_store", f"the store does not answer: {error}", hint="is PostgreSQL up?") from error
    finally:
        engine.dispose()


def _is_postgres(project: Project) -> bool:
    return make_url(project.store_url).get_backend_name() == "postgresql"
