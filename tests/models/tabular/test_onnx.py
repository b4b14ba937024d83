"""ONNX models answer as ONNX Runtime does, and as MLflow where it can answer at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from everloop.core.errors import ModelError, UnavailableError
from everloop.models.tabular.loading import load_predictor
from everloop.models.tabular.mlmodel import MlModel
from everloop.models.tabular.predictor import Predictor, Rows
from everloop.models.tabular.recognizing import recognize
from everloop.models.tabular.signature import Output, Signature
from models.tabular.oracle import ask_pyfunc, load, numbers, one_by_one, rows_of, save, shop_rows

pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
skl2onnx = pytest.importorskip("skl2onnx")
from skl2onnx.common.data_types import (  # noqa: E402
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def named(n: int = 200, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(numbers(n, 4, seed=seed, missing=0.0), columns=list("abcd"))


def own_file(model: Any, path: Path) -> Predictor:
    path.write_bytes(model.SerializeToString())
    found = recognize(path.parent, MlModel({"onnx": {"data": path.name}}, None), allow_pickle=False)
    return load_predictor(path.parent, flavor="onnx", signature=found.signature, options=found.options)


def test_columns_of_one_input_answer_as_mlflow_does(tmp_path: Path) -> None:
    frame = named()
    peer = LinearRegression().fit(frame, frame["a"] * 2 + 1)
    model = skl2onnx.to_onnx(peer, initial_types=[("x", FloatTensorType([None, 4]))])
    folder = save("onnx", model, tmp_path / "m", frame, frame["a"].to_numpy())
    predictor = load(folder)
    fresh = named(40, seed=3)
    rows = rows_of(fresh, predictor.signature)
    [output] = predictor.signature.outputs
    assert (output.name, output.dtype, output.shape) == ("variable", "float32", ())
    found = predictor.predict(rows, {})["variable"]
    np.testing.assert_array_equal(found, ask_pyfunc(folder, fresh)["variable"].to_numpy())
    np.testing.assert_allclose(found, peer.predict(fresh), rtol=1e-5)
    np.testing.assert_allclose(one_by_one(predictor, rows)["variable"], found, rtol=1e-6)


@pytest.mark.parametrize("zipmap", [True, False])
def test_a_classifier_gives_labels_and_probabilities(tmp_path: Path, zipmap: bool) -> None:
    frame = named()
    peer = LogisticRegression().fit(frame.to_numpy(), np.where(frame["a"] > 0, "yes", "no"))
    options, kind = {"zipmap": zipmap}, FloatTensorType if zipmap else DoubleTensorType
    model = skl2onnx.to_onnx(peer, initial_types=[("x", kind([None, 4]))], options=options)
    predictor = own_file(model, tmp_path / "model.onnx")
    label, probability = predictor.signature.outputs
    assert (label.dtype, label.shape) == ("object", ())
    assert probability.shape == (2,)
    [tensor] = predictor.signature.tensors
    assert (tensor.name, tensor.dtype, tensor.shape) == ("x", "float32" if zipmap else "float64", (-1, 4))
    fresh = named(30, seed=4).to_numpy(dtype=tensor.dtype)
    found = predictor.predict(Rows(30, tensors={"x": fresh}), {})
    np.testing.assert_array_equal(found[label.name], peer.predict(fresh))
    np.testing.assert_allclose(found[probability.name], peer.predict_proba(fresh), rtol=1e-4, atol=1e-6)
    assert list(predictor.predict(Rows(30, tensors={"x": fresh}), {}, (label.name,))) == [label.name]


def test_several_inputs_are_columns(tmp_path: Path) -> None:
    frame = shop_rows(200, missing=0.0)[["price", "people", "shop"]]
    parts = ColumnTransformer([("t", OneHotEncoder(), ["shop"]), ("n", StandardScaler(), ["price", "people"])])
    peer = make_pipeline(parts, LinearRegression()).fit(frame, frame["price"])
    kinds = [("price", DoubleTensorType([None, 1])), ("people", Int64TensorType([None, 1]))]
    model = skl2onnx.to_onnx(peer, initial_types=[*kinds, ("shop", StringTensorType([None, 1]))])
    predictor = own_file(model, tmp_path / "model.onnx")
    assert [(column.name, column.type) for column in predictor.signature.columns] == [
        ("price", "double"),
        ("people", "long"),
        ("shop", "string"),
    ]
    fresh = shop_rows(30, seed=8, missing=0.0)
    found = predictor.predict(rows_of(fresh, predictor.signature), {})["variable"]
    assert found.shape == (30,)
    np.testing.assert_allclose(found, peer.predict(fresh), rtol=1e-4)


def test_a_model_of_one_row_is_asked_row_by_row(tmp_path: Path) -> None:
    frame = named()
    peer = LinearRegression().fit(frame.to_numpy(), frame["b"])
    model = skl2onnx.to_onnx(peer, initial_types=[("x", FloatTensorType([1, 4]))])
    predictor = own_file(model, tmp_path / "model.onnx")
    fresh = named(5, seed=4).to_numpy(dtype=np.float32)
    found = predictor.predict(Rows(5, tensors={"x": fresh}), {})["variable"]
    np.testing.assert_allclose(found.ravel(), peer.predict(fresh), rtol=1e-5)


def test_a_damaged_file_and_a_missing_library_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    signature = Signature(outputs=(Output("y"),))
    with pytest.raises(ModelError, match="cannot read"):
        load_predictor(tmp_path, flavor="onnx", signature=signature, options={"file": "model.onnx"})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UnavailableError) as caught:
        load_predictor(tmp_path, flavor="onnx", signature=signature, options={"file": "model.onnx"})
    assert "everloop[onnx]" in caught.value.hint
