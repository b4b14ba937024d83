"""A connection: an asyncio protocol on httptools with bounds and deadlines, run by uvicorn.

Uvicorn's own protocols start a task and several futures for each request, and wait without end for a client that
sends a byte now and then. Here a request is read whole within bounds; one whose route is known to be hot is given to
its handler at once, without a task; all others go to the ASGI application. Deadlines cost nothing a request: a
sweep over all connections looks at them each second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import httptools

from everloop.core.errors import EverloopError, RequestError, UnavailableError
from everloop.serve.failures import error_content
from everloop.serve.http.exchange import STATUS_LINES, ApplicationRun, Exchange

__all__ = ["Bounds", "Connection", "Connections", "Gate", "Handler"]

Handler = Callable[[Exchange], None]

_IDLE, _HEAD, _BODY = range(3)
_MOST_PIPELINED = 16
_SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a client may take of the server.

    Attributes:
        head_bytes: the largest request line and headers together.
        body_bytes: the largest body.
        buffered_bytes: all bodies together that are being read or answered.
        connections: how many connections may be open.
        head_seconds: from the first byte of a request to the end of its headers.
        body_seconds: from the end of the headers to the end of the body; also how long a client may leave an answer
            unread.
        idle_seconds: between two requests.
    """

    head_bytes: int = 65_536
    body_bytes: int = 16_000_000
    buffered_bytes: int = 256_000_000
    connections: int = 10_000
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0


class Gate(Protocol):
    """What a connection asks of the server behind it."""

    bounds: Bounds

    def find(self, method: bytes, target: bytes) -> Handler | None:
        """The handler of a hot route, ``None`` for all others."""

    def refused(self, error: EverloopError, status: int) -> None:
        """A request was refused before it reached any route."""


