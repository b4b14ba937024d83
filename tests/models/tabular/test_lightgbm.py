"""LightGBM models saved by MLflow answer here with the bits that MLflow gives."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest

from everloop.core.errors import ModelError
from everloop.models.tabular.lightgbm import BoosterPredictor
from everloop.models.tabular.partitioned import PartitionedPredictor, joint_signature
from everloop.models.tabular.predictor import Hasting, Rows
from everloop.models.tabular.signature import Column, Output, Signature
from models.tabular.oracle import ask_pyfunc, load, numbers, one_by_one, rows_of, save, shop_rows

QUIET = {"verbosity": -1, "num_threads": 1, "seed": 1}


def booster(objective: str, target: np.ndarray, rows: np.ndarray, **options: object) -> lightgbm.Booster:
    return lightgbm.train(QUIET | {"objective": objective} | options, lightgbm.Dataset(rows, target), 20)


def named(n: int = 300, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame(numbers(n, 6, seed=seed), columns=list("abcdef"))


@pytest.mark.parametrize(
    ("objective", "options", "shape"),
    [
        ("regression", {}, (40,)),
        ("poisson", {}, (40,)),
        ("binary", {}, (40,)),
        ("multiclass", {"num_class": 3}, (40, 3)),
    ],
)
def test_a_booster_gives_its_values(
    tmp_path: Path, objective: str, options: dict[str, object], shape: tuple[int, ...]
) -> None:
    frame = named()
    target = np.nan_to_num(frame["a"].to_numpy()) > 0
    classes = target + (np.nan_to_num(frame["b"].to_numpy()) > 0) if options else target
    model = booster(objective, classes.astype(float), frame.to_numpy(), **options)
    folder = save("lightgbm", model, tmp_path / "m", frame, model.predict(frame))
    predictor = load(folder)
    fresh = named(40, seed=9)
    rows = rows_of(fresh, predictor.signature)
    found = predictor.predict(rows, {})["prediction"]
    assert found.shape == shape
    assert predictor.signature.outputs == (Output("prediction", "float64", shape[1:]),)
    np.testing.assert_array_equal(found, ask_pyfunc(folder, fresh))
    np.testing.assert_array_equal(one_by_one(predictor, rows)["prediction"], found)
    assert isinstance(predictor, Hasting)
    assert "compiled: " in predictor.hasten(rows)
    np.testing.assert_array_equal(predictor.predict(rows, {})["prediction"], found)
    np.testing.assert_array_equal(one_by_one(predictor, rows)["prediction"], found)


def test_each_of_several_models_is_hastened() -> None:
    frame = named()
    text = booster("regression", np.nan_to_num(frame["a"].to_numpy()), frame.to_numpy(), num_leaves=63)
    signature = Signature(columns=tuple(Column(name, "double") for name in "abcdef"), outputs=(Output("y"),))
    parts = {name: BoosterPredictor(text.model_to_string(), signature) for name in ("1", "2")}
    joint = joint_signature("g", {name: each.signature for name, each in parts.items()})
    predictor = PartitionedPredictor(joint, "g", parts)
    columns: dict[str, np.ndarray] = {name: frame[name].to_numpy() for name in "abcdef"}
    rows = Rows(len(frame), columns=columns | {"g": np.array(["1", "2", "2"] * 100, dtype=object)})
    before = predictor.predict(rows, {})["y"]
    assert "compiled: " in predictor.hasten(rows)
    np.testing.assert_array_equal(predictor.predict(rows, {})["y"], before)


@pytest.mark.parametrize("kind", ["skops", "cloudpickle"])
@pytest.mark.parametrize("labels", [["no", "yes"], ["high", "low", "mid"], [3, 5, 8], [False, True]])
def test_a_classifier_gives_labels_and_probabilities(tmp_path: Path, kind: str, labels: list[object]) -> None:
    frame = named()
    place = (np.nan_to_num(frame["a"].to_numpy()) > 0).astype(int) + (frame["b"].to_numpy() > 0) * (len(labels) > 2)
    model = lightgbm.LGBMClassifier(n_estimators=9, n_jobs=1, verbosity=-1).fit(frame, np.array(labels)[place])
    folder = save("lightgbm", model, tmp_path / "m", frame, model.predict(frame), serialization_format=kind)
    predictor = load(folder, allow_pickle=kind != "skops")
    fresh = named(60, seed=9)
    rows = rows_of(fresh, predictor.signature)
    found = predictor.predict(rows, {})
    label, probability = predictor.signature.outputs
    assert label.classes == probability.classes == tuple(labels)
    assert probability.shape == (len(labels),)
    np.testing.assert_array_equal(found["prediction"], ask_pyfunc(folder, fresh))
    np.testing.assert_array_equal(found["probability"], model.predict_proba(fresh))
    assert found["prediction"].dtype == np.dtype(label.dtype)
    alone = one_by_one(predictor, rows)
    np.testing.assert_array_equal(alone["prediction"], found["prediction"])
    np.testing.assert_array_equal(alone["probability"], found["probability"])
    assert list(predictor.predict(rows, {}, ("prediction",))) == ["prediction"]
    assert list(predictor.predict(rows, {}, ("probability",))) == ["probability"]


def test_a_pickled_estimator_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    frame = named()
    model = lightgbm.LGBMRegressor(n_estimators=2, n_jobs=1, verbosity=-1).fit(frame, np.arange(300.0))
    folder = save("lightgbm", model, tmp_path / "m", serialization_format="cloudpickle")
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.code == "pickle_refused"
    predictor = load(folder, allow_pickle=True)
    rows = rows_of(frame, predictor.signature)
    np.testing.assert_array_equal(predictor.predict(rows, {})["prediction"], model.predict(frame))


def test_the_best_iteration_counts(tmp_path: Path) -> None:
    frame, fresh = named(), named(200, seed=3)
    model = lightgbm.LGBMRegressor(n_estimators=200, n_jobs=1, verbosity=-1, learning_rate=0.3)
    target, other = frame["a"].fillna(0) + numbers(300, 1, missing=0)[:, 0], fresh["a"].fillna(0)
    model.fit(frame, target, eval_X=(fresh,), eval_y=(other,), callbacks=[lightgbm.early_stopping(3, verbose=False)])
    assert model.best_iteration_ < 200
    predictor = load(save("lightgbm", model, tmp_path / "m", frame, target.to_numpy()))
    rows = rows_of(fresh, predictor.signature)
    np.testing.assert_array_equal(predictor.predict(rows, {})["prediction"], model.predict(fresh))


@pytest.mark.parametrize("texts", [True, False])
def test_categories_of_pandas_become_their_codes(tmp_path: Path, texts: bool) -> None:
    frame = shop_rows(400)
    names = ["shop"] if texts else ["shop", "people"]
    kept = {name: pd.CategoricalDtype(sorted(frame[name].unique())[:-1]) for name in names}  # the last one is unknown
    target = frame["price"].fillna(0) + (frame["shop"] == "east") * 5 + (frame["people"] % 2)
    model = lightgbm.LGBMRegressor(n_estimators=20, n_jobs=1, verbosity=-1, min_child_samples=5)
    model.fit(frame.astype(kept), target)
    folder = save("lightgbm", model.booster_, tmp_path / "m", frame, target)
    predictor = load(folder)
    fresh = shop_rows(100, seed=4)
    rows = rows_of(fresh, predictor.signature)
    found = predictor.predict(rows, {})["prediction"]
    np.testing.assert_array_equal(found, model.predict(fresh.astype(kept)))
    np.testing.assert_array_equal(one_by_one(predictor, rows)["prediction"], found)
    assert len(np.unique(found)) > 20


def test_columns_of_32_bits_are_rounded_as_a_frame_would_be(tmp_path: Path) -> None:
    frame = named().astype({"a": "float32", "c": "float32"})
    model = booster("regression", np.nan_to_num(frame["a"].to_numpy()), frame.to_numpy(dtype=np.float64))
    predictor = load(save("lightgbm", model, tmp_path / "m", frame, np.zeros(300)))
    exact = named(80, seed=5)
    matrix = exact.to_numpy()
    kept = matrix.copy()
    found = predictor.predict(Rows(80, matrix=matrix), {})["prediction"]
    np.testing.assert_array_equal(found, model.predict(exact.astype({"a": "float32", "c": "float32"})))
    np.testing.assert_array_equal(matrix, kept)


def test_a_tensor_of_rows_and_columns_is_taken(tmp_path: Path) -> None:
    rows = numbers(200, 5)
    model = booster("regression", np.nan_to_num(rows[:, 0]), rows)
    folder = save("lightgbm", model, tmp_path / "m", rows, model.predict(rows))
    predictor = load(folder)
    [tensor] = predictor.signature.tensors
    fresh = numbers(30, 5, seed=2)
    found = predictor.predict(Rows(30, tensors={tensor.name: fresh}), {})["prediction"]
    np.testing.assert_array_equal(found, ask_pyfunc(folder, fresh))


def test_without_a_signature_the_features_name_the_columns(tmp_path: Path) -> None:
    rows = numbers(200, 3)
    model = lightgbm.train(QUIET, lightgbm.Dataset(rows, rows[:, 1] > 0, feature_name=["a", "b", "c"]), 5)
    predictor = load(save("lightgbm", model, tmp_path / "m"))
    assert predictor.signature.columns == tuple(Column(name, "double") for name in "abc")


def test_a_signature_that_does_not_fit_is_an_error() -> None:
    rows = numbers(200, 3)
    text = booster("regression", rows[:, 1] > 0, rows).model_to_string()
    with pytest.raises(ModelError, match="takes 3 columns"):
        BoosterPredictor(text, Signature((Column("a", "double"),), outputs=(Output("y"),)))
    with pytest.raises(ModelError, match="type string"):
        BoosterPredictor(text, Signature((Column("a", "string"),) * 3, outputs=(Output("y"),)))


def test_threads_share_a_predictor() -> None:
    rows = numbers(500, 6)
    text = booster("regression", np.nan_to_num(rows[:, 0]), rows).model_to_string()
    predictor = BoosterPredictor(text, Signature(tuple(Column(c, "double") for c in "abcdef"), outputs=(Output("y"),)))
    expected = predictor.predict(Rows(500, rows), {})["y"]

    def ask(start: int) -> bool:
        return all(
            np.array_equal(predictor.predict(Rows(n, rows[i : i + n]), {})["y"], expected[i : i + n])
            for i in range(start, 450, 8)
            for n in (1, 16, 17)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_no_heavy_library_is_imported(tmp_path: Path) -> None:
    rows = numbers(200, 2)
    (tmp_path / "model.txt").write_text(booster("regression", rows[:, 1] > 0, rows).model_to_string())
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from everloop.models.tabular.loading import load_predictor\n"
        "from everloop.models.tabular.predictor import Rows\n"
        "from everloop.models.tabular.signature import Column, Output, Signature\n"
        "signature = Signature((Column('a', 'double'), Column('b', 'double')), outputs=(Output('y'),))\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "p = load_predictor(folder, flavor='lightgbm', signature=signature, options={'file': 'model.txt'})\n"
        "p.predict(Rows(1, np.zeros((1, 2))), {})\n"
        "heavy = {'lightgbm', 'pandas', 'sklearn', 'scipy', 'mlflow', 'yaml', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
