"""Estimators with scikit-learn's interface, read from the files that MLflow keeps them in.

A pickle runs whatever code it names. A skops file names the types it holds; such a file is read without further
leave where each of them is known here to do nothing but hold a model.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from everloop.core.errors import ModelError, UnavailableError

__all__ = ["load_estimator", "runs_code"]

_HARMLESS = {
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRanker",
    "lightgbm.sklearn.LGBMRegressor",
    "numpy.dtype",
    "sklearn.compose._column_transformer.make_column_selector",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRanker",
    "xgboost.sklearn.XGBRegressor",
}
"""Beside those that skops trusts by itself, which are most of NumPy's, SciPy's and scikit-learn's. The trees of
scikit-learn are not among them: their nodes are not checked, and a forged one reads memory that is not the model's."""


def runs_code(path: Path, flavor: Mapping[str, Any]) -> bool:
    """Whether reading a file runs code that the file names.

    Args:
        path: the file.
        flavor: the settings of its flavour in ``MLmodel``, which name its format.
    """
    return flavor.get("serialization_format", "pickle") != "skops" or bool(_foreign_types(path))


def load_estimator(path: Path, flavor: Mapping[str, Any], *, allow_pickle: bool) -> Any:
    """The estimator in a pickle, a cloudpickle or a skops file.

    Raises:
        ModelError: the file runs code and that is not allowed, or it cannot be read.
        UnavailableError: skops is not installed.
    """
    if runs_code(path, flavor) and not allow_pickle:
        raise ModelError(
            "pickle_refused",
            f"reading {path.name} runs whatever code it names",
            hint="if you trust where it comes from: --allow-pickle; or save it as skops",
            path=path.name,
        )
    try:
        if flavor.get("serialization_format", "pickle") == "skops":
            return _skops().load(path, trusted=_foreign_types(path) + sorted(_HARMLESS))
        return pickle.loads(path.read_bytes())
    except Exception as error:  # a pickle may fail in any way that its code may
        raise ModelError(
            "model_files",
            f"cannot read {path.name}: {type(error).__name__}: {error}",
            hint="are the libraries that the model was made with installed here? see its requirements.txt",
            path=str(path),
        ) from error


def _foreign_types(path: Path) -> list[str]:
    """The types in a skops file that are neither trusted by skops nor harmless."""
    return sorted(set(_skops().get_untrusted_types(file=path)) - _HARMLESS)


def _skops() -> Any:
    try:
        import skops.io  # comes with MLflow's newer versions; needed for such files alone
    except ImportError as error:
        raise UnavailableError(
            "skops_missing", "the model is a skops file, and skops is not installed", hint="pip install skops"
        ) from error
    return skops.io
