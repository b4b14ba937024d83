"""From a handler to an endpoint: bounds, timeout, errors and metrics, the same for every route."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everloop.core.errors import EverloopError, RequestError, UnavailableError
from everloop.serve.admission import Ending, Visit
from everloop.serve.failures import internal_error, respond, status_of
from everloop.serve.service import Service
from everloop.store.records import Scope

__all__ = ["Handler", "route", "routes"]

Handler: TypeAlias = Callable[[Service, Request], Awaitable[Response]]

_log = logging.getLogger(__name__)


def route(
    service: Service,
    path: str,
    handler: Handler,
    *,
    method: str = "GET",
    scope: Scope = "read",
    is_bounded: bool = True,
) -> Route:
    """A route whose handler may raise any error of Everloop.

    Args:
        service: what the handler works with.
        path: the path, with parameters as Starlette writes them; it is also the metrics' label.
        handler: the handler.
        method: GET (which brings HEAD) or POST.
        scope: what a caller's key must be good for; paths of ``access.public_paths`` need none.
        is_bounded: whether it counts towards ``serve.max_waiting`` and is refused above it; health checks are not.
    """

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        metrics = service.metrics
        if is_bounded:
            service.in_flight += 1
            metrics.in_flight.add(1)
        try:
            response = await _admitted(service, request, handler, scope, is_bounded=is_bounded)
        finally:
            if is_bounded:
                service.in_flight -= 1
                metrics.in_flight.add(-1)
        seconds = time.perf_counter() - started
        metrics.requests(path, request.method, response.status_code).add()
        metrics.latency(path).observe(seconds)
        _leave(service, request, response, seconds, path)
        return response

    return Route(path, endpoint, methods=[method])


async def _admitted(
    service: Service, request: Request, handler: Handler, scope: Scope, *, is_bounded: bool
) -> Response:
    """Answer a request that may come in."""
    admission = service.admission
    is_public = admission.is_public(request.scope["path"].encode())
    try:
        address = request.client.host if request.client else ""
        request.state.visit = admission.admit(request.headers.raw, None if is_public else scope, address)
    except EverloopError as error:
        request.state.error_code = error.code
        return respond(error, path=request.scope["path"])
    response = await _answer(service, request, handler, is_bounded=is_bounded)
    for name, value in request.state.visit.answer_pairs:
        response.headers[name] = value
    return response


def _leave(service: Service, request: Request, response: Response, seconds: float, path: str) -> None:
    """Note how a request ended."""
    visit: Visit | None = getattr(request.state, "visit", None)
    ending = Ending(
        response.status_code,
        seconds,
        path,
        request.method,
        prediction=response.headers.get("x-everloop-prediction", ""),
        release=response.headers.get("x-everloop-release", ""),
        error=getattr(request.state, "error_code", ""),
    )
    if visit is None:
        service.admission.refused(request.headers.raw, ending)
    else:
        service.admission.leave(visit, ending)


async def _answer(service: Service, request: Request, handler: Handler, *, is_bounded: bool) -> Response:
    seconds = service.settings.timeout_seconds
    try:
        if is_bounded:
            service.check_load()
        async with asyncio.timeout(seconds):
            return await handler(service, request)
    except TimeoutError:
        error = _late(request, seconds)
        request.state.error_code = error.code
        return respond(error, path=request.scope["path"])
    except EverloopError as error:
        request.state.error_code = error.code
        if status_of(error) == 500:
            service.metrics.failures.add()
            _log.error("%s %s: [%s] %s", request.method, request.url.path, error.code, error)
        return respond(error, path=request.scope["path"])
    except Exception:
        # Whatever a model of a user's own or a defect raises, the caller gets the one error shape and the next
        # request is served; the cause goes to the log, and the counter shows that there is one.
        _log.exception("%s %s failed", request.method, request.url.path)
        service.metrics.failures.add()
        return respond(internal_error(), path=request.scope["path"])


def _late(request: Request, seconds: float) -> EverloopError:
    """The error of a request that took too long, by whose fault it was."""
    if getattr(request.state, "is_body_awaited", False):
        return RequestError(
            "body_slow", f"the body was not complete within {seconds:g} seconds", hint="send it faster, or in parts"
        )
    return UnavailableError(
        "timeout", f"there was no answer within {seconds:g} seconds", hint="ask for less, or try again"
    )


def routes(service: Service, table: Sequence[tuple[str, str, Handler, Scope]]) -> list[Route]:
    """Bounded routes from a table of method, path, handler and the scope that a caller's key must have."""
    return [route(service, path, handler, method=method, scope=scope) for method, path, handler, scope in table]
