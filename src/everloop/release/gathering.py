"""Bringing a model that was trained elsewhere into a folder, as a model that MLflow loads."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import everloop
from everloop.core.digest import digest_json, digest_tree
from everloop.core.errors import NotFoundError, UsageError
from everloop.core.project import Project
from everloop.models.tabular.example import logged_example, with_example
from everloop.models.tabular.mlmodel import MLMODEL_FILE, MlModel, read_mlmodel, write_mlmodel
from everloop.models.tabular.recognized import Recognized
from everloop.models.tabular.recognizing import recognize
from everloop.models.tabular.signature import Signature
from everloop.release.bundle import LEAST_DIGEST
from everloop.release.environment import write_environment
from everloop.release.manifest import MANIFEST_FILE

__all__ = ["Gathered", "gather", "write_own_flavor"]

_RAW = {".txt": "lightgbm", ".lgb": "lightgbm", ".json": "xgboost", ".ubj": "xgboost", ".onnx": "onnx"}
_PACKAGES = {
    "lightgbm": ("lightgbm",),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "onnx": ("onnxruntime",),
    "sklearn": ("scikit-learn",),
}
_SCHEMES = ("runs:/", "models:/", "s3://", "gs://", "http://", "https://", "mlflow-artifacts:/", "file://")
_NO_CONTENT = (MLMODEL_FILE, "registered_model_meta")
"""What differs between two savings of one model: instants, identifiers."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A model in its folder.

    Attributes:
        model: how it is loaded.
        digest: the digest of its files, without what differs between two savings of the same model.
        run_id: the run that logged it; may be empty.
        example: rows by column or tensor; may be empty.
    """

    model: Recognized
    digest: str
    run_id: str
    example: dict[str, list[Any]]


def gather(
    project: Project, source: str, folder: Path, *, example: Mapping[str, list[Any]], allow_pickle: bool
) -> Gathered:
    """Copy a model's files into a folder and look at them.

    Args:
        project: the project, whose tracking URI finds ``runs:/`` and ``models:/``.
        source: an MLflow model's folder or URI, or a model's own file.
        folder: an empty folder.
        example: rows that name and type the columns of a model's own file.
        allow_pickle: whether code from the files may run.

    Raises:
        NotFoundError: there is no such model.
        UsageError: it is a file of no known kind, or the example does not fit it.
        ModelError: it cannot be served.
        UnavailableError: MLflow or the model's library is away.
    """
    with _found(project, source) as path:
        if path.is_file():
            _copy_file(path, folder)
        elif (path / MANIFEST_FILE).is_file():
            raise UsageError(
                "model_released", f"{source} is a release already", hint="adopt the model that it was made of"
            )
        elif (path / MLMODEL_FILE).is_file():
            shutil.copytree(path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            raise NotFoundError(
                "model_missing",
                f"there is no {MLMODEL_FILE} file in {source}",
                hint="name the folder that mlflow.<library>.save_model wrote, or a model's own file",
                path=source,
            )
        is_raw = path.is_file()
    files = {name: digest for name, digest in digest_tree(folder).items() if name not in _NO_CONTENT}
    digest = digest_json(files)
    trusted = project.settings.release.trusted_pickles
    is_known = any(len(each) >= LEAST_DIGEST and digest.startswith(each) for each in trusted)
    may_run = allow_pickle or source in trusted or is_known
    if is_raw:
        return _gather_raw(folder, digest, example)
    mlmodel = read_mlmodel(folder)
    found = recognize(folder, mlmodel, allow_pickle=may_run)
    rows = dict(example) or logged_example(folder, mlmodel, found.signature)
    return Gathered(found, digest, mlmodel.run_id, rows)


def write_own_flavor(
    folder: Path, signature: Signature, libraries: Sequence[str], flavors: Mapping[str, Mapping[str, Any]]
) -> None:
    """Make a folder a model that plain MLflow loads through Everloop.

    Args:
        folder: the folder.
        signature: what the model takes and gives.
        libraries: the flavors whose libraries are required.
        flavors: the settings of flavors by which MLflow finds the model without Everloop.
    """
    python = platform.python_version()
    own = {
        "loader_module": "everloop.release.pyfunc",
        "python_version": python,
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    }
    write_mlmodel(folder, {"python_function": own, **flavors}, signature)
    write_environment(folder, "everloop", python, _pins(libraries))


def _gather_raw(folder: Path, digest: str, example: Mapping[str, list[Any]]) -> Gathered:
    """A model's own file, named ``model`` and its suffix."""
    [path] = folder.iterdir()
    name = _RAW[path.suffix]
    flavors = {name: {"data": path.name}}
    found = recognize(folder, MlModel(flavors, None), allow_pickle=False)
    if example:
        signature = with_example(found.signature, example)
        found = Recognized(found.flavor, signature, found.options, found.runs_code)
    write_own_flavor(folder, found.signature, [name], flavors)
    return Gathered(found, digest, "", dict(example))


def _copy_file(path: Path, folder: Path) -> None:
    suffix = path.suffix.lower()
    if suffix not in _RAW:
        raise UsageError(
            "model_file",
            f"{path.name} is of no kind that is known by its name",
            hint=f"a model's own file ends with {', '.join(_RAW)}; for others save an MLflow model",
            path=str(path),
        )
    shutil.copyfile(path, folder / f"model{suffix}")


@contextmanager
def _found(project: Project, source: str) -> Iterator[Path]:
    """Where a source lies on this machine, fetched where it must be."""
    if not source.startswith(_SCHEMES):
        path = Path(source).expanduser()
        if not path.exists():
            raise NotFoundError(
                "model_missing",
                f"there is no model in {source}",
                hint="a folder of MLflow's, a model's own file, or runs:/... or models:/...",
                path=source,
            )
        yield path
        return
    from everloop.experiment.mlflow_client import fetch_artifacts  # MLflow, for sources of its own alone

    with tempfile.TemporaryDirectory(prefix="everloop-adopt-") as place:
        yield fetch_artifacts(project.tracking_uri, source, Path(place))


def _pins(libraries: Sequence[str]) -> list[str]:
    pins = [f"everloop=={everloop.__version__}"]
    for name in libraries:
        for package in _PACKAGES.get(name, ()):
            try:
                pins.append(f"{package}=={metadata.version(package)}")
                break
            except metadata.PackageNotFoundError:
                continue
    return sorted(pins)
