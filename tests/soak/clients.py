"""Clients of the soak: good ones that check every answer, and bad ones that try to harm the server."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soak.questions import Questions, Request


@dataclass(frozen=True)
class Answer:
    """What came for a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The status, and the error's code where there is one."""
        if self.status < 400:
            return str(self.status)
        try:
            tree = json.loads(self.body)
            return f"{self.status} {tree['code'] if 'code' in tree else tree['error']['code']}"
        except (ValueError, KeyError, TypeError):
            return f"{self.status} {self.body[:60]!r}"


@dataclass
class Record:
    """What clients saw; threads share it.

    Attributes:
        acknowledged: the ids of the predictions that were given.
        statuses: how often each status came, with the error's code.
        wrong: answers that are not the release's own.
        broken: requests of good clients that got no answer at all.
        sent: how many requests might have been answered by a prediction.
    """

    acknowledged: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, questions: Questions, place: int, answer: Answer) -> None:
        """Note an answer, and check it."""
        problem = self._problem(questions, place, answer) if answer.status == 200 else ""
        with self.lock:
            self.statuses[answer.text] += 1
            if answer.status == 200:
                self.acknowledged.append(answer.headers["x-everloop-prediction"])
            if problem and len(self.wrong) < 20:
                self.wrong.append(problem)

    def count(self, answers: Iterable[Answer]) -> None:
        """Note the answers to bad requests."""
        with self.lock:
            for answer in answers:
                self.statuses[answer.text] += 1
                if answer.status == 200:  # bad in a way that does not matter
                    self.acknowledged.append(answer.headers["x-everloop-prediction"])

    @staticmethod
    def _problem(questions: Questions, place: int, answer: Answer) -> str:
        tree = json.loads(answer.body)
        release = questions.release_of(tree)
        # a split may begin before its release is loaded; then the champion answers, and says so
        is_own = answer.headers.get("x-everloop-fallback", "not_loaded") == "not_loaded"
        if answer.headers["x-everloop-release"] != release or not is_own:
            return f"request {place}: the answer of {release} has the headers {answer.headers}"
        given, expected = questions.numbers_of(place, tree), questions.expected(place, release)
        return "" if given == expected else f"request {place}, release {release}: {given} is not {expected}"


class Crowd:
    """Threads that run until they are told to stop."""

    def __init__(self, works: list[Callable[[threading.Event], None]]) -> None:
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(work,), daemon=True) for work in works]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, work: Callable[[threading.Event], None]) -> None:
        try:
            work(self.stop)
        except BaseException as error:
            self.failures.append(error)  # told by the test; a thread's own failure would be lost
            raise


