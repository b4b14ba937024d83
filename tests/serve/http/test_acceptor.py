"""Connections are shared among those that accept from one socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from everloop.serve.http.acceptor import Acceptor, Standing


class Held(asyncio.Protocol):
    """Counts itself among the connections of its worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._worker.held.append(transport)
        self._worker.standing.tell(len(self._worker.held))


class Worker:
    """One that accepts, as one process would."""

    def __init__(self, file: Path, number: int, listener: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        self.standing = Standing(file, workers=3, own=number)
        self.held: list[asyncio.BaseTransport] = []
        shared = listener.dup()  # each process has a descriptor of its own
        self.acceptor = Acceptor(shared, lambda: Held(self), lambda: len(self.held), standing=self.standing, tls=tls)

    def close(self) -> None:
        self.acceptor.close()
        self.acceptor.close()
        for each in self.held:
            each.close()
        self.acceptor.sockets[0].close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = Standing.make(tmp_path / "connections", workers=3)
    assert made.fewest() is None
    return tmp_path / "connections"


async def pool(listener: socket.socket, count: int) -> list[socket.socket]:
    """So many connections, opened at once."""
    loop = asyncio.get_running_loop()
    made = [socket.socket() for _ in range(count)]
    for each in made:
        each.setblocking(False)
    await asyncio.gather(*(loop.sock_connect(each, listener.getsockname()) for each in made))
    return made


async def settled(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0)


def end(*workers: Worker, clients: list[socket.socket]) -> None:
    for worker in workers:
        worker.close()
    for client in clients:
        client.close()


def test_a_pool_goes_to_the_one_that_has_far_fewer(listener: socket.socket, file: Path) -> None:
    async def run() -> None:
        first = Worker(file, 0, listener)
        clients = await pool(listener, 12)
        await settled(lambda: len(first.held) == 12)
        second = Worker(file, 1, listener)
        clients += await pool(listener, 6)
        await settled(lambda: len(first.held) + len(second.held) == 18)
        assert len(second.held) >= 5
        end(first, second, clients=clients)

    asyncio.run(run())


def test_one_that_takes_none_does_not_keep_others_waiting_for_ever(listener: socket.socket, file: Path) -> None:
    async def run() -> None:
        hanging = Standing(file, workers=3, own=2)
        hanging.tell(0)
        worker = Worker(file, 0, listener)
        clients = await pool(listener, 2)
        await settled(lambda: len(worker.held) == 2)
        end(worker, clients=clients)

    asyncio.run(run())


def test_nothing_is_left_to_those_that_have_gone(listener: socket.socket, file: Path) -> None:
    async def run() -> None:
        first, gone = (Worker(file, number, listener) for number in (0, 1))
        gone.close()
        assert first.standing.fewest() is None
        clients = await pool(listener, 3)
        await settled(lambda: len(first.held) == 3)
        await first.acceptor.wait_closed()
        died = Standing(file, workers=3, own=1)
        died.tell(7)
        assert first.standing.fewest() == 7
        first.standing.forget(1)
        assert first.standing.fewest() is None
        end(first, clients=clients)

    asyncio.run(run())


def test_a_handshake_that_fails_costs_its_own_connection_alone(
    listener: socket.socket, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        worker = Worker(file, 0, listener, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        (client,) = await pool(listener, 1)
        await asyncio.get_running_loop().sock_sendall(client, b"GET / HTTP/1.1\r\n\r\n")
        assert await asyncio.get_running_loop().sock_recv(client, 100) != b"HTTP"
        await settled(lambda: worker.standing._view.tolist()[0] == 0)
        await worker.acceptor.wait_closed()
        assert not worker.held
        end(worker, clients=[client])

    asyncio.run(run())
