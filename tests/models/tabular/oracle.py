"""Models saved by MLflow, and what its own pyfunc answers: the oracle of every predictor."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import everloop.experiment.mlflow_client  # noqa: F401 - sets MLflow's switches before it is imported
from everloop.models.tabular.loading import load_predictor
from everloop.models.tabular.mlmodel import read_mlmodel
from everloop.models.tabular.predictor import Predictor, Rows
from everloop.models.tabular.recognizing import recognize
from everloop.models.tabular.signature import Signature


def numbers(n: int, width: int, *, seed: int = 0, missing: float = 0.1) -> np.ndarray:
    """Rows of numbers, some missing."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, width))
    rows[random.random(rows.shape) < missing] = np.nan
    return rows


def shop_rows(n: int, *, seed: int = 0, missing: float = 0.1) -> pd.DataFrame:
    """Rows of numbers, whole numbers, truths and texts."""
    random = np.random.default_rng(seed)
    price = random.normal(10, 3, size=n)
    price[random.random(n) < missing] = np.nan
    return pd.DataFrame(
        {
            "price": price,
            "people": random.integers(0, 9, n),
            "shop": random.choice(["east", "west", "north"], n),
            "open": random.random(n) < 0.5,
        }
    )


def save(library: str, model: Any, folder: Path, inputs: Any = None, outputs: Any = None, **options: Any) -> Path:
    """Save a model by MLflow, without the slow look for what it requires."""
    import importlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow
        from mlflow.models import infer_signature

        if inputs is not None:
            options["signature"] = infer_signature(inputs, outputs)
        if library == "sklearn":
            options = {"serialization_format": "cloudpickle"} | options
        importlib.import_module(f"mlflow.{library}")
        getattr(mlflow, library).save_model(model, path=str(folder), pip_requirements=[library], **options)
    return folder


def ask_pyfunc(folder: Path, data: Any) -> Any:
    """What plain MLflow answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(str(folder)).predict(data)


def load(folder: Path, *, allow_pickle: bool = False) -> Predictor:
    """Recognize and load, as adopting and serving do."""
    found = recognize(folder, read_mlmodel(folder), allow_pickle=allow_pickle)
    return load_predictor(
        folder, flavor=found.flavor, signature=found.signature, options=found.options, allow_pickle=allow_pickle
    )


def rows_of(frame: pd.DataFrame, signature: Signature) -> Rows:
    """A frame as the rows that a server would hand to a predictor."""
    types = [column.type for column in signature.columns]
    names = [column.name for column in signature.columns]
    if not {"string", "binary", "datetime"} & set(types):
        return Rows(len(frame), matrix=np.ascontiguousarray(frame[names].to_numpy(dtype=np.float64)))
    columns = {}
    for name, kind in zip(names, types, strict=True):
        values = frame[name].to_numpy()
        if kind == "string":
            values = np.array([None if each is None or each != each else str(each) for each in values], dtype=object)
        elif kind == "datetime":
            values = values.astype("M8[us]")
        columns[name] = values
    return Rows(len(frame), columns=columns)


def part(rows: Rows, which: slice) -> Rows:
    """Some of the rows."""
    n = len(range(*which.indices(rows.n)))
    return Rows(
        n,
        matrix=None if rows.matrix is None else rows.matrix[which],
        columns={name: values[which] for name, values in rows.columns.items()},
        tensors={name: values[which] for name, values in rows.tensors.items()},
    )


def one_by_one(predictor: Predictor, rows: Rows) -> dict[str, np.ndarray]:
    """The answers to each row asked alone."""
    found = [predictor.predict(part(rows, slice(i, i + 1)), {}) for i in range(rows.n)]
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
