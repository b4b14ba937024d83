"""Any other model of MLflow's is asked through MLflow, with its parameters and in its forms."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from everloop.core.errors import ModelError
from everloop.models.tabular.predictor import Rows
from models.tabular.oracle import load, rows_of, shop_rows

import everloop.experiment.mlflow_client  # noqa: F401 isort: skip - sets MLflow's switches before it is imported

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's own use of what its dependencies have deprecated
    import mlflow.pyfunc  # isort: skip
    from mlflow.models import infer_signature  # isort: skip

pytestmark = pytest.mark.filterwarnings("ignore")


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow misses types that it could check

    class Weighing(mlflow.pyfunc.PythonModel):
        """Answers in the form that it was made for."""

        def __init__(self, form: str) -> None:
            self.form = form

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            factor = (params or {}).get("factor", 1.0)
            if self.form == "tensor":
                return model_input.sum(axis=1) * factor
            value = (model_input["price"] + model_input["people"]) * factor
            if self.form == "frame":
                return pd.DataFrame({"weight": value, "where": model_input["shop"].str.upper()})
            if self.form == "short":
                return value.to_numpy()[:-1]
            return {"array": value.to_numpy(), "list": value.tolist(), "series": value}[self.form]


def saved(folder: Path, form: str, outputs: Any, inputs: Any = None) -> Path:
    inputs = shop_rows(5, missing=0.0) if inputs is None else inputs
    signature = infer_signature(inputs, outputs, params={"factor": 1.0})
    mlflow.pyfunc.save_model(str(folder), python_model=Weighing(form), signature=signature, pip_requirements=["mlflow"])
    return folder


@pytest.mark.parametrize("form", ["array", "list", "series"])
def test_a_model_answers_with_its_parameters(tmp_path: Path, form: str) -> None:
    predictor = load(saved(tmp_path / "m", form, np.zeros(5)), allow_pickle=True)
    assert predictor.flavor == "pyfunc"
    frame = shop_rows(20, missing=0.0)
    found = predictor.predict(rows_of(frame, predictor.signature), {"factor": 2.0})
    np.testing.assert_array_equal(found["prediction"], (frame["price"] + frame["people"]) * 2.0)
    assert [each.name for each in predictor.signature.parameters] == ["factor"]


def test_a_frame_gives_several_outputs(tmp_path: Path) -> None:
    outputs = pd.DataFrame({"weight": [1.0], "where": ["EAST"]})
    predictor = load(saved(tmp_path / "m", "frame", outputs), allow_pickle=True)
    assert [(each.name, each.dtype) for each in predictor.signature.outputs] == [
        ("weight", "float64"),
        ("where", "object"),
    ]
    frame = shop_rows(6, missing=0.0)
    found = predictor.predict(rows_of(frame, predictor.signature), {})
    assert found["where"].tolist() == frame["shop"].str.upper().tolist()


def test_a_tensor_goes_as_it_came(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    predictor = load(saved(tmp_path / "m", "tensor", rows.sum(axis=1), rows), allow_pickle=True)
    [tensor] = predictor.signature.tensors
    found = predictor.predict(Rows(4, tensors={tensor.name: rows}), {"factor": 3.0})
    np.testing.assert_array_equal(found["prediction"], rows.sum(axis=1) * 3.0)


def test_code_needs_leave_and_each_row_an_answer(tmp_path: Path) -> None:
    folder = saved(tmp_path / "m", "short", np.zeros(5))
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert caught.value.code == "pickle_refused"
    predictor = load(folder, allow_pickle=True)
    with pytest.raises(ModelError, match="4 values of 'prediction' for 5 rows"):
        predictor.predict(rows_of(shop_rows(5, missing=0.0), predictor.signature), {})


def test_what_the_model_raises_is_a_models_error(tmp_path: Path) -> None:
    predictor = load(saved(tmp_path / "m", "unknown form", np.zeros(5)), allow_pickle=True)
    with pytest.raises(ModelError, match="KeyError") as caught:
        predictor.predict(rows_of(shop_rows(2, missing=0.0), predictor.signature), {})
    assert caught.value.code == "model_failed"
