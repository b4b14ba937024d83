"""The description of the HTTP interface, OpenAPI 3.1: of any server, or of one with the model that it serves."""

from __future__ import annotations

from typing import Any

from everloop import __version__
from everloop.serve.describing import ModelDescription
from everloop.serve.openapi_schemas import schemas

__all__ = ["describe_api"]

_FAILURES = {
    "400": "The body is no JSON.",
    "401": "A key is missing or unknown.",
    "403": "The key is not good for this.",
    "404": "What the path names is not there.",
    "405": "The method is another.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The content type is another, or the body is compressed.",
    "422": "The request does not fit the model.",
    "429": "The key is used too often; see Retry-After.",
    "500": "A fault of the server or the model.",
    "503": "No release is in charge, the store does not answer, or the server is overloaded; see Retry-After.",
    "504": "The answer took too long.",
}
_ONLY_WITH_BODY = ("408", "413", "415")
_PUBLIC = ("401", "403", "429")
_HORIZON = {"name": "horizon", "in": "query", "schema": {"type": "integer", "minimum": 1}, "description": "Steps."}
_LEVELS = {
    "name": "levels",
    "in": "query",
    "schema": {"type": "string"},
    "description": "Percent, commas between: 80,95.",
}
_UNIT = {
    "name": "X-Everloop-Unit",
    "in": "header",
    "schema": {"type": "string"},
    "description": "What a traffic split is drawn by, so that the same unit always meets the same release.",
}
_RELEASE = {
    "name": "X-Everloop-Release",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The release to ask: a digest or its beginning, `champion` or `challenger`.",
}
_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Where binary data follow the JSON: how many bytes the JSON has.",
}
_ANSWER_HEADERS = {
    name: {"schema": {"type": "string"}, "description": text}
    for name, text in (
        ("X-Everloop-Prediction", "The prediction's id."),
        ("X-Everloop-Release", "The digest of the release that answered."),
        ("X-Everloop-Fallback", "Why another release than the one chosen answered."),
    )
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, as `everloop keys make` gives it."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same in another header."},
}


def describe_api(name: str, model: ModelDescription | None = None) -> dict[str, Any]:
    """The OpenAPI document of a project's server.

    Args:
        name: the project's name.
        model: what it serves, whose own columns and examples are then shown; by default all that any server may have.
    """
    components: dict[str, Any] = {"schemas": schemas(), "securitySchemes": _SECURITY}
    paths = _paths(name)
    if model is not None:
        if model.task != "forecasting":
            paths = {path: item for path, item in paths.items() if not path.startswith("/v1/forecast")}
        _specialise(components["schemas"], paths, model)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Everloop: {name}",
            "version": __version__,
            "description": "Every answer carries its prediction's id and the digest of the release that gave it, in "
            "its body and as X-Everloop-Prediction and X-Everloop-Release.",
        },
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": paths,
        "components": components,
    }


