"""Loading a model of rows from the files of a bundle, whichever library made it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from everloop.core.errors import EverloopError, ModelError, nearest
from everloop.models.tabular.predictor import Predictor
from everloop.models.tabular.signature import Signature

__all__ = ["FLAVORS", "load_predictor"]

FLAVORS = ("lightgbm", "xgboost", "sklearn", "onnx", "pyfunc", "partitioned")
"""The modules beside this one, each with a function ``load(folder, signature, options)``."""


def load_predictor(
    folder: Path, *, flavor: str, signature: Signature, options: Mapping[str, Any], allow_pickle: bool = False
) -> Predictor:
    """The model of a bundle, ready to be asked.

    Args:
        folder: the bundle, verified.
        flavor: the library, one of :data:`FLAVORS`; only its module is imported.
        signature: what the model takes and gives.
        options: what was found out when the bundle was made: where the model's file lies, and the like.
        allow_pickle: whether code from the bundle may run; what needs it says so by the option ``runs_code``.

    Raises:
        ModelError: the files hold no such model, it does not fit the signature, or it needs code that may not run.
        UnavailableError: the model's library is not installed.
    """
    if flavor not in FLAVORS:
        raise ModelError("flavor_unknown", f"there is no way to load a {flavor!r} model", hint=nearest(flavor, FLAVORS))
    if options.get("runs_code") and not allow_pickle:
        raise ModelError(
            "pickle_refused",
            f"loading this {flavor} model runs code from its bundle, which this installation did not make",
            hint="if you trust it, name its digest in release.trusted_pickles",
        )
    # each library takes up to seconds and 200 MB: only the one that made the model is imported
    module = importlib.import_module(f"everloop.models.tabular.{flavor}")
    try:
        predictor: Predictor = module.load(folder, signature, options)
    except EverloopError:
        raise
    except Exception as error:  # a library's own ways to fail on damaged files, or on another version's
        raise ModelError(
            "model_load",
            f"the {flavor} model cannot be loaded: {type(error).__name__}: {error}",
            hint="is the version of the library that made it installed?",
            path=str(folder),
        ) from error
    return predictor
