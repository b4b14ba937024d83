"""A BentoML service of one worker."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import lightgbm
import numpy as np


@bentoml.service(workers=1)
class Regressor:
    """Rows in, predictions out."""

    def __init__(self) -> None:
        self.booster = lightgbm.Booster(model_file=os.environ["BENCH_MODEL"])

    @bentoml.api
    def predict(self, rows: list[list[float]]) -> dict[str, Any]:
        """Predictions for rows."""
        return {"predictions": self.booster.predict(np.array(rows), num_threads=1).tolist()}