def _specialise(found: dict[str, Any], paths: dict[str, Any], model: ModelDescription) -> None:
    """Put the model's own row, outcome and examples in."""
    told = "SeriesOutcome" if model.task == "forecasting" else "RowOutcome"
    found["OutcomesBody"]["properties"]["outcomes"]["items"] = {"$ref": f"#/components/schemas/{told}"}
    found["Row"] = dict(model.row)
    if model.row["properties"]:
        found["InvocationsBody"]["properties"]["dataframe_records"] = {
            "anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/Row"}}, {"type": "null"}],
            "default": None,
        }
    for example in model.examples:
        path = example.path.replace(f"/v2/models/{model.project}/", "/v2/models/{model}/")
        content = paths.get(path, {}).get("post", {}).get("requestBody", {}).get("content", {})
        if example.body is not None and "application/json" in content:
            shown = content["application/json"].setdefault("examples", {})
            shown[example.name] = {"summary": example.title, "value": example.body}


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
    paths: dict[str, Any] = {
        "/v1/forecast": {"post": _predict("Forecast series", "ForecastBody", "ForecastAnswer", "forecast")},
        "/v1/forecast/{series}": {
            "get": _predict("Forecast one series", "", "ForecastAnswer", "forecastSeries"),
            "parameters": [series, _HORIZON, _LEVELS],
        },
        "/v1/outcomes": {"post": _operation("Tell what happened", "OutcomesBody", "OutcomesAnswer", "outcomes")},
        "/v1/measurements": {
            "post": _operation("Tell what was measured", "MeasurementsBody", "MeasurementsAnswer", "measurements")
        },
        "/v1/predictions/{id}": {
            "get": _operation("A stored prediction", "", "StoredPrediction", "prediction"),
            "parameters": [identifier],
        },
        "/invocations": {
            "post": _predict("Score rows by MLflow's protocol", "InvocationsBody", "InvocationsAnswer", "invocations")
        },
    }
    paths["/invocations"]["post"]["requestBody"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    for prefix, path, parameters in (("", base, [name]), ("version", versioned, [name, version])):
        inference = _predict("Infer by the Open Inference Protocol", "InferBody", "InferAnswer", f"{prefix}Infer")
        inference["parameters"] = [*inference["parameters"], _LENGTH]
        binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        inference["requestBody"]["content"] |= binary
        inference["responses"]["200"]["content"] |= binary
        metadata = _operation("The model's inputs and outputs", "", "ModelAnswer", f"{prefix}Metadata")
        is_ready = _operation("Whether the model is ready", "", "", f"{prefix}Ready")
        paths[f"{path}/infer"] = {"post": inference, "parameters": parameters}
        paths[path] = {"get": metadata, "parameters": parameters}
        paths[f"{path}/ready"] = {"get": is_ready, "parameters": parameters}
    for path, operation in _plain_operations().items():
        paths[path] = {"get": operation}
    for path, item in paths.items():
        for method in {"get", "post"} & set(item):
            _finish(path, item[method])
    return paths


def _plain_operations() -> dict[str, dict[str, Any]]:
    """Everything that is only looked at."""
    table = {
        "/v2": ("The server", "server", "application/json"),
        "/v2/models": ("The models that are served", "models", "application/json"),
        "/v2/health/live": ("Whether the process lives", "live", "application/json"),
        "/v2/health/ready": ("Whether a release is in charge", "ready", "application/json"),
        "/ping": ("Whether a release is in charge (MLflow)", "ping", "text/plain"),
        "/health": ("Whether a release is in charge (MLflow)", "health", "text/plain"),
        "/version": ("Everloop's version (MLflow)", "version", "text/plain"),
        "/metrics": ("Metrics for Prometheus", "metrics", "text/plain"),
        "/try": ("A page to try requests on", "try", "text/html"),
        "/openapi.json": ("This description", "openapi", "application/json"),
        "/": ("What is served", "overview", "application/json"),
    }
    operations = {}
    for path, (summary, identifier, kind) in table.items():
        operation = _operation(summary, "", "", identifier)
        operation["responses"]["200"]["content"] = {
            kind: {"schema": {} if kind.endswith("json") else {"type": "string"}}
        }
        operations[path] = operation
    return operations


def _predict(summary: str, body: str, answer: str, identifier: str) -> dict[str, Any]:
    """An operation that asks the model."""
    operation = _operation(summary, body, answer, identifier)
    operation["parameters"] = [_UNIT, _RELEASE]
    operation["responses"]["200"]["headers"] = _ANSWER_HEADERS
    return operation


def _operation(summary: str, body: str, answer: str, identifier: str) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "The answer.", "content": {"application/json": {"schema": {}}}}
    if answer:
        success["content"] = _json(answer)
    operation: dict[str, Any] = {"summary": summary, "operationId": identifier, "responses": {"200": success}}
    if body:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    return operation


def _finish(path: str, operation: dict[str, Any]) -> None:
    """The failures of an operation, in the form of its path."""
    shape = "InferFailure" if path == "/v2" or path.startswith("/v2/") else "FailureAnswer"
    is_public = path in ("/ping", "/health") or path.startswith("/v2/health/")
    for code, text in _FAILURES.items():
        if ("requestBody" not in operation and code in _ONLY_WITH_BODY) or (is_public and code in _PUBLIC):
            continue
        operation["responses"][code] = {"description": text, "content": _json(shape)}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
