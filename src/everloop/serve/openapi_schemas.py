"""The shapes of requests and answers, for the description of the HTTP interface."""

from __future__ import annotations

from typing import Any

import msgspec

from everloop.serve.forecasting import ForecastBody, OutcomesBody
from everloop.serve.invocations.forms import InvocationsBody
from everloop.serve.v2.datatypes import DATATYPES
from everloop.serve.v2.messages import InferOutput

__all__ = ["schemas"]


class Failure(msgspec.Struct):
    """What went wrong: a stable code, a sentence, what to do next, and the field it is about."""

    code: str
    message: str
    hint: str
    path: str


class FailureAnswer(msgspec.Struct):
    """The one shape of every failure."""

    error: Failure


class InferFailure(Failure):
    """A failure below ``/v2``: the protocol's ``error`` is one sentence; what it is made of stands beside it."""

    error: str


class ForecastAnswer(msgspec.Struct):
    """A forecast.

    Each of ``forecasts`` holds ``series``, ``forecast`` and, for each level, ``lo-80`` and ``hi-80``: lists with a
    number for each of ``times``; null where there is too little evidence for an interval.
    """

    prediction_id: str
    release: str
    state: str
    cutoff: str
    times: list[str]
    forecasts: list[dict[str, Any]]
    notes: list[str]


class StoredPrediction(msgspec.Struct):
    """A prediction as it is stored, with the request that it answered.

    A forecast has ``times``, ``forecasts``, ``state`` and ``notes`` as it was given; a prediction of rows has its
    ``outputs`` by name.
    """

    prediction_id: str
    release: str
    at: str
    role: str
    kind: str
    twin: str | None
    request: Any


class OutcomesAnswer(msgspec.Struct):
    """What became of outcomes."""

    stored: int
    duplicates: int
    unknown_series: list[str]


class InferInput(msgspec.Struct):
    """An input tensor.

    Attributes:
        data: flat in row order, or nested as the shape; null is a missing float. Left out where it follows the JSON as
            binary data, of as many bytes as the parameter ``binary_data_size`` says.
    """

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] = []
    parameters: dict[str, Any] = {}


class InferBody(msgspec.Struct):
    """An inference request.

    Attributes:
        outputs: the outputs wanted, in order; all of them by default.
        parameters: the model's own; and ``binary_data_output``, for outputs as binary data.
        id: given back in the answer.
        model_name: the same as in the path, for clients that repeat it; not looked at.
        model_version: the same.
    """

    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[InferOutput] | None = None
    model_name: str | None = None
    model_version: str | None = None


class InferTensor(msgspec.Struct):
    """An output tensor; numbers that are not there are null."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class InferAnswer(msgspec.Struct):
    """An inference answer; its parameters hold the prediction's id and notes."""

    model_name: str
    model_version: str
    outputs: list[InferTensor]
    parameters: dict[str, Any]
    id: str | None = None


class TensorMetadata(msgspec.Struct):
    """A tensor that a model takes or gives; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelAnswer(msgspec.Struct):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any]


class InvocationsAnswer(msgspec.Struct):
    """Predictions in the order of the rows: objects for forecasts, values for a model with one output."""

    predictions: list[Any]
    prediction_id: str
    release: str


_BODIES = (ForecastBody, OutcomesBody, InferBody, InvocationsBody)
_ANSWERS = (
    FailureAnswer, InferFailure, ForecastAnswer, StoredPrediction, OutcomesAnswer, InferAnswer, ModelAnswer,
    InvocationsAnswer,
)  # fmt: skip
_OPEN = ("StoredPrediction",)


def schemas() -> dict[str, Any]:
    """All shapes by name."""
    _, found = msgspec.json.schema_components((*_BODIES, *_ANSWERS), ref_template="#/components/schemas/{name}")
    for name in ("InferBody", "InferInput", "InferOutput"):
        found[name]["additionalProperties"] = False
    for name in ("InferInput", "InferTensor", "TensorMetadata"):
        found[name]["properties"]["datatype"]["enum"] = list(DATATYPES)
    least = {"InferInput": 0, "InferTensor": 0, "TensorMetadata": -1}
    for name, size in least.items():
        found[name]["properties"]["shape"]["items"]["minimum"] = size
    return dict(found)
