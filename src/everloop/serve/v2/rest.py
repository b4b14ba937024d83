"""The protocol's routes over HTTP.

The model is the project, a version is a release's digest. See https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everloop import __version__
from everloop.serve.answers import no_champion
from everloop.serve.bodies import BINARY, json_response
from everloop.serve.endpoint import Handler, route, routes
from everloop.serve.service import Service
from everloop.serve.v2.core import EXTENSIONS, Question, Reply
from everloop.serve.v2.infer import encode_tensors
from everloop.serve.v2.messages import parse_header_length, read_message, read_tensors, read_wishes
from everloop.serve.v2.service_core import ServiceCore

__all__ = ["inference_routes"]

_LENGTH = "inference-header-content-length"


def inference_routes(service: Service) -> list[Route]:
    """The routes of this protocol."""
    rest = _Rest(ServiceCore(service))
    unbounded: list[tuple[str, Handler]] = [
        ("/v2", rest.server),
        ("/v2/health/live", rest.live),
        ("/v2/health/ready", rest.ready),
    ]
    model = "/v2/models/{model}"
    version = model + "/versions/{version}"
    return [route(service, path, handler, is_bounded=False) for path, handler in unbounded] + routes(
        service,
        [
            ("GET", "/v2/models", rest.models, "read"),
            ("GET", model, rest.metadata, "read"),
            ("GET", version, rest.metadata, "read"),
            ("GET", model + "/ready", rest.model_ready, "read"),
            ("GET", version + "/ready", rest.model_ready, "read"),
            ("POST", model + "/infer", rest.infer, "predict"),
            ("POST", version + "/infer", rest.infer, "predict"),
        ],
    )


class _Rest:
    """The handlers."""

    def __init__(self, core: ServiceCore) -> None:
        self._core = core

    async def server(self, service: Service, request: Request) -> Response:
        return json_response({"name": "everloop", "version": __version__, "extensions": EXTENSIONS})

    async def live(self, service: Service, request: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, service: Service, request: Request) -> Response:
        if not self._core.is_ready():
            raise no_champion()
        return json_response({"ready": True})

    async def models(self, service: Service, request: Request) -> Response:
        return json_response({"models": [self._core.name] if self._core.is_ready() else []})

    async def metadata(self, service: Service, request: Request) -> Response:
        found = self._core.metadata(*_named(request))
        return json_response(found.tree(), headers={"x-everloop-release": found.release})

    async def model_ready(self, service: Service, request: Request) -> Response:
        found = self._core.metadata(*_named(request))
        return json_response({"name": found.name, "ready": True, "version": found.release})

    async def infer(self, service: Service, request: Request) -> Response:
        text = request.headers.get(_LENGTH)
        length = None if text is None else parse_header_length(text)
        body = await service.read_body(request, kinds=BINARY)
        message, binary = read_message(body, length)
        wishes = read_wishes(message.parameters, message.outputs)
        tensors = read_tensors(message, binary)
        model, version = _named(request)
        question = Question(model, version, tensors, wishes, body if length is None else b"")
        reply = await self._core.infer(question, request.state.visit)
        tree: dict[str, Any] = {"model_name": reply.model, "model_version": reply.version}
        if message.id is not None:
            tree["id"] = message.id
        tree["parameters"] = reply.parameters
        lines, content = encode_tensors(reply.outputs, wishes, tree)
        return Response(content, headers=_headers(lines, reply))


def _named(request: Request) -> tuple[str, str | None]:
    """The model and version that the path names."""
    return request.path_params["model"], request.path_params.get("version")


def _headers(lines: bytes, reply: Reply) -> dict[str, str]:
    pairs = (line.partition(": ") for line in lines.decode("ascii").split("\r\n") if line)
    headers = {name: value for name, _, value in pairs}
    headers["x-everloop-prediction"] = reply.prediction_id
    headers["x-everloop-release"] = reply.version
    if reply.fallback:
        headers["x-everloop-fallback"] = reply.fallback
    return headers
