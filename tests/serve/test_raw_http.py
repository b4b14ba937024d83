"""Broken HTTP over raw sockets: an answer below 500 or a closed connection, never a hang, and nothing grows."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = 5_000 if os.environ.get("EVERLOOP_SOAK") else 150
WARM, REPEATED = (50, 500) if os.environ.get("EVERLOOP_SOAK") else (15, 15)
HANG_SECONDS = 15.0

BODY = b'{"series":["S0/item%2F1"],"horizon":2}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
HEAD = b"POST /v1/forecast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GOOD = HEAD + LENGTH + b"\r\n" + BODY
GET = b"GET /v1/forecast/S0/item%2F1 HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

BROKEN = {
    "nothing": b"",
    "empty lines": b"\r\n\r\n\r\n",
    "bare line feeds": GOOD.replace(b"\r\n", b"\n"),
    "bare carriage returns": GOOD.replace(b"\r\n", b"\r"),
    "no version": b"GET /v2/health/live\r\n\r\n",
    "version 0.9": b"GET / HTTP/0.9\r\n\r\n",
    "version 1.9": b"GET /v2/health/live HTTP/1.9\r\nHost: x\r\n\r\n",
    "version 3": b"GET / HTTP/3.0\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "no method": b" / HTTP/1.1\r\n\r\n",
    "unknown method": b"FROBNICATE / HTTP/1.1\r\nHost: x\r\n\r\n",
    "small letters": b"get / http/1.1\r\nhost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute form": b"GET http://x/v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n",
    "no host": b"GET /v2/health/live HTTP/1.1\r\n\r\n",
    "upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
    "long path": b"GET /" + b"a" * 90_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "odd percents": b"GET /v1/forecast/%zz%/%00/%ff%fe?%=&&=%e9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in path": b"GET /v1/\xff\xfe\x80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "dots": b"GET /../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 900_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(9_000)) + b"\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n  c\r\n\r\n",
    "zero in header": b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n\r\n",
    "bytes in header": b"GET / HTTP/1.1\r\nHost: x\r\nX-Everloop-Unit: \xff\xfe\r\nX-Request-Id: \xe9\r\n\r\n",
    "odd traceparent": b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\ntraceparent: 00-zz-\r\ntracestate: \xff=\r\n\r\n",
    "odd key": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    "header only": b"GET / HTTP/1.1\r\nHost: x",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\n" + BODY,
    "length of letters": HEAD + b"Content-Length: five\r\n\r\n" + BODY,
    "length beyond numbers": HEAD + b"Content-Length: 99999999999999999999999999\r\n\r\n" + BODY,
    "length too long": HEAD + b"Content-Length: 9000\r\n\r\n" + BODY,
    "length too short": HEAD + b"Content-Length: 3\r\n\r\n" + BODY,
    "two lengths": HEAD + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    "length and chunks": HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    "odd encoding": HEAD + b"Transfer-Encoding: gzip, chunked, cow\r\n\r\n0\r\n\r\n",
    "compressed": HEAD + b"Content-Encoding: gzip\r\n" + LENGTH + b"\r\n" + BODY,
    "chunk of letters": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "negative chunk": CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n",
    "huge chunk": CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "large chunk": CHUNKED + b"7fffffff\r\nabc\r\n",
    "chunk without end": CHUNKED + b"5\r\nabc",
    "chunk with tail": CHUNKED + b"%x;a=b\r\n" % len(BODY) + BODY + b"\r\n0\r\nX-Tail: 1\r\n\r\n",
    "many tiny chunks": CHUNKED + b"1\r\n \r\n" * 2_000 + b"0\r\n\r\n",
    "expecting": HEAD + LENGTH + b"Expect: 100-continue\r\n\r\n" + BODY,
    "expecting oddly": HEAD + LENGTH + b"Expect: tea\r\n\r\n" + BODY,
    "pipelined": GET * 40 + GOOD * 40,
    "pipelined, then broken": GET * 20 + b"\x00\x01\x02\r\n\r\n" + GET,
    "answered, then body": GET + BODY * 50,
}  # fmt: skip


@pytest.fixture(scope="module")
def running(shared_world: Any, serving: Callable[..., Any]) -> Iterator[Any]:
    """A server that soon loses patience."""
    shared_world.champion()
    flags = ("access.header_seconds=0.5", "access.body_seconds=0.5", "access.idle_seconds=0.5")
    with serving(shared_world, *(part for flag in flags for part in ("--set", flag))) as found:
        yield found


def connected(running: Any) -> socket.socket:
    host, port = running.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=HANG_SECONDS)


def answers(connection: socket.socket) -> list[int]:
    """The statuses of all that comes until the server closes; a timeout here is a hang."""
    content = b""
    with contextlib.suppress(ConnectionResetError):  # it closed while something was still on its way
        while part := connection.recv(65536):
            content += part
    assert content == b"" or content.startswith(b"HTTP/1.1 ")
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", content)]


def send(running: Any, parts: Sequence[bytes], *, is_ended: bool) -> list[int]:
    """Send parts, and the end of the stream where wanted; the statuses that come."""
    with connected(running) as connection:
        with contextlib.suppress(OSError):  # it had seen enough
            for part in parts:
                connection.sendall(part)
            if is_ended:
                connection.shutdown(socket.SHUT_WR)
        return answers(connection)


def is_alive(running: Any) -> bool:
    return send(running, [GOOD], is_ended=True) == [200]


@pytest.mark.parametrize("is_ended", [True, False], ids=["ended", "left open"])
def test_broken_requests(running: Any, is_ended: bool) -> None:
    # all at once, so that the server's patience is waited for once
    connections = {name: connected(running) for name in BROKEN}
    for name, content in BROKEN.items():
        with contextlib.suppress(OSError):  # it had seen enough
            connections[name].sendall(content)
            if is_ended:
                connections[name].shutdown(socket.SHUT_WR)
    found = {name: answers(connection) for name, connection in connections.items()}
    for connection in connections.values():
        connection.close()
    assert [name for name, statuses in found.items() if any(status >= 500 for status in statuses)] == []
    assert is_alive(running)
    assert found["pipelined"] == [200] * 80
    assert set(found["pipelined, then broken"]) <= {200, 400}
    assert found["length and chunks"] in ([], [400])  # whoever reads it otherwise can be made to answer another's
    assert found["two lengths"] in ([], [400])
    assert found["long header"] in ([], [431])
    assert found["many tiny chunks"] == [400]
    assert found["chunk with tail"] == [200]
    assert found["expecting"] == [100, 200]


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """Good requests with a few edits, in a few parts."""
    content = bytearray(draw(st.sampled_from([GOOD, GET, GET + GOOD, CHUNKED + b'5\r\n{"a":\r\n0\r\n\r\n'])))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        size = draw(st.integers(0, 12))
        kind = draw(st.sampled_from(["insert", "replace", "repeat", "cut"]))
        if kind == "insert":
            content[place:place] = draw(PIECES)
        elif kind == "replace":
            content[place : place + size] = draw(PIECES)
        elif kind == "repeat":
            content[place:place] = content[place : place + size] * draw(st.integers(1, 50))
        else:
            del content[place:]
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    return [bytes(content[start:end]) for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]


PIECES = st.binary(max_size=8) | st.sampled_from(
    [b"\r\n", b"\n", b"\r\n\r\n", b"\x00", b": ", b" ", b"HTTP/1.1", b"0", b"Transfer-Encoding: chunked\r\n",
     b"Content-Length: 1\r\n", b"Connection: close\r\n", b"%", b"\xff" * 4, b"Expect: 100-continue\r\n"]
)  # fmt: skip


@given(parts=mutated())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_requests(running: Any, parts: list[bytes]) -> None:
    assert [status for status in send(running, parts, is_ended=True) if status >= 500] == []


def test_nothing_grows(running: Any, until: Callable[..., Any]) -> None:
    """Memory and open sockets are the same after many rounds as after a few."""
    folder = Path(f"/proc/{running.process.pid}")

    def hammer(times: int) -> int:
        for _ in range(times):
            for content in BROKEN.values():
                send(running, [content], is_ended=True)
        assert is_alive(running)
        return int((folder / "statm").read_text().split()[1])

    def open_sockets() -> int:
        links = []
        for each in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed in this moment
                links.append(str(each.readlink()))
        return sum(link.startswith("socket:") for link in links)

    hammer(1)
    sockets = open_sockets()
    first, last = hammer(WARM), hammer(REPEATED)
    until(lambda: open_sockets() <= sockets)
    assert last < 1.05 * first
    with running.client() as client:
        figures = client.get("/metrics").text
    assert "everloop_internal_failures_total 0.0" in figures
    assert re.search(r"^everloop_requests_in_flight [01]\.0$", figures, re.MULTILINE)  # the one that asks
