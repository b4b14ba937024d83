"""The description of the HTTP interface, OpenAPI 3.1, made from the records that requests are decoded into."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from everloop import __version__
from everloop.serve.forecasting import ForecastBody, OutcomesBody
from everloop.serve.invocations.forms import InvocationsBody
from everloop.serve.v2.messages import InferBody

__all__ = ["describe_api"]


class Failure(msgspec.Struct):
    """What went wrong: a stable code, a sentence, what to do next, and the field it is about."""

    code: str
    message: str
    hint: str
    path: str


class FailureAnswer(msgspec.Struct):
    """The one shape of every failure."""

    error: Failure


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


class StoredPrediction(ForecastAnswer):
    """A prediction as it is stored, with the request that it answered."""

    at: str
    role: str
    kind: str
    twin: str | None
    request: dict[str, Any]


class OutcomesAnswer(msgspec.Struct):
    """What became of outcomes."""

    stored: int
    duplicates: int
    unknown_series: list[str]


class InferTensor(msgspec.Struct):
    """An output tensor; numbers that are not there are null."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class InferAnswer(msgspec.Struct):
    """An inference answer; its parameters hold the prediction's id, the state and notes."""

    model_name: str
    model_version: str
    outputs: list[InferTensor]
    parameters: dict[str, Any]
    id: str | None = None


class InvocationsAnswer(msgspec.Struct):
    """Predictions in the order of the rows."""

    predictions: list[dict[str, Any]]
    prediction_id: str
    release: str


_BODIES = (ForecastBody, OutcomesBody, InferBody, InvocationsBody)
_ANSWERS = (
    FailureAnswer, ForecastAnswer, StoredPrediction, OutcomesAnswer, InferAnswer, InvocationsAnswer,
)  # fmt: skip
_FAILURES = {
    "400": "The body is no JSON.",
    "404": "What the path names is not there.",
    "405": "The method is another.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is no JSON by its content type.",
    "422": "The request does not fit the model.",
    "500": "A fault of the server or the model.",
    "503": "No release is in charge, the store does not answer, or the server is overloaded; see Retry-After.",
    "504": "The answer took too long.",
}
_HORIZON = {"name": "horizon", "in": "query", "schema": {"type": "integer", "minimum": 1}, "description": "Steps."}
_LEVELS = {
    "name": "levels", "in": "query", "schema": {"type": "string"}, "description": "Percent, commas between: 80,95.",
}  # fmt: skip


@cache
def describe_api(model: str) -> dict[str, Any]:
    """The OpenAPI document of a project's server; ``model`` is the project's name."""
    _, schemas = msgspec.json.schema_components((*_BODIES, *_ANSWERS), ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Everloop: {model}",
            "version": __version__,
            "description": "Every answer carries its prediction's id and the digest of the release that gave it, in "
            "its body and as X-Everloop-Prediction and X-Everloop-Release.",
        },
        "paths": _paths(model),
        "components": {"schemas": schemas},
    }


def _paths(model: str) -> dict[str, Any]:
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string", "const": model}}
    version = {
        "name": "version", "in": "path", "required": True, "schema": {"type": "string"}, "description": "A digest.",
    }  # fmt: skip
    series = {
        "name": "series", "in": "path", "required": True, "schema": {"type": "string"},
        "description": "The series' column values with / between; a / within a value is %2F.",
    }  # fmt: skip
    identifier = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    base, versioned = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    infer = _operation("Infer by the Open Inference Protocol", body="InferBody", answer="InferAnswer")
    return {
        "/v1/forecast": {"post": _operation("Forecast series", body="ForecastBody", answer="ForecastAnswer")},
        "/v1/forecast/{series}": {
            "get": _operation("Forecast one series", answer="ForecastAnswer"),
            "parameters": [series, _HORIZON, _LEVELS],
        },
        "/v1/outcomes": {"post": _operation("Tell what happened", body="OutcomesBody", answer="OutcomesAnswer")},
        "/v1/predictions/{id}": {
            "get": _operation("A stored prediction", answer="StoredPrediction"),
            "parameters": [identifier],
        },
        "/invocations": {
            "post": _operation("Score rows by MLflow's protocol", body="InvocationsBody", answer="InvocationsAnswer")
        },
        f"{base}/infer": {"post": infer, "parameters": [name]},
        f"{versioned}/infer": {"post": infer, "parameters": [name, version]},
        base: {"get": _operation("The model's inputs and outputs"), "parameters": [name]},
        versioned: {"get": _operation("The model's inputs and outputs"), "parameters": [name, version]},
        f"{base}/ready": {"get": _operation("Whether the model is ready"), "parameters": [name]},
        f"{versioned}/ready": {"get": _operation("Whether a version is ready"), "parameters": [name, version]},
        "/v2": {"get": _operation("The server")},
        "/v2/health/live": {"get": _operation("Whether the process lives")},
        "/v2/health/ready": {"get": _operation("Whether a release is in charge")},
        "/ping": {"get": _operation("Whether a release is in charge (MLflow)")},
        "/health": {"get": _operation("Whether a release is in charge (MLflow)")},
        "/version": {"get": _operation("Everloop's version (MLflow)")},
        "/metrics": {"get": _operation("Metrics for Prometheus")},
        "/": {"get": _operation("What is served")},
    }


def _operation(summary: str, *, body: str = "", answer: str = "") -> dict[str, Any]:
    success: dict[str, Any] = {"description": "The answer."}
    if answer:
        success["content"] = _json(answer)
    codes = _FAILURES if body else {code: text for code, text in _FAILURES.items() if code not in ("408", "413", "415")}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": success}
        | {code: {"description": text, "content": _json("FailureAnswer")} for code, text in codes.items()},
    }
    if body:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
