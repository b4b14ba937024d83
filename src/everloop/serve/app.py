"""The web application: all protocols over one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from everloop import __version__
from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, NotFoundError, RequestError, nearest
from everloop.core.project import Project
from everloop.serve.admission import Ending
from everloop.serve.bodies import json_response
from everloop.serve.doors.rules import Exposure
from everloop.serve.doors.tls import open_certificate
from everloop.serve.endpoint import route
from everloop.serve.failures import internal_error, respond
from everloop.serve.feedback import feedback_routes
from everloop.serve.forecasting import forecasting_routes
from everloop.serve.gate import Gate
from everloop.serve.invocations.routes import scoring_routes
from everloop.serve.loading import Loaded
from everloop.serve.metrics import Metrics
from everloop.serve.playground.routes import playground_routes
from everloop.serve.served import Served
from everloop.serve.service import Service
from everloop.serve.v2.rest import inference_routes
from everloop.store.engine import Store

if TYPE_CHECKING:
    from everloop.serve.v2.grpc_server import GrpcServer

__all__ = ["build_app"]


def build_app(
    project: Project,
    store: Store,
    clock: Clock,
    *,
    metrics: Metrics | None = None,
    exposure: Exposure | None = None,
) -> Starlette:
    """The ASGI application of a project.

    Its lifespan starts and stops the service, so it must be run by a server that supports it. ``app.state.gate`` is
    for :class:`everloop.serve.http.connection.Connection`, which takes hot requests past the application.
    """
    service = Service(project, store, clock, metrics=metrics, exposure=exposure)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.start()
        grpc = await _start_grpc(service)
        try:
            yield
        finally:
            if grpc is not None:
                await grpc.stop(service.settings.timeout_seconds)
            service.stop()

    routes = [
        route(service, "/", _overview, is_bounded=False),
        route(service, "/metrics", _metrics, is_bounded=False),
        *playground_routes(service),
        *forecasting_routes(service),
        *feedback_routes(service),
        *inference_routes(service),
        *scoring_routes(service),
    ]
    paths = [each.path for each in routes]

    async def http_failure(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = error.status_code
        service.metrics.requests("other", _method(request), status).add()
        problem = _routing_error(request, status, paths)
        ending = Ending(status, 0.0, "other", _method(request), error=problem.code)
        service.admission.refused(request.headers.raw, ending)
        return respond(problem, headers=dict(error.headers or {}), path=request.scope["path"])

    async def failure(request: Request, error: Exception) -> Response:
        return respond(internal_error(), path=request.scope["path"])

    app = Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={HTTPException: http_failure, Exception: failure}
    )
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.gate = Gate(service)
    return app


async def _start_grpc(service: Service) -> GrpcServer | None:
    """The gRPC door beside HTTP's, where ``serve.grpc_port`` opens one."""
    settings = service.settings
    if not settings.grpc_port:
        return None
    from everloop.serve.v2.grpc_server import GrpcBounds, start_grpc  # what few servers need
    from everloop.serve.v2.service_core import ServiceCore

    bounds = GrpcBounds(settings.max_body_bytes, settings.timeout_seconds, settings.max_waiting)
    certificate = open_certificate(service.project.settings, service.project.root)
    return await start_grpc(
        ServiceCore(service),
        service.exposure.host,
        settings.grpc_port,
        bounds=bounds,
        tls=None if certificate is None else certificate.pem(),
        is_shared=service.metrics.is_shared,
    )


def _method(request: Request) -> str:
    """The method as a label: a caller may invent methods, a label may not have endless values."""
    known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    return request.method if request.method in known else "other"


def _routing_error(request: Request, status: int, paths: list[str]) -> EverloopError:
    path = request.url.path[:200]
    if status == 405:
        return RequestError(
            "method", f"{path} does not take {request.method[:20]}", hint="see /openapi.json", path="method"
        )
    if status == 404:
        return NotFoundError("path_unknown", f"there is nothing at {path}", hint=nearest(path, paths), path=path)
    return RequestError("json", "the request cannot be read", hint="see /openapi.json")


async def _overview(service: Service, request: Request) -> Response:
    """What is served, in short."""
    serving = service.host.serving
    roles = {"champion": serving.champion, "challenger": serving.challenger}
    return json_response(
        {
            "name": service.project.name,
            "everloop": __version__,
            "ready": serving.champion is not None,
            "releases": {role: _described(served) for role, served in roles.items() if served is not None},
            "links": ["/v1/forecast", "/v2", "/invocations", "/metrics", "/openapi.json", "/try"],
        }
    )


def _described(served: Loaded) -> dict[str, Any]:
    manifest = served.release.manifest
    tree: dict[str, Any] = {"release": served.release.digest, "candidate": manifest.candidate, "task": manifest.task}
    if isinstance(served, Served):
        return tree | {
            "state": served.state,
            "cutoff": served.cutoff.isoformat(),
            "series": len(served.keys),
            "horizon": manifest.horizon,
        }
    return tree | {"flavor": manifest.flavor, "batch": served.pace.note, "way": served.way}


async def _metrics(service: Service, request: Request) -> Response:
    from prometheus_client import CONTENT_TYPE_LATEST  # what no server needs before it answers

    from everloop.serve.standing import standing_text

    return Response(
        service.metrics.text() + await standing_text(service), headers={"content-type": CONTENT_TYPE_LATEST}
    )