class Connections:
    """All connections of a process: how much they hold, and the sweep that ends the slow ones.

    Args:
        tell: told how many there are when that changes.
    """

    def __init__(self, tell: Callable[[int], None] = lambda count: None) -> None:
        self.open: set[Connection] = set()
        self._tell = tell
        self.buffered = 0
        self._is_sweeping = False

    def add(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Take a connection in."""
        self.open.add(connection)
        self._tell(len(self.open))
        if not self._is_sweeping:
            self._is_sweeping = True
            loop.call_later(_SWEEP_SECONDS, self._sweep, loop)

    def remove(self, connection: Connection) -> None:
        """A connection has ended, if it was ever taken in."""
        self.open.discard(connection)
        self._tell(len(self.open))

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self.open):
            connection.check_deadline(now)
        self._is_sweeping = bool(self.open)
        if self._is_sweeping:
            loop.call_later(_SWEEP_SECONDS, self._sweep, loop)


class Connection(asyncio.Protocol):
    """One client's connection.

    Uvicorn makes it by keywords for each client; ``gate`` and ``group`` are bound before.

    Args:
        gate: routes and bounds.
        group: all connections of the process.
        config: uvicorn's configuration, with the ASGI application.
        server_state: uvicorn's record of connections, tasks and default headers.
        app_state: the lifespan's state.
    """

    def __init__(
        self, *, gate: Gate, group: Connections, config: Any, server_state: Any, app_state: Any, _loop: Any = None
    ) -> None:
        self._gate = gate
        self._bounds = gate.bounds
        self._group = group
        self._app = config.loaded_app
        self._server_state = server_state
        self._app_state = app_state
        self._loop: asyncio.AbstractEventLoop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._feed = self._parser.feed_data
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._state = _IDLE
        self._since = self._loop.time()
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._exchange: Exchange | None = None
        self._handler: Handler | None = None
        self._buffered = 0
        self._current: Exchange | None = None
        self._run: ApplicationRun | None = None
        self._waiting: deque[tuple[Exchange, Handler | None]] = deque()
        self._is_reading = True
        self._is_refusing = False
        self._is_draining = False
        self._can_write: asyncio.Event | None = None
        self._stuck_since = 0.0
        self._dated: Any = None
        self._date = b""
        self.is_closed = False
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int] | None = None
        self.scheme = "http"

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self.client = _address(transport.get_extra_info("peername"))
        self.server = _address(transport.get_extra_info("sockname"))
        self.scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._server_state.connections.add(self)
        if len(self._group.open) >= self._bounds.connections:
            self._refuse(
                503, UnavailableError("connections", "too many connections are open", hint="try again in a moment")
            )
            return
        self._group.add(self, self._loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self.is_closed = True
        self._group.remove(self)
        self._group.buffered -= self._buffered
        self._buffered = 0
        self._server_state.connections.discard(self)
        self._waiting.clear()
        if self._run is not None:
            self._run.gone.set()
        if self._can_write is not None:
            self._can_write.set()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._is_refusing:
            return
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade:
            # no other protocol is spoken; the request itself has been read and is answered as HTTP/1.1
            self._is_draining = True
            if self._current is None:
                self._transport.close()
            return
        except httptools.HttpParserError as error:
            if not self._is_refusing:
                message = f"the request is not HTTP/1.1: {error}"
                self._refuse(400, RequestError("http", message, hint="see RFC 9112"))
            return
        if self._state == _HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > self._bounds.head_bytes:
                self._refuse_head()

    def eof_received(self) -> bool:
        """The client sends no more; what was asked is still answered."""
        if self._current is not None:
            self._is_draining = True
            return True
        return False

    def pause_writing(self) -> None:
        """The client does not read."""
        self._stuck_since = self._loop.time()
        self._can_write = asyncio.Event()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._can_write is not None:
            self._can_write.set()
            self._can_write = None

    # what the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._state = _HEAD
        self._since = self._loop.time()
        self._head_bytes = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The headers are complete: refuse what cannot be taken, before its body comes."""
        if self._is_refusing:
            return
        parser = self._parser
        exchange = self._exchange = Exchange(self, parser.get_method(), self._url, self._headers)
        exchange.is_kept = parser.should_keep_alive()
        exchange.version = parser.get_http_version()
        self._handler = self._gate.find(exchange.method, self._url)
        self._state = _BODY
        self._since = self._loop.time()
        for name, value in self._headers:
            if name == b"content-length":
                self._check_length(value)
            elif name == b"expect" and value.lower() == b"100-continue" and not self._is_refusing:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        exchange = self._exchange
        if exchange is None or self._is_refusing:
            return
        size = len(exchange.body) + len(body)
        if size > self._bounds.body_bytes:
            self._refuse_body(size)
            return
        self._group.buffered += len(body)
        self._buffered += len(body)
        if self._group.buffered > self._bounds.buffered_bytes:
            self._refuse(
                503,
                UnavailableError("overloaded", "requests being read take all of their room", hint="try again later"),
            )
            return
        if not exchange.body:
            exchange.body = body
        elif isinstance(exchange.body, bytearray):
            exchange.body += body
        else:
            exchange.body = bytearray(exchange.body) + body

    def on_message_complete(self) -> None:
        """The request is whole."""
        exchange, self._exchange = self._exchange, None
        self._state = _IDLE
        if exchange is None or self._is_refusing:
            return
        if self._current is None and not self._waiting:  # a later one must not overtake those that wait
            self._begin(exchange, self._handler)
            return
        self._waiting.append((exchange, self._handler))
        if len(self._waiting) >= _MOST_PIPELINED and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    # what exchanges call

    def default_headers(self) -> bytes:
        """The date, which uvicorn renews each second, as a header line."""
        headers = self._server_state.default_headers
        if headers is not self._dated:
            self._dated = headers
            self._date = b"".join(b"date: %b\r\n" % value for name, value in headers if name == b"date")
        return self._date

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self.is_closed:
            self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has read enough."""
        if self._can_write is not None:
            await self._can_write.wait()

    def abort(self) -> None:
        """End the connection at once."""
        if not self.is_closed:
            self._transport.abort()

    def finished(self, exchange: Exchange) -> None:
        """An exchange is answered: go on with the next one, or close."""
        size = len(exchange.body)
        self._group.buffered -= size
        self._buffered -= size
        exchange.body = b""
        self._current = self._run = None
        self._server_state.total_requests += 1
        if self.is_closed:
            return
        if not exchange.is_kept or (self._is_draining and not self._waiting):
            self._transport.close()
            return
        if self._waiting:
            self._loop.call_soon(self._next)
        elif self._state == _IDLE:
            self._since = self._loop.time()

    def _next(self) -> None:
        if self.is_closed or self._current is not None or not self._waiting:
            return
        exchange, handler = self._waiting.popleft()
        if not self._is_reading and len(self._waiting) < _MOST_PIPELINED // 2:
            self._is_reading = True
            self._transport.resume_reading()
        self._begin(exchange, handler)

    def _begin(self, exchange: Exchange, handler: Handler | None) -> None:
        self._current = exchange
        if self._is_draining and not self._waiting:
            exchange.is_kept = False
        if handler is not None:
            handler(exchange)
        else:
            self.to_application(exchange)

    def to_application(self, exchange: Exchange) -> None:
        """Run the ASGI application for an exchange."""
        self._run = ApplicationRun(exchange, self, self._app_state)
        task = self._loop.create_task(self._run.run(self._app))
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    # what the server calls

    def shutdown(self) -> None:
        """The server ends: close when what was begun is answered."""
        self._is_draining = True
        if self._current is None:
            self._transport.close()
        elif not self._waiting:
            self._current.is_kept = False

    def check_deadline(self, now: float) -> None:
        """End the connection if its client is too slow."""
        bounds, state, age = self._bounds, self._state, now - self._since
        if self._can_write is not None and now - self._stuck_since > bounds.body_seconds:
            self.abort()
        elif state == _IDLE and self._current is None and age > bounds.idle_seconds:
            self._transport.close()
        elif state == _HEAD and age > bounds.head_seconds:
            self._refuse(408, _slow("the headers were", bounds.head_seconds))
        elif state == _BODY and age > bounds.body_seconds:
            self._refuse(408, _slow("the body was", bounds.body_seconds))

    # refusals

    def _check_length(self, value: bytes) -> None:
        try:
            size = int(value)
        except ValueError:
            return  # the parser refuses what is no number
        if size > self._bounds.body_bytes:
            self._refuse_body(size)

    def _refuse_body(self, size: int) -> None:
        most = self._bounds.body_bytes
        message = f"the body has {size} bytes or more; at most {most} are taken"
        self._refuse(413, RequestError("body_large", message, hint="send it in parts, or raise serve.max_body_bytes"))

    def _refuse_head(self) -> None:
        message = f"request line and headers are larger than {self._bounds.head_bytes} bytes"
        self._refuse(431, RequestError("headers_large", message, hint="send fewer or shorter headers"))

    def _refuse(self, status: int, error: EverloopError) -> None:
        """Answer with an error and close; what comes after is not read. Earlier answers are sent first."""
        self._is_refusing = True
        self._gate.refused(error, status)
        if self._current is not None:  # the refusal of a later request must not overtake an earlier answer
            self._current.is_kept = False
            self._waiting.clear()
            return
        body = error_content(error, self._url)
        self._transport.write(
            b"%b%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINES[status], self.default_headers(), len(body), body)
        )
        self._transport.close()


def _slow(what: str, seconds: float) -> RequestError:
    return RequestError("body_slow", f"{what} not complete within {seconds:g} seconds", hint="send it faster")


def _address(info: Any) -> tuple[str, int] | None:
    return (str(info[0]), int(info[1])) if isinstance(info, tuple | list) and len(info) >= 2 else None