def asker(
    port: int, questions: Questions, record: Record, *, seed: int, is_dying: bool = False
) -> Callable[[threading.Event], None]:
    """A good client on one connection; with ``is_dying`` it ends when the server does."""
    generator = random.Random(seed)

    def work(stop: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not stop.is_set():
            place = generator.randrange(len(questions.requests))
            request = questions.requests[place]
            with record.lock:
                record.sent += 1
            try:
                connection.request(request.method, request.path, request.body or None, dict(request.headers))
                response = connection.getresponse()
                headers = {name.lower(): text for name, text in response.getheaders()}
                answer = Answer(response.status, headers, response.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_dying:
                    return
                with record.lock:
                    record.broken.append(repr(error))
                continue
            record.take(questions, place, answer)
            if answer.status == 503:  # a client that is told to come back later does
                stop.wait(0.1)
        connection.close()

    return work


def troublemaker(
    port: int, questions: Questions, record: Record, *, seed: int, is_slow: bool
) -> Callable[[threading.Event], None]:
    """A client that does one bad thing after the other, each on a connection of its own."""
    generator = random.Random(seed)
    slow = (_slow_head, _slow_body, _unread)
    deeds = slow if is_slow else (_half_closed, _oversize, _endless, _torn, _garbage, _bad_bodies, _bad_bodies)

    def work(stop: threading.Event) -> None:
        while not stop.is_set():
            deed = generator.choice(deeds)
            # the server may end a bad connection at any moment
            with (
                contextlib.suppress(BrokenPipeError, ConnectionResetError),
                socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
            ):
                deed(connection, generator, questions, record)
            stop.wait(0.02)

    return work


def _read_all(connection: socket.socket) -> list[Answer]:
    """All answers up to the end of the connection."""
    content = b""
    try:
        while part := connection.recv(65536):
            content += part
    except ConnectionResetError:
        pass  # the server closed while something was still coming; what it answered before counts
    found = []
    while content:
        head, _, rest = content.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        if not first.startswith("HTTP/1.1 100"):
            found.append(Answer(int(first.split(" ")[1]), headers, rest[:length]))
        content = rest[length:]
    return found


def _any(generator: random.Random, questions: Questions) -> tuple[int, Request]:
    place = generator.randrange(len(questions.requests))
    return place, questions.requests[place]


def _slow_head(connection: socket.socket, generator: random.Random, questions: Questions, record: Record) -> None:
    wire = _any(generator, questions)[1].wire()
    for place in range(20):
        connection.sendall(wire[place : place + 1])
        time.sleep(0.15)  # slower than access.header_seconds allows: being slow is the point
    record.count(_read_all(connection))


def _slow_body(connection: socket.socket, _: random.Random, questions: Questions, record: Record) -> None:
    request = next(each for each in questions.requests if each.body)
    connection.sendall(request.wire()[:-5])
    record.count(_read_all(connection))


def _half_closed(connection: socket.socket, generator: random.Random, questions: Questions, record: Record) -> None:
    place, request = _any(generator, questions)
    with record.lock:
        record.sent += 1
    connection.sendall(request.wire())
    connection.shutdown(socket.SHUT_WR)
    for answer in _read_all(connection):
        record.take(questions, place, answer)


def _oversize(connection: socket.socket, _: random.Random, questions: Questions, record: Record) -> None:
    request = next(each for each in questions.requests if each.body)
    head = request.wire().split(b"Content-Length")[0]
    connection.sendall(head + b"Content-Length: 900000000\r\n\r\n" + b"[" * 5000)
    record.count(_read_all(connection))


def _endless(connection: socket.socket, _: random.Random, questions: Questions, record: Record) -> None:
    request = next(each for each in questions.requests if each.body)
    connection.sendall(request.wire().split(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n")
    for _round in range(200):
        connection.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
    record.count(_read_all(connection))


def _torn(connection: socket.socket, generator: random.Random, questions: Questions, record: Record) -> None:
    wire = _any(generator, questions)[1].wire()
    with record.lock:
        record.sent += 1
    connection.sendall(wire[: generator.randrange(1, len(wire) + 1)])
    # closed by a reset, as by a client that is killed
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _unread(connection: socket.socket, generator: random.Random, questions: Questions, record: Record) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire = _any(generator, questions)[1].wire()
    with record.lock:
        record.sent += 100
    connection.setblocking(False)
    try:
        connection.sendall(wire * 100)
    except BlockingIOError:
        time.sleep(0.5)  # the server is stuck with answers that nobody reads


def _garbage(connection: socket.socket, generator: random.Random, _: Questions, record: Record) -> None:
    connection.sendall(generator.randbytes(generator.randrange(1, 3000)))
    connection.shutdown(socket.SHUT_WR)
    record.count(_read_all(connection))


def _bad_bodies(connection: socket.socket, generator: random.Random, questions: Questions, record: Record) -> None:
    request = generator.choice([each for each in questions.requests if each.body])
    body = bytearray(request.body)
    kind = generator.randrange(5)
    if kind == 0:
        body = bytearray(b"[" * 2000)
    elif kind == 1:
        body = bytearray(b'{"inputs": null, "series": 7, "dataframe_split": []}')
    elif kind == 2:
        body = body.replace(b"[", b"[NaN, ", 1)
    elif kind == 3:
        body = body[: len(body) // 2]
    else:
        body[generator.randrange(len(body))] = 0xFF
    headers = request.headers if generator.random() < 0.8 else {"Content-Type": "text/plain"}
    wire = Request(request.method, request.path, bytes(body), headers).wire(is_last=True)
    with record.lock:
        record.sent += 1
    connection.sendall(wire)
    record.count(_read_all(connection))


class Memory:
    """The resident memory of a process, twice a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.pages: list[int] = []

    def __call__(self, stop: threading.Event) -> None:
        while not stop.wait(0.5):
            self.pages.append(int(Path(f"/proc/{self._pid}/statm").read_text(encoding="ascii").split()[1]))

    def growth(self, warm_share: float) -> float:
        """How much more was taken at the end than after warm-up: the ratio of two high-water marks, less one.

        A swap holds two releases for a moment, so memory goes up and down; only what its crests do tells of a leak.
        They are the 95th percentiles of the first and the last third of the time after warm-up.
        """
        pages = self.pages[int(len(self.pages) * warm_share) :]
        third = max(1, len(pages) // 3)
        first, last = (sorted(part)[int(0.95 * (third - 1))] for part in (pages[:third], pages[-third:]))
        return last / first - 1
