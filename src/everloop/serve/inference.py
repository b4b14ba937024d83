"""The Open Inference Protocol, version 2, over REST.

The model is the project, a version is a release's digest. Inputs are ``series`` (BYTES, one text for each series), or
one tensor for each series column, and perhaps known-ahead columns of shape ``[series, steps]``; parameters are
``horizon`` and ``levels``. Outputs are ``forecast``, ``lo-80``, ``hi-80`` ... of shape ``[series, steps]`` and
``time`` of shape ``[steps]``. See https://github.com/open-inference/open-inference-protocol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everloop import __version__
from everloop.core.errors import NotFoundError, RequestError, nearest
from everloop.data.panel import join_key
from everloop.serve.answers import Answer, no_champion
from everloop.serve.bodies import decode, json_response, read_body
from everloop.serve.endpoint import route, routes
from everloop.serve.forecasting import answer_headers
from everloop.serve.query import ForecastQuery, level_labels
from everloop.serve.served import Served
from everloop.serve.service import Service

__all__ = ["InferBody", "InferInput", "InferOutput", "inference_routes"]

_NUMBERS = (
    "FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8", "BOOL",
)  # fmt: skip
_DATATYPES = (*_NUMBERS, "BYTES")


class InferInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input tensor; ``data`` is flat in row order, or nested."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


class InferOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inference request."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[InferOutput] | None = None


_INFER = msgspec.json.Decoder(InferBody)


def inference_routes(service: Service) -> list[Route]:
    """The routes of this protocol."""
    unbounded = [
        route(service, path, handler, is_bounded=False)
        for path, handler in (("/v2", _server), ("/v2/health/live", _live), ("/v2/health/ready", _ready))
    ]
    model = "/v2/models/{model}"
    version = model + "/versions/{version}"
    return unbounded + routes(
        service,
        [
            ("GET", model, _metadata, "read"),
            ("GET", version, _metadata, "read"),
            ("GET", model + "/ready", _model_ready, "read"),
            ("GET", version + "/ready", _model_ready, "read"),
            ("POST", model + "/infer", _infer, "predict"),
            ("POST", version + "/infer", _infer, "predict"),
        ],
    )


async def _server(service: Service, request: Request) -> Response:
    return json_response({"name": "everloop", "version": __version__, "extensions": []})


async def _live(service: Service, request: Request) -> Response:
    return json_response({"live": True})


async def _ready(service: Service, request: Request) -> Response:
    is_ready = service.host.serving.champion is not None
    if not is_ready:
        raise no_champion()
    return json_response({"ready": True})


async def _model_ready(service: Service, request: Request) -> Response:
    served = _named(service, request)
    return json_response({"name": service.project.name, "ready": True, "version": served.release.digest})


async def _metadata(service: Service, request: Request) -> Response:
    served = _named(service, request)
    manifest = served.release.manifest
    ahead = [
        {"name": name, "datatype": "BYTES" if name in served.panel.categories else "FP64", "shape": [-1, -1]}
        for name in sorted(served.panel.known)
    ]
    return json_response(
        {
            "name": service.project.name,
            "versions": [served.release.digest],
            "platform": "everloop",
            "inputs": [{"name": "series", "datatype": "BYTES", "shape": [-1]}, *ahead],
            "outputs": [
                {"name": "time", "datatype": "BYTES", "shape": [-1]},
                *({"name": name, "datatype": "FP64", "shape": [-1, -1]} for name in _bounds(manifest.levels)),
            ],
            "parameters": {
                "horizon": manifest.horizon,
                "levels": manifest.levels,
                "series_columns": manifest.columns.series,
                "candidate": manifest.candidate,
                "cutoff": served.cutoff.isoformat(),
            },
        },
        headers={"x-everloop-release": served.release.digest},
    )


async def _infer(service: Service, request: Request) -> Response:
    served = _named(service, request)
    body = decode(await read_body(request, most=service.settings.max_body_bytes), _INFER)
    query = _query_of(body, served)
    levels = query.levels if query.levels is not None else tuple(map(float, service.project.settings.forecast.levels))
    wanted = _wanted(body, levels)
    choice = service.choose_forecast(request.state.visit, query)
    answer = await service.forecast(query, kind="infer", choice=choice)
    tensors = _tensors(answer)
    tree: dict[str, Any] = {
        "model_name": service.project.name,
        "model_version": answer.release,
        "outputs": [tensors[name]() for name in wanted or tensors],
        "parameters": {"prediction_id": answer.prediction_id, "state": answer.state, "notes": list(answer.notes)},
    }
    if body.id is not None:
        tree["id"] = body.id
    return json_response(tree, headers=answer_headers(answer))


def _named(service: Service, request: Request) -> Served:
    """The release that the path names.

    Raises:
        NotFoundError: the model or the version is another.
        UnavailableError: nobody is in charge.
    """
    model = request.path_params["model"]
    if model != service.project.name:
        raise NotFoundError(
            "model_unknown",
            f"there is no model {model[:80]!r}",
            hint=f"this server serves {service.project.name!r}",
            path="model",
        )
    served = service.champion()
    if not isinstance(served, Served):
        raise NotFoundError("no_forecasts", "this project's model takes rows", hint="see /openapi.json")
    version = request.path_params.get("version")
    if version is not None and version != served.release.digest:
        raise NotFoundError(
            "version_unknown",
            f"version {version[:80]!r} is not served",
            hint=f"the champion is {served.release.digest}",
            path="version",
        )
    return served


def _query_of(body: InferBody, served: Served) -> ForecastQuery:
    """The question that a V2 request asks."""
    columns = served.panel.series_columns
    known = ("series", *columns, *served.panel.known)
    tensors: dict[str, tuple[list[Any], list[int]]] = {}
    for place, each in enumerate(body.inputs):
        path = f"inputs[{place}]"
        if each.name not in known:
            raise RequestError(
                "input_unknown", f"{each.name[:80]!r} is no input", hint=nearest(each.name[:80], known), path=path
            )
        if each.name in tensors:
            raise RequestError("input_twice", f"{each.name!r} is given twice", hint="give it once", path=path)
        tensors[each.name] = (_flat(each, path), each.shape)
    series = _series_of(tensors, columns)
    n = len(served.keys) if series is None else len(series)
    future = {
        name: _matrix(name, tensors[name], n)
        for name in tensors
        if name in served.panel.known and name != "series" and name not in columns
    }
    return ForecastQuery(series, _horizon(body.parameters), _levels(body.parameters), future)


def _flat(tensor: InferInput, path: str) -> list[Any]:
    """A tensor's elements in row order, checked against its shape and datatype."""
    if tensor.datatype not in _DATATYPES:
        hint = nearest(tensor.datatype[:20], _DATATYPES)
        raise RequestError("input_datatype", f"{tensor.datatype[:20]!r} is no datatype", hint=hint, path=path)
    if any(size < 0 for size in tensor.shape):
        raise RequestError("input_shape", f"{tensor.name!r} has a negative size", hint="give sizes", path=path)
    data = tensor.data
    for _ in range(len(tensor.shape) - 1):
        if not (data and all(isinstance(each, list) for each in data)):
            break
        data = [element for each in data for element in each]
    if len(data) != math.prod(tensor.shape):
        raise RequestError(
            "input_shape",
            f"{tensor.name!r} has {len(data)} elements, its shape means {math.prod(tensor.shape)}",
            hint="the elements are in row order",
            path=path,
        )
    is_bytes = tensor.datatype == "BYTES"
    for element in data:
        is_right = isinstance(element, str) if is_bytes else isinstance(element, int | float | None)
        if not is_right:
            raise RequestError(
                "input_data",
                f"{tensor.name!r}: {element!r:.60} is no {tensor.datatype}",
                hint="BYTES are texts, the others numbers; null keeps the stored value",
                path=path,
            )
    return data


