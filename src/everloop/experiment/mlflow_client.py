"""MLflow, imported in the way Everloop wants it: silent, without telemetry, and with short retries."""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SWITCHES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # its default of 7 waits four minutes for a server that is away
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}
for _name, _value in _SWITCHES.items():
    os.environ.setdefault(_name, _value)  # MLflow reads them while it is imported

import requests  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from sqlalchemy.exc import SQLAlchemyError  # noqa: E402

from everloop.core.errors import NotFoundError, UnavailableError  # noqa: E402

__all__ = ["connect", "fetch_artifacts", "guarded"]

for _name in ("mlflow.store.db.utils", "mlflow.store.model_registry.abstract_store", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_SQLITE = "sqlite:///"
_fresh: bytes | None = None
_fresh_lock = threading.Lock()


def connect(uri: str) -> MlflowClient:
    """A client of a tracking URI and of the model registry behind it.

    A fresh SQLite database costs MLflow a second of migrations. Within a process the first one is kept as a
    template, so that a replay's many homes begin from a copy.

    Raises:
        UnavailableError: the server or database does not answer.
    """
    with guarded(uri):
        path = Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None
        if path is None or path.exists():
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        return _connect_fresh(uri, path)


def fetch_artifacts(uri: str, source: str, to: Path) -> Path:
    """Bring what an MLflow URI names (``runs:/``, ``models:/`` or an artefact store's own) into a folder.

    Args:
        uri: the tracking URI, and the registry's.
        source: what to fetch.
        to: an empty folder.

    Returns:
        Where it lies now.

    Raises:
        NotFoundError: there is no such thing.
        UnavailableError: the server or database does not answer.
    """
    from mlflow.artifacts import download_artifacts  # a second more, which nothing else needs

    with guarded(uri):
        try:
            place = _artifacts_of(connect(uri), source) if source.startswith("models:/") else source
            found = download_artifacts(artifact_uri=place, dst_path=str(to), tracking_uri=uri, registry_uri=uri)
        except (MlflowException, OSError, ValueError) as error:
            code = getattr(error, "error_code", "")
            if not isinstance(error, MlflowException) or code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise NotFoundError(
                    "model_missing",
                    f"MLflow at {_shown(uri)} has no {source}: {str(error).splitlines()[0][:300]}",
                    hint="see the models of a run or the registry: mlflow ui",
                    path=source,
                ) from error
            raise
    return Path(found)


def _artifacts_of(client: MlflowClient, source: str) -> str:
    """Where a model's files lie: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``.../latest`` or ``models:/ID``.

    MLflow itself looks such names up in the registry of the whole process, not in the one it is told.
    """
    name, slash, version = source.removeprefix("models:/").strip("/").partition("/")
    if not slash and "@" in name:
        name, _, alias = name.partition("@")
        version = str(client.get_model_version_by_alias(name, alias).version)
    elif not slash:
        return str(client.get_logged_model(name).artifact_location)
    elif version == "latest":
        version = str(max(int(each.version) for each in client.search_model_versions(f"name = '{name}'")))
    place = str(client.get_model_version_download_uri(name, version))
    return _artifacts_of(client, place) if place.startswith("models:/") else place


def _connect_fresh(uri: str, path: Path) -> MlflowClient:
    global _fresh
    with _fresh_lock:
        if _fresh is None:
            _fresh = _made_elsewhere()
        _appear(path, _fresh)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _made_elsewhere() -> bytes:
    """A fresh database, made beside: MLflow cannot go on with one whose making was cut short."""
    with tempfile.TemporaryDirectory(prefix="everloop-mlflow-") as folder:
        place = Path(folder) / "mlflow.db"
        uri = f"{_SQLITE}{place}"
        MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments(max_results=1)  # makes the tables
        connection = sqlite3.connect(place)
        try:
            return connection.serialize()
        finally:
            connection.close()


def _appear(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all; where one is there already it stays."""
    handle, name = tempfile.mkstemp(prefix=".making-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            if not path.exists():
                Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def guarded(uri: str) -> Iterator[None]:
    """Turn MLflow's failures into ours, and keep its known harmless warnings quiet.

    Raises:
        UnavailableError: MLflow does not answer, or answers with an error.
    """
    try:
        with warnings.catch_warnings():
            # MLflow's own use of what its dependencies have deprecated; nothing that a user could change
            for module in ("mlflow", "google", "pydantic", "alembic", "sqlalchemy"):
                warnings.filterwarnings("ignore", module=rf"{module}(\..*)?")
            yield
    except (MlflowException, SQLAlchemyError, requests.RequestException) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UnavailableError(
            "tracking_unavailable",
            f"MLflow at {_shown(uri)} does not answer as it should: {first[:300]}",
            hint="is the tracking server running? See tracking.uri in everloop.toml",
            path="tracking.uri",
        ) from error


def _shown(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else uri
