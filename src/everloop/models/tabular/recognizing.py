"""Looking at a model's files, once, when it is adopted: which library, what it takes and gives, how it is loaded."""

from __future__ import annotations

import importlib
from pathlib import Path

from everloop.core.errors import EverloopError, ModelError
from everloop.models.tabular.mlmodel import MlModel
from everloop.models.tabular.recognized import Recognized, as_pyfunc

__all__ = ["recognize"]

_NATIVE = ("lightgbm", "xgboost", "onnx", "sklearn")
"""The flavors with a short way, each a module beside this one with a function ``look``. A model of one of the first
may have the flavor of scikit-learn too."""


def recognize(folder: Path, mlmodel: MlModel, *, allow_pickle: bool) -> Recognized:
    """How the model in a folder of MLflow's is loaded.

    Args:
        folder: the model's files; what is taken out of them is added below ``native``.
        mlmodel: what its ``MLmodel`` file says.
        allow_pickle: whether code from the files may run.

    Raises:
        ModelError: the model is of no flavor that Python can ask, or takes what is not served.
        UnavailableError: its library is not installed.
    """
    for name in _NATIVE:
        if name in mlmodel.flavors:
            return _look(name, folder, mlmodel, allow_pickle)
    return as_pyfunc(mlmodel)


def _look(name: str, folder: Path, mlmodel: MlModel, allow_pickle: bool) -> Recognized:
    module = importlib.import_module(f"everloop.models.tabular.{name}")
    try:
        found: Recognized = module.look(folder, mlmodel, allow_pickle=allow_pickle)
    except EverloopError:
        raise
    except Exception as error:  # whatever a damaged file makes of a library, or a missing key of a flavor
        raise ModelError(
            "model_files",
            f"the {name} model cannot be read: {type(error).__name__}: {error}",
            hint="is it a model of this library, and whole? save it again",
        ) from error
    return found
