"""XGBoost models of rows, asked through the C library: no pandas, no scikit-learn, no ``import xgboost``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.models.tabular.columns import MatrixMaker
from everloop.models.tabular.mlmodel import MlModel
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.recognized import (
    Recognized,
    as_pyfunc,
    label_outputs,
    main_name,
    named_columns,
    value_output,
)
from everloop.models.tabular.signature import Output, Signature
from everloop.models.tabular.xgboost_library import XgboostBooster

__all__ = ["XgboostPredictor", "load", "look"]

_RAW = "xgboost.core.Booster"
_CLASSIFIERS = ("xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRFClassifier")
_VALUES = (_RAW, *(f"xgboost.sklearn.XGB{name}" for name in ("Regressor", "RFRegressor", "Ranker")))


class XgboostPredictor:
    """An XGBoost model of rows; threads may share it.

    Args:
        booster: the model.
        signature: what it takes and gives. Where the main output has classes, the model answers with labels, and
            the output ``probability`` holds each class's probability.

    Raises:
        ModelError: the signature does not fit the model.
    """

    flavor = "xgboost"
    is_exact_in_batch = True

    def __init__(self, booster: XgboostBooster, signature: Signature) -> None:
        self.signature = signature
        self._booster = booster
        self._maker = MatrixMaker(signature)
        self._maker.check_width(booster.features)
        self._main = signature.outputs[0]
        self._labels = np.array(self._main.classes, dtype=self._main.dtype) if self._main.classes else None
        self._probability = signature.outputs[1].name if len(signature.outputs) > 1 else ""

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """See :class:`everloop.models.tabular.predictor.Predictor`; parameters are not taken."""
        values = self._booster.predict(self._maker.make(rows))
        if self._labels is None:
            return {self._main.name: values}
        found: dict[str, NDArray[Any]] = {}
        if not outputs or self._main.name in outputs:
            places = values.argmax(axis=1) if values.ndim == 2 else (values > 0.5).astype(np.int64)
            found[self._main.name] = self._labels[places]
        if not outputs or self._probability in outputs:
            found[self._probability] = values if values.ndim == 2 else np.column_stack((1.0 - values, values))
        return found


def load(folder: Path, signature: Signature, options: Mapping[str, Any]) -> XgboostPredictor:
    """The model in the file ``options["file"]`` of a bundle, of which ``options["iterations"]`` count (0: all)."""
    booster = XgboostBooster(folder / options["file"], iterations=int(options.get("iterations", 0)))
    return XgboostPredictor(booster, signature)


def look(folder: Path, mlmodel: MlModel, *, allow_pickle: bool) -> Recognized:
    """How a model of this flavor is loaded.

    An estimator stopped early answers with its best iteration, a plain booster with all, as the Python package does.

    Raises:
        ModelError: the file is damaged, or a feature is categorical.
        UnavailableError: XGBoost's library is missing.
    """
    flavor = mlmodel.flavors["xgboost"]
    kind = str(flavor.get("model_class", _RAW))
    given = mlmodel.signature or Signature()
    if kind not in (*_CLASSIFIERS, *_VALUES) or given.parameters:
        return as_pyfunc(mlmodel)
    file = str(flavor["data"])
    booster = XgboostBooster(folder / file)
    settings = booster.settings()
    if booster.kind not in ("gbtree", "dart") or (booster.kind == "dart" and kind == _RAW):
        # linear models are not safe for threads; the package asks a plain booster of dart in a way of other last bits
        return as_pyfunc(mlmodel)
    columns = _columns(booster, given)
    outputs = _outputs(booster, settings, main_name(mlmodel), kind)
    if outputs is None:
        return as_pyfunc(mlmodel)
    best = booster.attribute("best_iteration") if kind != _RAW else None
    signature = Signature(columns, given.tensors, outputs)
    options = {"file": file, "iterations": 0 if best is None else int(best) + 1}
    XgboostPredictor(booster, signature)
    return Recognized("xgboost", signature, options)


def _columns(booster: XgboostBooster, given: Signature) -> tuple[Any, ...]:
    """The signature's columns, which must be the model's features in their order."""
    if "c" in booster.feature_info("feature_type"):
        raise ModelError(
            "booster_categories",
            "the model splits by pandas' categories, which XGBoost's prediction of plain rows does not take",
            hint="encode them in a scikit-learn pipeline around the model",
        )
    names = booster.feature_info("feature_name")
    if given.tensors:
        return ()
    if not given.columns:
        return named_columns(names or [f"f{place}" for place in range(booster.features)])
    own = [column.name for column in given.columns]
    if names and own != names:
        wrong = next((name for name in own if name not in names), own[0])
        raise ModelError(
            "signature_columns",
            f"the signature's columns are not the model's features in their order: {wrong!r}",
            hint="log the model with the signature of its training data",
            path=wrong,
        )
    return given.columns


def _outputs(booster: XgboostBooster, settings: Mapping[str, Any], name: str, kind: str) -> tuple[Output, ...] | None:
    """What it gives; ``None`` where only the Python package knows the labels."""
    if kind not in _CLASSIFIERS:
        return (value_output(name, booster.outputs[0] if booster.outputs else 1, "float32"),)
    counted = max(int(settings["learner_model_param"]["num_class"]), 2)
    is_softmax = settings["objective"]["name"] == "multi:softmax"
    if is_softmax or int(settings["learner_model_param"].get("num_target", "1")) > 1:
        return None
    return label_outputs(name, np.arange(counted), dtype="float32")
