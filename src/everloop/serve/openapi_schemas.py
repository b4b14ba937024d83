"""The shapes of requests and answers, for the description of the HTTP interface."""

from __future__ import annotations

from typing import Any

import msgspec

from everloop.serve.feedback import MeasurementsBody, OutcomesBody
from everloop.serve.forecasting import ForecastBody
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


class SeriesOutcome(msgspec.Struct, forbid_unknown_fields=True):
    """What really happened to a series at an instant. A later one for the same two corrects it.

    Attributes:
        series: a text such as "CA_1/FOODS_1_001", or an object of the series columns.
        time: a date or an ISO instant.
        value: what happened.
        prediction_id: an answer that it is about; it need not be said.
        id: your own, by which a repeat is known.
    """

    series: str | dict[str, Any]
    time: str
    value: float
    prediction_id: str | None = None
    id: str | None = None


class RowOutcome(msgspec.Struct, forbid_unknown_fields=True):
    """What really came of a row. A later one for the same row corrects it.

    Attributes:
        prediction_id: the id that the answer carried.
        row: the number of the row in its request, from 0; needed where it had several.
        value: the truth as a number; either this or the label is needed.
        label: the truth as the text of a class.
        at: when it happened, ISO.
        id: your own, by which a repeat is known.
    """

    prediction_id: str
    row: int | None = None
    value: float | bool | None = None
    label: str | None = None
    at: str | None = None
    id: str | None = None


class UnitMeasurement(msgspec.Struct, forbid_unknown_fields=True):
    """A number about a unit at an instant. A later one for the same unit, metric and instant corrects it.

    Attributes:
        unit: what a split draws by: a series, a column's value, or what X-Everloop-Unit said.
        metric: what was measured.
        value: the number.
        at: the instant, ISO.
        id: your own, by which a repeat is known.
    """

    unit: str | int
    metric: str
    value: float
    at: str
    id: str | None = None


class OutcomesAnswer(msgspec.Struct):
    """What became of outcomes.

    Attributes:
        stored: how many were new.
        duplicates: how many were known already.
        unknown_series: series that no release forecasts yet; their outcomes are kept. Of forecasts only.
        unknown_predictions: ids of no stored answer; their outcomes are kept and wait. Of models of rows only.
    """

    stored: int
    duplicates: int
    unknown_series: list[str] = []
    unknown_predictions: list[str] = []


class MeasurementsAnswer(msgspec.Struct):
    """What became of measurements: how many were new, and how many were known already."""

    stored: int
    duplicates: int


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


_BODIES = (
    ForecastBody, OutcomesBody, MeasurementsBody, SeriesOutcome, RowOutcome, UnitMeasurement, InferBody,
    InvocationsBody,
)  # fmt: skip
_ANSWERS = (
    FailureAnswer, InferFailure, ForecastAnswer, StoredPrediction, OutcomesAnswer, MeasurementsAnswer, InferAnswer,
    ModelAnswer, InvocationsAnswer,
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
    found["RowOutcome"]["properties"]["row"]["anyOf"][0]["minimum"] = 0
    found["OutcomesBody"]["properties"]["outcomes"]["items"] = {"anyOf": [_ref("SeriesOutcome"), _ref("RowOutcome")]}
    found["MeasurementsBody"]["properties"]["measurements"]["items"] = _ref("UnitMeasurement")
    return dict(found)


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
