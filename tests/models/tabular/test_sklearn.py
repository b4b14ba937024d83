"""scikit-learn's estimators saved by MLflow answer here as MLflow answers: pipelines of frames, and plain matrices."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from everloop.core.errors import ModelError
from everloop.models.tabular.mlmodel import read_mlmodel
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.recognizing import recognize
from models.tabular.oracle import ask_pyfunc, load, numbers, one_by_one, part, rows_of, save, shop_rows

pytest.importorskip("sklearn")
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC


def named(n: int = 200, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(numbers(n, 4, seed=seed), columns=list("abcd"))


def tabular_pipeline(model: Any) -> Any:
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = ColumnTransformer(
        [
            ("texts", texts, ["shop"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        ],
        remainder="passthrough",
    )
    return make_pipeline(parts, model)


def filled(model: Any) -> Any:
    return make_pipeline(SimpleImputer(), StandardScaler(), model)


SELECTOR = "sklearn.compose._column_transformer.make_column_selector"
TREES = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"


@pytest.mark.parametrize("kind", ["cloudpickle", "pickle", "skops"])
@pytest.mark.parametrize("model", [HistGradientBoostingRegressor(max_iter=9), Ridge()])
def test_a_pipeline_of_columns_gets_a_frame(tmp_path: Path, kind: str, model: Any) -> None:
    frame = shop_rows(300)
    pipeline = tabular_pipeline(model).fit(frame, frame["people"] + (frame["shop"] == "east"))
    options = {"skops_trusted_types": ["numpy.dtype", SELECTOR, TREES]} if kind == "skops" else {}
    folder = save("sklearn", pipeline, tmp_path / "m", frame, np.zeros(300), serialization_format=kind, **options)
    is_safe = kind == "skops" and isinstance(model, Ridge)  # nobody checks the nodes of scikit-learn's own trees
    if not is_safe:
        with pytest.raises(ModelError, match="runs whatever"):
            load(folder)
    predictor = load(folder, allow_pickle=not is_safe)
    fresh = shop_rows(60, seed=5).replace({"shop": {"north": "unknown"}})
    rows = rows_of(fresh, predictor.signature)
    found = predictor.predict(rows, {})["prediction"]
    # BLAS adds in another order for another layout or number of rows, in MLflow's hands too
    compare = np.testing.assert_array_equal if predictor.is_exact_in_batch else _nearly
    compare(found, ask_pyfunc(folder, fresh))
    compare(one_by_one(predictor, rows)["prediction"], found)
    assert predictor.is_exact_in_batch == isinstance(model, HistGradientBoostingRegressor)


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize(
    "model",
    [LinearRegression(), RandomForestRegressor(9, n_jobs=2, random_state=0), HistGradientBoostingRegressor(max_iter=9)],
)
def test_numbers_alone_go_as_a_matrix(tmp_path: Path, model: Any, is_named: bool) -> None:
    frame = named()
    pipeline = filled(model).fit(frame if is_named else frame.to_numpy(), frame["a"].fillna(0))
    folder = save("sklearn", pipeline, tmp_path / "m", frame, np.zeros(200))
    found = recognize(folder, read_mlmodel(folder), allow_pickle=True)
    assert found.options["matrix"] == "float64"
    predictor = load(folder, allow_pickle=True)
    fresh = named(60, seed=5)
    rows = rows_of(fresh, predictor.signature)
    expected = pipeline.predict(fresh if is_named else fresh.to_numpy())
    # threads of a forest add in any order, and BLAS in that of the layout: their own sums vary in the last bits
    compare = np.testing.assert_array_equal if isinstance(model, HistGradientBoostingRegressor) else _nearly
    compare(predictor.predict(rows, {})["prediction"], expected)
    if predictor.is_exact_in_batch:
        both = predictor.predict(rows, {})["prediction"]
        np.testing.assert_array_equal(one_by_one(predictor, rows)["prediction"], both)


def _nearly(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


def test_columns_of_32_bits_and_whole_numbers_keep_their_meaning(tmp_path: Path) -> None:
    frame = named().fillna(0.0).astype({"a": "float32", "b": "float32", "c": "float32", "d": "float32"})
    model = LinearRegression().fit(frame, frame["a"])
    predictor = load(save("sklearn", model, tmp_path / "f", frame, model.predict(frame)), allow_pickle=True)
    fresh = named(40, seed=2).fillna(0.0)
    found = predictor.predict(rows_of(fresh, predictor.signature), {})["prediction"]
    np.testing.assert_allclose(found, model.predict(fresh.astype("float32")), rtol=1e-4, atol=1e-5)
    assert predictor.signature.outputs[0].dtype == str(found.dtype) == "float32"
    whole = shop_rows(200, missing=0.0)[["people", "open"]]
    counted = LinearRegression().fit(whole, whole["people"])
    predictor = load(save("sklearn", counted, tmp_path / "i", whole, np.zeros(200)), allow_pickle=True)
    found = predictor.predict(rows_of(whole, predictor.signature), {})["prediction"]
    _nearly(found, counted.predict(whole))


@pytest.mark.parametrize("labels", [["no", "yes"], [3, 5, 8]])
def test_a_classifier_gives_labels_and_probabilities(tmp_path: Path, labels: list[Any]) -> None:
    frame = named()
    place = (np.nan_to_num(frame["a"].to_numpy()) > 0).astype(int) + (frame["b"].to_numpy() > 0) * (len(labels) > 2)
    model = filled(LogisticRegression()).fit(frame, np.array(labels)[place])
    folder = save("sklearn", model, tmp_path / "m", frame, model.predict(frame))
    predictor = load(folder, allow_pickle=True)
    fresh = named(50, seed=5)
    rows = rows_of(fresh, predictor.signature)
    found = predictor.predict(rows, {})
    label, probability = predictor.signature.outputs
    assert label.classes == probability.classes == tuple(labels)
    assert found["prediction"].dtype == np.dtype(label.dtype)
    np.testing.assert_array_equal(found["prediction"], ask_pyfunc(folder, fresh))
    _nearly(found["probability"], model.predict_proba(fresh))
    assert list(predictor.predict(rows, {}, ("prediction",))) == ["prediction"]


def test_the_method_that_was_logged_gives_the_main_output(tmp_path: Path) -> None:
    frame = named().fillna(0.0)
    model = RandomForestClassifier(5, random_state=0).fit(frame, frame["a"] > 0)
    folder = save(
        "sklearn", model, tmp_path / "m", frame, model.predict_proba(frame), pyfunc_predict_fn="predict_proba"
    )
    predictor = load(folder, allow_pickle=True)
    assert predictor.signature.outputs[0].shape == (2,)
    found = predictor.predict(rows_of(frame, predictor.signature), {})["prediction"]
    np.testing.assert_array_equal(found, ask_pyfunc(folder, frame))


def test_a_classifier_without_probabilities_and_several_targets(tmp_path: Path) -> None:
    frame = named().fillna(0.0)
    labels = SVC().fit(frame, frame["a"] > 0)
    predictor = load(save("sklearn", labels, tmp_path / "svc", frame, labels.predict(frame)), allow_pickle=True)
    assert [output.name for output in predictor.signature.outputs] == ["prediction"]
    both = LinearRegression().fit(frame, frame[["a", "b"]])
    predictor = load(save("sklearn", both, tmp_path / "both", frame, both.predict(frame)), allow_pickle=True)
    assert predictor.signature.outputs[0].shape == (2,)
    found = predictor.predict(rows_of(frame, predictor.signature), {})["prediction"]
    _nearly(found, both.predict(frame))


def test_without_a_signature_the_training_data_tell(tmp_path: Path) -> None:
    frame = named().fillna(0.0)
    plain = load(save("sklearn", Ridge().fit(frame, frame["a"]), tmp_path / "a"), allow_pickle=True)
    assert [column.name for column in plain.signature.columns] == list("abcd")
    tensor = load(save("sklearn", Ridge().fit(frame.to_numpy(), frame["a"]), tmp_path / "b"), allow_pickle=True)
    [only] = tensor.signature.tensors
    assert only.shape == (-1, 4)
    found = tensor.predict(Rows(3, tensors={only.name: np.ones((3, 4))}), {})["prediction"]
    assert found.shape == (3,)
    rows = shop_rows(200, missing=0.0)
    texts = save("sklearn", tabular_pipeline(Ridge()).fit(rows, rows["people"]), tmp_path / "c")
    with pytest.raises(ModelError) as caught:
        load(texts, allow_pickle=True)
    assert caught.value.code == "signature_missing"


def test_what_an_estimator_refuses_is_a_models_error(tmp_path: Path) -> None:
    frame = named().fillna(0.0)
    predictor = load(save("sklearn", Ridge().fit(frame, frame["a"]), tmp_path / "a"), allow_pickle=True)
    with pytest.raises(ModelError, match="NaN") as caught:
        predictor.predict(Rows(1, np.full((1, 4), np.nan)), {})
    assert caught.value.code == "model_failed"


def test_threads_share_a_predictor(tmp_path: Path) -> None:
    frame = shop_rows(200)
    pipeline = tabular_pipeline(HistGradientBoostingRegressor(max_iter=5)).fit(frame, frame["people"])
    predictor = load(save("sklearn", pipeline, tmp_path / "m", frame, np.zeros(200)), allow_pickle=True)
    rows = rows_of(frame, predictor.signature)
    expected = predictor.predict(rows, {})["prediction"]

    def ask(start: int) -> bool:
        some = predictor.predict(part(rows, slice(start, start + 5)), {})["prediction"]
        return np.array_equal(some, expected[start : start + 5])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(0, 80, 4)))


def test_mlflow_is_not_imported(tmp_path: Path) -> None:
    frame = named().fillna(0.0)
    folder = save("sklearn", Ridge().fit(frame, frame["a"]), tmp_path / "m", frame, np.zeros(200))
    found = recognize(folder, read_mlmodel(folder), allow_pickle=True)
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from everloop.models.tabular.loading import load_predictor\n"
        "from everloop.models.tabular.predictor import Rows\n"
        "from everloop.models.tabular.signature import Column, Output, Signature\n"
        "signature = Signature(tuple(Column(c, 'double') for c in 'abcd'), outputs=(Output('y'),))\n"
        f"p = load_predictor(Path({str(folder)!r}), flavor='sklearn', signature=signature,"
        f" options={found.options!r}, allow_pickle=True)\n"
        "p.predict(Rows(1, np.zeros((1, 4))), {})\n"
        "heavy = {'mlflow', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
