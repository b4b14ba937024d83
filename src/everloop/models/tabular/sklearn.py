"""scikit-learn models of rows: estimators and pipelines, column transformers included.

A pipeline that selects columns by name, or reads texts, needs a frame of pandas, which costs 0.3 ms a request. One of
numbers alone gives the same from a plain matrix; whether it does, to the last bit, is tried when it is adopted.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import EverloopError, ModelError
from everloop.models.tabular.columns import MatrixMaker
from everloop.models.tabular.mlmodel import MlModel
from everloop.models.tabular.pickles import load_estimator, runs_code
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.recognized import Recognized, label_outputs, main_name, named_columns, value_output
from everloop.models.tabular.signature import Output, Signature, Tensor

if TYPE_CHECKING:
    from everloop.models.tabular.frames import FrameMaker

__all__ = ["SklearnPredictor", "load", "look"]

_NUMBERS = ("boolean", "integer", "long", "float", "double")
_PROBES = 64
_TREES = [
    f"{kind}{task}"
    for kind in (
        "DecisionTree",
        "ExtraTree",
        "ExtraTrees",
        "RandomForest",
        "GradientBoosting",
        "HistGradientBoosting",
        "LGBM",
        "XGB",
        "Dummy",
    )
    for task in ("Regressor", "Classifier")
]
_SCALERS = [f"{kind}Scaler" for kind in ("Standard", "MinMax", "MaxAbs", "Robust")]
_HELD = ("_BinMapper", "LabelEncoder")
_EXACT = {
    *_HELD,
    "Pipeline",
    "ColumnTransformer",
    "SimpleImputer",
    "OneHotEncoder",
    "OrdinalEncoder",
    *_SCALERS,
    *_TREES,
}
"""Estimators that treat each row by itself, number by number. Products of matrices, as in linear models, may have
other last bits with another number of rows, since BLAS then adds in another order."""


class SklearnPredictor:
    """An estimator of scikit-learn's interface; threads may share it.

    Args:
        estimator: the fitted estimator; it predicts with one thread from now on.
        signature: what it takes and gives. Where a second output is named, it holds ``predict_proba``.
        method: what gives the main output, such as ``"predict"``.
        matrix: the type of the matrix that is handed over, ``"float64"`` or ``"float32"``; empty for a frame.
    """

    flavor = "sklearn"

    def __init__(self, estimator: Any, signature: Signature, *, method: str = "predict", matrix: str = "") -> None:
        self.signature = signature
        parts = list(_estimators(estimator))
        for each in parts:
            if getattr(each, "n_jobs", None) not in (None, 1):
                each.n_jobs = 1  # to start threads costs more than a few rows do, and their sums vary in order
            if matrix:
                vars(each).pop("feature_names_in_", None)  # or each matrix would be warned of
        self.is_exact_in_batch = all(map(_is_exact, parts))
        self._predict = getattr(estimator, method)
        self._probabilities = getattr(estimator, "predict_proba", None) if len(signature.outputs) > 1 else None
        self._outputs = signature.outputs
        self._matrix = MatrixMaker(signature) if matrix else None
        self._dtype = matrix
        self._frame = None if matrix or signature.tensors else _frame_maker(signature)

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """See :class:`everloop.models.tabular.predictor.Predictor`; parameters are not taken."""
        try:
            data = self._data(rows)
            found: dict[str, NDArray[Any]] = {}
            main = self._outputs[0]
            if not outputs or main.name in outputs:
                values = np.asarray(self._predict(data))
                found[main.name] = values.astype(object) if values.dtype.kind in "US" else values
            if self._probabilities is not None and (not outputs or self._outputs[1].name in outputs):
                found[self._outputs[1].name] = np.asarray(self._probabilities(data))
        except EverloopError:
            raise
        except Exception as error:  # whatever an estimator raises, a user's own as well
            raise ModelError(
                "model_failed",
                f"the model failed: {type(error).__name__}: {error}",
                hint="does it take such rows? missing values and unknown texts are up to the pipeline",
            ) from error
        return found

    def _data(self, rows: Rows) -> Any:
        if self._matrix is not None:
            return self._matrix.make(rows).astype(self._dtype, copy=False)
        if self._frame is not None:
            return self._frame.make(rows)
        return next(iter(rows.tensors.values()))


def load(folder: Path, signature: Signature, options: Mapping[str, Any]) -> SklearnPredictor:
    """The estimator in the file ``options["file"]`` of a bundle."""
    allow_pickle = bool(options.get("runs_code"))  # then the leave was asked for
    estimator = load_estimator(folder / options["file"], options, allow_pickle=allow_pickle)
    return SklearnPredictor(estimator, signature, method=options["method"], matrix=options["matrix"])


def look(folder: Path, mlmodel: MlModel, *, allow_pickle: bool) -> Recognized:
    """How a model of this flavor is loaded.

    Raises:
        ModelError: the file is damaged, may not be read, or does not tell what it takes.
    """
    flavor = mlmodel.flavors["sklearn"]
    file = str(flavor["pickled_model"])
    kept = {"serialization_format": flavor.get("serialization_format", "pickle")}
    method = str(mlmodel.flavors.get("python_function", {}).get("predict_fn", "predict"))
    code = runs_code(folder / file, kept)
    estimator = load_estimator(folder / file, kept, allow_pickle=allow_pickle)
    given = _inputs(mlmodel.signature, estimator)
    signature = msgspec.structs.replace(given, outputs=_outputs(estimator, mlmodel, method))
    probes = _probes(signature)
    predictor = SklearnPredictor(estimator, signature, method=method)
    expected = [_asked(predictor, probe) for probe in probes]
    if expected[0] is not None:
        answer = expected[0][signature.outputs[0].name]
        main = msgspec.structs.replace(signature.outputs[0], shape=answer.shape[1:], dtype=_dtype(answer))
        signature = msgspec.structs.replace(signature, outputs=(main, *signature.outputs[1:]))
    elif mlmodel.signature is None:
        raise ModelError(
            "signature_missing",
            "the model was logged without a signature, and its columns are not all numbers",
            hint="log it with signature=mlflow.models.infer_signature(inputs, outputs)",
        )
    options = kept | {"file": file, "method": method, "matrix": ""} | ({"runs_code": True} if code else {})
    if signature.columns and all(column.type in _NUMBERS for column in signature.columns):
        dtype = "float32" if all(column.type == "float" for column in signature.columns) else "float64"
        again = load_estimator(folder / file, kept, allow_pickle=allow_pickle)
        short = SklearnPredictor(again, signature, method=method, matrix=dtype)
        if all(_are_same(_asked(short, probe), wanted) for probe, wanted in zip(probes, expected, strict=True)):
            options["matrix"] = dtype
    return Recognized("sklearn", signature, options, runs_code=code)


def _inputs(given: Signature | None, estimator: Any) -> Signature:
    """The signature, or what the estimator remembers of its training data."""
    if given is not None and (given.columns or given.tensors):
        return given
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        return Signature(columns=named_columns([str(name) for name in names]))
    width = getattr(estimator, "n_features_in_", None)
    if width is None:
        raise ModelError(
            "signature_missing",
            "the model was logged without a signature, and does not know its columns",
            hint="log it with signature=mlflow.models.infer_signature(inputs, outputs)",
        )
    return Signature(tensors=(Tensor("input", "float64", (-1, int(width))),))


def _outputs(estimator: Any, mlmodel: MlModel, method: str) -> tuple[Output, ...]:
    name = main_name(mlmodel)
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        given = mlmodel.signature.outputs if mlmodel.signature else ()
        return (given[0],) if given and given[0].name == name else (value_output(name),)
    label, probability = label_outputs(name, classes)
    if method != "predict":
        return (msgspec.structs.replace(probability, name=name),)
    return (label, probability) if hasattr(estimator, "predict_proba") else (label,)


def _probes(signature: Signature) -> list[Rows]:
    """Rows to try: plain ones, then some with missing values, then a single one; random, and the same each time."""
    random = np.random.default_rng(7)
    if signature.tensors:
        tensor = signature.tensors[0]
        shape = (_PROBES, *[max(size, 1) for size in tensor.shape[1:]])
        return [Rows(_PROBES, tensors={tensor.name: random.normal(size=shape).astype(tensor.dtype)})]
    if not all(column.type in _NUMBERS for column in signature.columns):
        columns = {column.name: _probe_column(column.type, random) for column in signature.columns}
        return [Rows(_PROBES, columns=columns)]
    plain = random.normal(0, 3, size=(_PROBES, len(signature.columns)))
    for place, column in enumerate(signature.columns):
        if column.type in ("integer", "long"):
            plain[:, place] = np.round(plain[:, place])
        elif column.type == "boolean":
            plain[:, place] = plain[:, place] > 0
    holed = plain.copy()
    floats = [place for place, column in enumerate(signature.columns) if column.type in ("float", "double")]
    for place in floats:
        holed[random.random(_PROBES) < 0.2, place] = np.nan
    return [Rows(_PROBES, matrix=plain), Rows(_PROBES, matrix=holed), Rows(1, matrix=plain[:1].copy())]


def _probe_column(kind: str, random: np.random.Generator) -> NDArray[Any]:
    if kind in ("string", "binary"):
        return np.full(_PROBES, "" if kind == "string" else b"", dtype=object)
    if kind == "datetime":
        return np.full(_PROBES, np.datetime64("2024-01-01", "us"))
    values = np.round(random.normal(0, 3, _PROBES))
    return values > 0 if kind == "boolean" else values.astype(np.int64 if kind in ("integer", "long") else np.float64)


def _asked(predictor: SklearnPredictor, rows: Rows) -> dict[str, NDArray[Any]] | None:
    """The answer; ``None`` where the estimator does not take such rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a frame has names which the training data had not
        try:
            return predictor.predict(rows, {})
        except EverloopError:
            return None


def _are_same(found: dict[str, NDArray[Any]] | None, wanted: dict[str, NDArray[Any]] | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return all(
        found[name].dtype == values.dtype and np.array_equal(found[name], values, equal_nan=values.dtype.kind == "f")
        for name, values in wanted.items()
    )


def _dtype(values: NDArray[Any]) -> str:
    return str(values.dtype) if values.dtype.kind in "biuf" else "object"


def _is_exact(estimator: Any) -> bool:
    name = type(estimator).__name__
    # "passthrough" in a column transformer
    return name in _EXACT or (name == "FunctionTransformer" and estimator.func is None)


def _frame_maker(signature: Signature) -> FrameMaker:
    from everloop.models.tabular.frames import FrameMaker  # pandas, for estimators that need a frame

    return FrameMaker(signature)


def _estimators(root: Any) -> Iterator[Any]:
    """An estimator and all that it holds, however deep."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list | tuple) or (isinstance(each, np.ndarray) and each.dtype == object):
            waiting += list(each.ravel() if isinstance(each, np.ndarray) else each)
        elif hasattr(each, "get_params") and not isinstance(each, type):
            yield each
            waiting += vars(each).values()
