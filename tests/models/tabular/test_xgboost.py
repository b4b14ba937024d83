"""XGBoost models saved by MLflow answer here with the bits that MLflow gives."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from everloop.core.errors import ModelError
from everloop.models.tabular.predictor import Rows
from models.tabular.oracle import ask_pyfunc, load, numbers, one_by_one, part, rows_of, save

xgboost = pytest.importorskip("xgboost", reason="the extra 'xgboost' is not installed")


def named(n: int = 300, seed: int = 0, missing: float = 0.1) -> pd.DataFrame:
    return pd.DataFrame(numbers(n, 6, seed=seed, missing=missing), columns=list("abcdef"))


@pytest.mark.parametrize("kind", ["json", "ubj"])
@pytest.mark.parametrize(
    ("objective", "options", "shape"),
    [
        ("reg:squarederror", {}, (60,)),
        ("count:poisson", {}, (60,)),
        ("binary:logistic", {}, (60,)),
        ("multi:softprob", {"num_class": 3}, (60, 3)),
        ("multi:softmax", {"num_class": 3}, (60,)),
    ],
)
def test_a_booster_gives_its_values(
    tmp_path: Path, kind: str, objective: str, options: dict[str, object], shape: tuple[int, ...]
) -> None:
    frame = named()
    target = (np.nan_to_num(frame["a"].to_numpy()) > 0) * 1.0 + (frame["b"].to_numpy() > 0) * ("num_class" in options)
    data = xgboost.DMatrix(frame, target)
    model = xgboost.train({"objective": objective, "nthread": 1} | options, data, 20)
    folder = save("xgboost", model, tmp_path / "m", frame, model.predict(data), model_format=kind)
    predictor = load(folder)
    fresh = named(60, seed=9)
    rows = rows_of(fresh, predictor.signature)
    found = predictor.predict(rows, {})["prediction"]
    assert found.shape == shape
    assert found.dtype == np.dtype(predictor.signature.outputs[0].dtype)
    assert predictor.signature.outputs[0].shape == shape[1:]
    np.testing.assert_array_equal(found, ask_pyfunc(folder, fresh))
    np.testing.assert_array_equal(one_by_one(predictor, rows)["prediction"], found)
    np.testing.assert_array_equal(predictor.predict(part(rows, slice(0, 7)), {})["prediction"], found[:7])


@pytest.mark.parametrize(("booster", "is_estimator"), [("dart", True), ("dart", False), ("gblinear", True)])
def test_other_boosters_answer_as_the_package_does(tmp_path: Path, booster: str, is_estimator: bool) -> None:
    frame = named(missing=0.0)
    model = xgboost.XGBRegressor(
        n_estimators=9, n_jobs=1, booster=booster, rate_drop=0.3 if booster == "dart" else None
    )
    model.fit(frame, frame["a"] ** 2)
    folder = save("xgboost", model if is_estimator else model.get_booster(), tmp_path / "m", frame, np.zeros(300))
    predictor = load(folder, allow_pickle=True)
    assert predictor.flavor == ("xgboost" if booster == "dart" and is_estimator else "pyfunc")
    fresh = named(60, seed=9, missing=0.0)
    found = predictor.predict(rows_of(fresh, predictor.signature), {})["prediction"]
    np.testing.assert_array_equal(found, ask_pyfunc(folder, fresh))


@pytest.mark.parametrize("count", [2, 3])
def test_a_classifier_gives_labels_and_probabilities(tmp_path: Path, count: int) -> None:
    frame = named()
    target = (np.nan_to_num(frame["a"].to_numpy()) > 0) * 1 + (frame["b"].to_numpy() > 0) * (count > 2)
    model = xgboost.XGBClassifier(n_estimators=9, n_jobs=1).fit(frame, target)
    folder = save("xgboost", model, tmp_path / "m", frame, model.predict(frame))
    predictor = load(folder)
    fresh = named(60, seed=9)
    rows = rows_of(fresh, predictor.signature)
    found = predictor.predict(rows, {})
    assert predictor.signature.outputs[0].classes == tuple(range(count))
    np.testing.assert_array_equal(found["prediction"], ask_pyfunc(folder, fresh))
    np.testing.assert_array_equal(found["probability"], model.predict_proba(fresh))
    assert found["probability"].dtype == np.float32
    assert list(predictor.predict(rows, {}, ("prediction",))) == ["prediction"]


@pytest.mark.parametrize("is_estimator", [True, False])
def test_the_best_iteration_counts_as_in_the_package(tmp_path: Path, is_estimator: bool) -> None:
    frame, fresh = named(), named(200, seed=3)
    target, other = frame["a"].fillna(0) + numbers(300, 1, missing=0)[:, 0], fresh["a"].fillna(0)
    model = xgboost.XGBRegressor(n_estimators=200, n_jobs=1, early_stopping_rounds=4)
    model.fit(frame, target, eval_set=[(fresh, other)], verbose=False)
    assert model.best_iteration < 190
    saved = model if is_estimator else model.get_booster()
    folder = save("xgboost", saved, tmp_path / "m", frame, target.to_numpy())
    predictor = load(folder)
    rows = rows_of(fresh, predictor.signature)
    np.testing.assert_array_equal(predictor.predict(rows, {})["prediction"], ask_pyfunc(folder, fresh))


def test_categories_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.Categorical(list("xyz") * 100), "b": np.arange(300.0)})
    model = xgboost.XGBRegressor(n_estimators=3, enable_categorical=True, n_jobs=1).fit(frame, frame["b"])
    folder = save("xgboost", model, tmp_path / "m", frame.astype({"a": "object"}), np.zeros(300))
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.code == "booster_categories"


def test_columns_in_another_order_are_an_error(tmp_path: Path) -> None:
    frame = named()
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(frame, np.arange(300.0))
    with pytest.raises(ModelError, match="in their order"):
        load(save("xgboost", model, tmp_path / "m", frame[list("bacdef")], np.zeros(300)))


def test_without_a_signature_the_features_name_the_columns(tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(named(), np.arange(300.0))
    assert [column.name for column in load(save("xgboost", model, tmp_path / "a")).signature.columns] == list("abcdef")
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(named().to_numpy(), np.arange(300.0))
    assert load(save("xgboost", model, tmp_path / "b")).signature.columns[0].name == "f0"


def test_threads_share_a_predictor_and_none_is_fine(tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(named(), np.arange(300.0))
    predictor = load(save("xgboost", model, tmp_path / "a"))
    rows = named(400, seed=2).to_numpy()
    expected = predictor.predict(Rows(400, rows), {})["prediction"]
    assert predictor.predict(Rows(0, rows[:0]), {})["prediction"].shape == (0,)

    def ask(start: int) -> bool:
        return all(
            np.array_equal(predictor.predict(Rows(n, rows[i : i + n]), {})["prediction"], expected[i : i + n])
            for i in range(start, 380, 8)
            for n in (1, 16, 17)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


def test_no_heavy_library_is_imported(tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(named(), np.arange(300.0))
    model.save_model(tmp_path / "model.ubj")
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from everloop.models.tabular.loading import load_predictor\n"
        "from everloop.models.tabular.predictor import Rows\n"
        "from everloop.models.tabular.signature import Column, Output, Signature\n"
        "signature = Signature(tuple(Column(c, 'double') for c in 'abcdef'), outputs=(Output('y', 'float32'),))\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "p = load_predictor(folder, flavor='xgboost', signature=signature, options={'file': 'model.ubj'})\n"
        "p.predict(Rows(1, np.zeros((1, 6))), {})\n"
        "heavy = {'xgboost', 'pandas', 'sklearn', 'scipy', 'mlflow', 'yaml', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
