"""Connections: a real uvicorn server on a socket, and clients that behave badly."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import uvicorn

from everloop.core.errors import EverloopError
from everloop.serve.http.connection import Bounds, Connection, Connections, Handler
from everloop.serve.http.exchange import Exchange

BOUNDS = Bounds(head_bytes=4096, body_bytes=1000, connections=20, head_seconds=0.5, body_seconds=0.5, idle_seconds=30.0)


@dataclass
class Door:
    """Routes of a test; ``/hot`` is answered at once, ``/later`` on the next turn of the loop."""

    bounds: Bounds = BOUNDS
    refusals: list[tuple[str, int]] = field(default_factory=list)

    def find(self, method: bytes, target: bytes) -> Handler | None:
        return {b"/hot": self.hot, b"/later": self.later}.get(target)

    def refused(self, error: EverloopError, status: int) -> None:
        self.refusals.append((error.code, status))

    @staticmethod
    def hot(exchange: Exchange) -> None:
        exchange.reply(200, b"content-type: text/plain\r\n", b"hot " + bytes(exchange.body))

    @staticmethod
    def later(exchange: Exchange) -> None:
        asyncio.get_running_loop().call_later(0.05, Door.hot, exchange)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Echo the request; ``/fails`` raises, ``/parts`` streams."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": f"{message['type']}.complete"})
        return
    if scope["path"] == "/fails":
        raise RuntimeError("a defect")
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["path"] == "/parts":
        for part in (b"one ", b"two ", b"three"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
    told = f"{scope['method']} {scope['path']} {scope['query_string'].decode()} ".encode()
    await send({"type": "http.response.body", "body": b"" if scope["path"] == "/parts" else told + body})


class Serving:
    """A server in a thread."""

    def __init__(self, bounds: Bounds = BOUNDS) -> None:
        self.door = Door(bounds)
        self.group = Connections()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        http: Any = functools.partial(Connection, gate=self.door, group=self.group)
        config = uvicorn.Config(application, http=http, loop="uvloop", log_config=None, timeout_graceful_shutdown=5)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]}, daemon=True)
        self.thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    serving = Serving()
    yield serving
    serving.stop()
    assert not serving.group.open
    assert serving.group.buffered == 0


def talk(serving: Serving, *parts: bytes) -> bytes:
    """All that the server says until it closes."""
    with serving.connect() as client:
        for part in parts:
            client.sendall(part)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    said = b""
    while chunk := client.recv(65536):
        said += chunk
    return said


def code_of(said: bytes) -> tuple[int, str]:
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)["error"]["code"]


class Wire(asyncio.Transport):
    """A transport whose other end is a list."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []

    def write(self, data: Any) -> None:
        self.said.append(bytes(data))

    def close(self) -> None:
        self.said.append(b"closed")


def test_a_request_does_not_overtake_those_that_wait() -> None:
    held: list[Exchange] = []

    class HoldingDoor(Door):
        def find(self, method: bytes, target: bytes) -> Handler | None:
            return held.append if target == b"/held" else lambda exchange: exchange.reply(200, b"", target)

    async def pipelined() -> list[bytes]:
        state = uvicorn.server.ServerState()
        config = uvicorn.Config(application, log_config=None)
        config.load()
        connection = Connection(
            gate=HoldingDoor(), group=Connections(), config=config, server_state=state, app_state={}
        )
        wire = Wire()
        connection.connection_made(wire)
        requests = [b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"/held", b"/second", b"/third")]
        connection.data_received(requests[0] + requests[1])
        held[0].reply(200, b"", b"/first")
        connection.data_received(requests[2])  # before the loop has come to the second one
        for _ in range(4):
            await asyncio.sleep(0)
        connection.connection_lost(None)
        return [said.rpartition(b"\r\n\r\n")[2] for said in wire.said]

    assert asyncio.run(pipelined()) == [b"/first", b"/second", b"/third"]


def test_direct_routes_and_the_application_share_a_connection(serving: Serving) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{serving.port}") as client:
        assert client.post("/hot", content=b"abc").text == "hot abc"
        assert client.post("/cold?x=1", content=b"abc").text == "POST /cold x=1 abc"
        assert client.get("/a%20b").text == "GET /a b  "
        assert client.get("/parts").text == "one two three"
        assert client.head("/hot").text == ""
        failed = client.get("/fails")
        assert failed.status_code == 500
        assert failed.json()["error"]["code"] == "internal"
        assert "date" in client.get("/hot").headers


def test_pipelined_requests_are_answered_in_their_order(serving: Serving) -> None:
    request = b"POST %b HTTP/1.1\r\ncontent-length: 1\r\n\r\n%b"
    targets = [(b"/later", b"1"), (b"/hot", b"2"), (b"/cold", b"3"), (b"/later", b"4"), (b"/hot", b"5")] * 8
    last = b"GET /hot HTTP/1.1\r\nconnection: close\r\n\r\n"
    said = talk(serving, b"".join(request % each for each in targets) + last)
    assert re.findall(rb"(?:hot|/cold ) ?(\d)", said) == [b"1", b"2", b"3", b"4", b"5"] * 8
    assert said.count(b"HTTP/1.1 200") == 41


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"NONSENSE\r\n\r\n", 400, "http"),
        (b"GET / HTTP/1.1\r\nbroken\r\n\r\n", 400, "http"),
        (b"POST / HTTP/1.1\r\ncontent-length: -5\r\n\r\n", 400, "http"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400, "http"),
        (b"POST / HTTP/1.1\r\ncontent-length: 1001\r\n\r\n", 413, "body_large"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001, 413, "body_large"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 5000, 431, "headers_large"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n", 408, "body_slow"),
        (b"POST /hot HTTP/1.1\r\ncontent-length: 10\r\n\r\n123", 408, "body_slow"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_our_error(serving: Serving, sent: bytes, status: int, code: str) -> None:
    assert code_of(talk(serving, sent)) == (status, code)
    assert (code, status) in serving.door.refusals


def test_a_refusal_does_not_overtake_an_earlier_answer(serving: Serving) -> None:
    said = talk(serving, b"POST /later HTTP/1.1\r\ncontent-length: 1\r\n\r\n1NONSENSE\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200")
    assert said.endswith(b"hot 1")


def test_chunked_bodies_expectations_and_old_clients(serving: Serving) -> None:
    chunked = (
        b"POST /hot HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    assert talk(serving, chunked).endswith(b"hot abc")
    expecting = b"POST /hot HTTP/1.1\r\ncontent-length: 1\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    said = talk(serving, expecting, b"1")
    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert talk(serving, b"GET /parts HTTP/1.0\r\n\r\n").endswith(b"one two three")
    upgrade = b"GET /hot HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    assert talk(serving, upgrade).startswith(b"HTTP/1.1 200")


def test_half_closed_clients_still_get_their_answer(serving: Serving) -> None:
    with serving.connect() as client:
        client.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 200")


def test_too_many_connections_and_idle_ones() -> None:
    serving = Serving(replace(BOUNDS, connections=2, idle_seconds=0.5))
    try:
        first, second = serving.connect(), serving.connect()
        first.sendall(b"GET /hot HTTP/1.1\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        assert code_of(talk(serving)) == (503, "connections")
        assert read_all(second) == b""  # it never spoke
        first.close()
        second.close()
    finally:
        serving.stop()


def test_a_stop_answers_what_was_begun() -> None:
    serving = Serving()
    with serving.connect() as client, serving.connect() as idle:
        client.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        idle.sendall(b"GET /hot HTTP/1.1\r\n\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
        serving.stop()
        assert read_all(client).endswith(b"hot ")
        assert read_all(idle) == b""
