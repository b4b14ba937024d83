"""One request on a connection, and the ways to its answer: a direct handler, or the ASGI application."""

from __future__ import annotations

import asyncio
import http
import logging
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everloop.serve.http.connection import Connection

__all__ = ["STATUS_LINES", "ApplicationRun", "Exchange"]

_log = logging.getLogger(__name__)

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}

_FAILED = b'{"error":{"code":"internal","message":"the server failed on this request","hint":"","path":""}}'
_JSON = b"content-type: application/json\r\n"

Application = Callable[[Any, Any, Any], Awaitable[None]]


class Exchange:
    """A request that was read whole.

    Attributes:
        method: the method, upper case.
        target: path and query as they came.
        headers: names in lower case, and values, in their order.
        body: the body.
        is_kept: whether the connection stays open after the answer.
    """

    __slots__ = ("_connection", "body", "headers", "is_answered", "is_kept", "method", "target", "version")

    def __init__(
        self, connection: Connection, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.body: bytes | bytearray = b""
        self.is_kept = True
        self.is_answered = False
        self.version = "1.1"

    @property
    def client(self) -> tuple[str, int] | None:
        """The caller's address and port."""
        return self._connection.client

    def pass_on(self) -> None:
        """Give a request that a hot route cannot answer after all to the ASGI application."""
        self._connection.to_application(self)

    def reply(self, status: int, headers: bytes, *body: bytes) -> None:
        """Answer, once, on the event loop.

        Args:
            status: the status.
            headers: header lines, each ended by CR LF, without content-length, date and connection.
            body: the body, in one part or several.
        """
        if self.is_answered:
            return
        self.is_answered = True
        connection = self._connection
        end = b"\r\n" if self.is_kept else b"connection: close\r\n\r\n"
        length = b"content-length: %d\r\n" % sum(map(len, body))
        head = (STATUS_LINES[status], connection.default_headers(), headers, length, end)
        connection.write(b"".join(head if self.method == b"HEAD" else head + body))
        connection.finished(self)


class ApplicationRun:
    """Carries an exchange to an ASGI application and its answer back."""

    def __init__(self, exchange: Exchange, connection: Connection, state: MutableMapping[str, Any]) -> None:
        self._exchange = exchange
        self._connection = connection
        self._state = state
        self._is_body_given = False
        self._head: bytes | None = None
        self._is_chunked = False
        self.gone = asyncio.Event()

    async def run(self, app: Application) -> None:
        """Call the application; whatever it raises, the caller gets an answer."""
        exchange = self._exchange
        try:
            await app(self._scope(), self._receive, self._send)
        except Exception:
            # The outermost guard: a defect below must cost one answer, never the connection's task in silence.
            _log.exception("%s failed", exchange.target[:200].decode("latin-1"))
        if exchange.is_answered:
            return
        if self._head is not None:  # half an answer went out: nothing but a cut tells the caller
            self._connection.abort()
        else:
            exchange.is_kept = False
            exchange.reply(500, _JSON, _FAILED)

    def _scope(self) -> dict[str, Any]:
        exchange, connection = self._exchange, self._connection
        path, _, query = exchange.target.partition(b"?")
        if not path.startswith(b"/"):  # the absolute form, as for a proxy
            path = urllib.parse.urlsplit(path).path or b"/"
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": exchange.version,
            "server": connection.server,
            "client": connection.client,
            "scheme": connection.scheme,
            "root_path": "",
            "headers": exchange.headers,
            "state": dict(self._state),
            "method": exchange.method.decode("ascii"),
            "path": urllib.parse.unquote(path.decode("latin-1"), errors="replace"),
            "raw_path": path,
            "query_string": query,
        }

    async def _receive(self) -> dict[str, Any]:
        if not self._is_body_given:
            self._is_body_given = True
            return {"type": "http.request", "body": bytes(self._exchange.body), "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if self._exchange.is_answered or self._connection.is_closed:
            return
        if message["type"] == "http.response.start":
            self._head = self._start(message)
            return
        body: bytes = message.get("body", b"")
        has_more: bool = message.get("more_body", False)
        await self._connection.drained()
        if self._exchange.method == b"HEAD":
            body = b""
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if has_more else b"0\r\n\r\n")
        self._connection.write((self._head or b"") + body)
        self._head = b""
        if not has_more:
            self._exchange.is_answered = True
            self._connection.finished(self._exchange)

    def _start(self, message: MutableMapping[str, Any]) -> bytes:
        exchange = self._exchange
        names = {name.lower() for name, _ in message["headers"]}
        lines = [STATUS_LINES[message["status"]], self._connection.default_headers()]
        lines += [b"%b: %b\r\n" % (name, value) for name, value in message["headers"]]
        if any(name.lower() == b"connection" and value.lower() == b"close" for name, value in message["headers"]):
            exchange.is_kept = False
        elif not exchange.is_kept:
            lines.append(b"connection: close\r\n")
        if b"content-length" not in names and message["status"] not in (204, 304):
            if exchange.version == "1.0":
                exchange.is_kept = False
            else:
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)
