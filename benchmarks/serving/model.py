"""The model that all servers serve: a LightGBM regressor of 500 trees with 63 leaves over 30 features.

It is trained on synthetic data, once for each seed, and kept in the cache folder.
"""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
from numpy.typing import NDArray

from measuring.environments import CACHE

__all__ = ["COLUMNS", "Model", "make_model", "make_rows"]

TREES, LEAVES, FEATURES = 500, 63, 30
COLUMNS = [f"f{place}" for place in range(FEATURES)]
_TRAINING_ROWS = 40_000


@dataclass(frozen=True)
class Model:
    """A trained model on disk.

    Attributes:
        text: LightGBM's own file.
        folder: the same as MLflow saves it, with the signature of 30 numbers.
    """

    text: Path
    folder: Path

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the booster itself answers; shape ``(n,)``."""
        booster = lightgbm.Booster(model_file=str(self.text))
        return np.asarray(booster.predict(rows, num_threads=1), dtype=np.float64)


def make_rows(n: int, seed: int) -> NDArray[np.float64]:
    """Rows of features with six decimals; shape ``(n, 30)``."""
    return np.random.default_rng(seed).normal(size=(n, FEATURES)).round(6)


def make_model(seed: int) -> Model:
    """The model of a seed, from the cache where it was trained before."""
    folder = CACHE / f"model-{TREES}-{LEAVES}-{FEATURES}-{seed}-lightgbm-{lightgbm.__version__}"
    model = Model(folder / "model.txt", folder / "mlflow")
    if not (folder / ".complete").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _train(seed).save_model(str(model.text))
        _save_by_mlflow(model)
        (folder / ".complete").touch()
    return model


def _train(seed: int) -> lightgbm.Booster:
    rows = make_rows(_TRAINING_ROWS, seed)
    random = np.random.default_rng(seed)
    target = rows[:, :10] @ random.normal(size=10) + np.sin(3 * rows[:, 10]) * rows[:, 11] + np.abs(rows[:, 12])
    target += random.normal(scale=0.5, size=len(rows))
    parameters = {
        "objective": "regression",
        "num_leaves": LEAVES,
        "learning_rate": 0.05,
        "min_data_in_leaf": 20,
        "verbosity": -1,
        "seed": seed,
    }
    data = lightgbm.Dataset(rows, target, feature_name=COLUMNS)
    return lightgbm.train(parameters, data, num_boost_round=TREES)


def _save_by_mlflow(model: Model) -> None:
    # importing MLflow takes seconds, and mostly the model is in the cache
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.lightgbm
        import pandas as pd
        from mlflow.models import infer_signature

        booster = lightgbm.Booster(model_file=str(model.text))
        frame = pd.DataFrame(make_rows(100, 1), columns=COLUMNS)
        signature = infer_signature(frame, booster.predict(frame))
        mlflow.lightgbm.save_model(
            booster, str(model.folder), signature=signature, input_example=frame[:5], pip_requirements=["lightgbm"]
        )