def _series_of(
    tensors: Mapping[str, tuple[list[Any], list[int]]], columns: tuple[str, ...]
) -> tuple[str | Mapping[str, Any], ...] | None:
    """The series that the tensors name; ``None``, which is all, where none does."""
    if "series" in tensors and "series" not in columns:
        return tuple(str(each) for each in tensors["series"][0])
    given = [name for name in columns if name in tensors]
    if not given:
        return None
    missing = [name for name in columns if name not in tensors]
    if missing:
        raise RequestError(
            "input_missing",
            f"the series column {missing[0]!r} is missing",
            hint=f"give a tensor for each of {', '.join(columns)}, or 'series' alone",
            path="inputs",
        )
    lengths = {len(tensors[name][0]) for name in columns}
    if len(lengths) > 1:
        raise RequestError(
            "input_shape", "the series columns have different lengths", hint="one element a series", path="inputs"
        )
    rows = zip(*(tensors[name][0] for name in columns), strict=True)
    return tuple(join_key(tuple(str(value) for value in row)) for row in rows)


def _matrix(name: str, tensor: tuple[list[Any], list[int]], n: int) -> Any:
    """A known-ahead tensor as one list for each series."""
    data, shape = tensor
    if len(shape) != 2 or shape[0] != n:
        raise RequestError(
            "input_shape", f"{name!r} has shape {shape[:4]}, not [{n}, steps]", hint="a row a series", path=name
        )
    steps = shape[1]
    return [data[place * steps : (place + 1) * steps] for place in range(n)]


