"""The protocol over gRPC, on a port of its own; needs the extra ``grpc``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from everloop import __version__
from everloop.core.errors import EverloopError, UnavailableError
from everloop.serve.failures import internal_error, status_of
from everloop.serve.v2.core import EXTENSIONS, InferenceCore
from everloop.serve.v2.grpc_messages import METHODS, SERVICE, grpc_messages
from everloop.serve.v2.grpc_tensors import question_of, response_of
from everloop.store.records import Scope

__all__ = ["GrpcBounds", "GrpcServer", "start_grpc"]

_log = logging.getLogger(__name__)

Answer: TypeAlias = tuple[Any, str]
"""A response message, and the id of the prediction in it, or nothing."""

_GONE = 499  # the caller went away before there was an answer, as proxies write it
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_SCOPES: dict[str, Scope | None] = {
    "ServerLive": None,
    "ServerReady": None,
    "ModelReady": "read",
    "ServerMetadata": "read",
    "ModelMetadata": "read",
    "ModelInfer": "predict",
}


class GrpcBounds:
    """What a call may take.

    Args:
        message_bytes: the largest request.
        seconds: the longest an answer may take.
        calls: the most calls at once.
    """

    def __init__(self, message_bytes: int, seconds: float, calls: int) -> None:
        self.message_bytes = message_bytes
        self.seconds = seconds
        self.calls = calls


class GrpcServer:
    """A server that runs.

    Attributes:
        port: where it listens.
    """

    def __init__(self, server: Any, port: int) -> None:
        self.port = port
        self._server = server

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, and end when those that began are answered, or after ``grace_seconds``."""
        await self._server.stop(grace_seconds)


async def start_grpc(
    core: InferenceCore,
    host: str,
    port: int,
    *,
    bounds: GrpcBounds,
    tls: tuple[bytes, bytes] | None = None,
    is_shared: bool = False,
) -> GrpcServer:
    """Start to answer on the running event loop.

    Args:
        core: the server behind it.
        host: the address to listen on.
        port: the port; 0 for any that is free.
        bounds: what a call may take.
        tls: a private key and a chain of certificates in PEM; without them the connection is not encrypted.
        is_shared: whether other workers listen on the same port, each taking a part of the connections.

    Raises:
        UnavailableError: the extra is not installed (code ``grpc_missing``), or the port is taken
            (``address_taken``).
    """
    try:
        import grpc  # it comes with the extra, and no start path of the server may need it
        from grpc import aio

        grpc_messages()
    except ImportError as error:
        raise UnavailableError(
            "grpc_missing",
            f"gRPC cannot be served: {error}",
            hint="pip install 'everloop[grpc]', or set serve.grpc_port = 0",
            path="serve.grpc_port",
        ) from error
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", bounds.message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(is_shared)),
        ],
        maximum_concurrent_rpcs=bounds.calls,
    )
    server.add_generic_rpc_handlers((_handlers(core, bounds.seconds),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
    except RuntimeError as error:
        raise UnavailableError(
            "address_taken",
            f"gRPC cannot listen on {address}: {error}",
            hint="set serve.grpc_port to another port",
            path="serve.grpc_port",
        ) from error
    await server.start()
    return GrpcServer(server, bound)


def _handlers(core: InferenceCore, seconds: float) -> Any:
    import grpc  # see start_grpc

    messages = grpc_messages()
    calls = _Calls(core)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _guarded(core, name, getattr(calls, name), seconds),
            request_deserializer=getattr(messages, f"{name}Request").FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name in METHODS
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


def _guarded(
    core: InferenceCore, name: str, call: Callable[[Any, Any], Awaitable[Answer]], seconds: float
) -> Callable[[Any, Any], Awaitable[Any]]:
    """A method with what HTTP's routes have: bounds, admission, timeout, errors and metrics."""
    route = f"/{SERVICE}/{name}"
    scope = _SCOPES[name]

    async def answer(request: Any, context: Any) -> Any:
        started = time.perf_counter()
        visit: Any = None
        status, prediction, failure = _GONE, "", None
        core.begin()
        try:
            headers = [(key.encode(), _bytes(value)) for key, value in context.invocation_metadata() or ()]
            visit = core.admit(headers, scope, _address(context.peer()))
            async with asyncio.timeout(seconds):
                response, prediction = await call(request, visit)
            status = 200
            return response
        except Exception as error:
            # Whatever a model of a user's own or a defect raises, the caller gets one error and the next call is
            # served; the cause goes to the log.
            failure = _failure(error, route, seconds)
            status = status_of(failure)
        finally:
            code = failure.code if failure is not None else ""
            core.end(visit, route, status, time.perf_counter() - started, prediction=prediction, error=code)
        return await _abort(context, failure)

    return answer


def _failure(error: Exception, route: str, seconds: float) -> EverloopError:
    """What the caller is told of an error."""
    if isinstance(error, TimeoutError):
        return UnavailableError("timeout", f"there was no answer within {seconds:g} seconds", hint="ask for less")
    if not isinstance(error, EverloopError):
        _log.error("%s failed", route, exc_info=error)
        return internal_error()
    if status_of(error) == 500:
        _log.error("%s: [%s] %s", route, error.code, error)
    return error


async def _abort(context: Any, error: EverloopError) -> Any:
    """End a call with an error: sentence and hint as its details, code and place as trailing metadata."""
    import grpc  # see start_grpc

    status = status_of(error)
    name = _STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    details = f"{error.message}; {error.hint}" if error.hint else error.message
    metadata = [("everloop-code", error.code)]
    if error.path.isascii() and error.path.isprintable() and error.path:
        metadata.append(("everloop-path", error.path))
    await context.abort(getattr(grpc.StatusCode, name), details, tuple(metadata))


class _Calls:
    """The methods, each from a request and who asks it to a response and a prediction's id."""

    def __init__(self, core: InferenceCore) -> None:
        self._core = core
        self._messages = grpc_messages()

    async def ServerLive(self, request: Any, visit: Any) -> Answer:  # noqa: N802 - the protocol's names
        return self._messages.ServerLiveResponse(live=True), ""

    async def ServerReady(self, request: Any, visit: Any) -> Answer:  # noqa: N802
        return self._messages.ServerReadyResponse(ready=self._core.is_ready()), ""

    async def ModelReady(self, request: Any, visit: Any) -> Answer:  # noqa: N802
        try:
            self._core.metadata(request.name, request.version or None)
        except UnavailableError:
            return self._messages.ModelReadyResponse(ready=False), ""
        return self._messages.ModelReadyResponse(ready=True), ""

    async def ServerMetadata(self, request: Any, visit: Any) -> Answer:  # noqa: N802
        return self._messages.ServerMetadataResponse(name="everloop", version=__version__, extensions=EXTENSIONS), ""

    async def ModelMetadata(self, request: Any, visit: Any) -> Answer:  # noqa: N802
        found = self._core.metadata(request.name, request.version or None)
        response = self._messages.ModelMetadataResponse(
            name=found.name, versions=found.versions, platform=found.platform
        )
        for each in found.inputs:
            response.inputs.add(**each)
        for each in found.outputs:
            response.outputs.add(**each)
        return response, ""

    async def ModelInfer(self, request: Any, visit: Any) -> Answer:  # noqa: N802
        reply = await self._core.infer(question_of(request), visit)
        return response_of(request, reply), reply.prediction_id


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def _address(peer: str) -> str:
    """The caller's address from what gRPC says of it.

    >>> _address("ipv4:127.0.0.1:5000"), _address("ipv6:%5B::1%5D:5000"), _address("unix:")
    ('127.0.0.1', '::1', '')
    """
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
