"""A FastAPI application as its documentation teaches: a pydantic model in, a dictionary out."""

from __future__ import annotations

import os

import lightgbm
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
_booster = lightgbm.Booster(model_file=os.environ["BENCH_MODEL"])


class Call(BaseModel):
    """A request: rows of features."""

    rows: list[list[float]]


@app.post("/predict")
async def predict(call: Call) -> dict[str, list[float]]:
    """Predictions for rows; on the event loop, which is faster than its threads for so short a call."""
    return {"predictions": _booster.predict(np.array(call.rows), num_threads=1).tolist()}