def _horizon(parameters: Mapping[str, Any]) -> int | None:
    for name in parameters:
        if name not in ("horizon", "levels", "binary_data_output", "timeout"):
            hint = nearest(name[:80], ["horizon", "levels"])
            raise RequestError(
                "field_unknown", f"{name[:80]!r} is no parameter", hint=hint, path=f"parameters.{name[:80]}"
            )
    value = parameters.get("horizon")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise RequestError(
            "field", f"expected a whole number, got {value!r:.40}", hint="steps", path="parameters.horizon"
        )
    return int(value)


def _levels(parameters: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Levels as a list, a number, or a text with commas, since the protocol's parameters are scalars."""
    value = parameters.get("levels")
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    try:
        if any(isinstance(part, bool) for part in parts):
            raise ValueError
        return tuple(float(part) for part in parts if part != "")
    except (TypeError, ValueError, OverflowError):
        raise RequestError(
            "field", f"expected levels in percent, got {value!r:.60}", hint="'80,95'", path="parameters.levels"
        ) from None


def _bounds(levels: tuple[float, ...]) -> list[str]:
    return ["forecast", *(name for level in levels for name in level_labels(level))]


def _wanted(body: InferBody, levels: tuple[float, ...]) -> list[str]:
    """The outputs asked for, checked before anything is computed."""
    known = ["time", *_bounds(levels)]
    for place, each in enumerate(body.outputs or []):
        if each.name not in known:
            hint = nearest(each.name[:80], known)
            raise RequestError(
                "output_unknown", f"{each.name[:80]!r} is no output", hint=hint, path=f"outputs[{place}]"
            )
    return [each.name for each in body.outputs or []]


def _tensors(answer: Answer) -> dict[str, Any]:
    """Makers of the output tensors by name, so that only those asked for are made."""
    values = answer.values
    shape = list(values.mean.shape)

    def numbers(name: str, array: Any) -> Any:
        return lambda: {"name": name, "datatype": "FP64", "shape": shape, "data": array.ravel().tolist()}

    times = {"name": "time", "datatype": "BYTES", "shape": [shape[1]], "data": answer.labels}
    makers = {"forecast": numbers("forecast", values.mean)}
    for level in values.lower:
        low, high = level_labels(level)
        makers[low] = numbers(low, values.lower[level])
        makers[high] = numbers(high, values.upper[level])
    return makers | {"time": lambda: times}
