"""The server's processes: one that answers, or several under a supervisor that replaces the dead.

All workers accept from one listening socket that the first process opened, so the port is known before any of them
is ready, and stays open while one is replaced. They take connections in turn, see ``http/acceptor.py``.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn

from everloop.core.clock import Clock
from everloop.core.errors import UnavailableError
from everloop.core.project import Project
from everloop.serve.address import Address, forget_address, is_alive, write_address
from everloop.serve.app import build_app
from everloop.serve.doors.redaction import install_redaction
from everloop.serve.doors.rules import Exposure
from everloop.serve.doors.tls import open_certificate
from everloop.serve.http.acceptor import Standing
from everloop.serve.http.connection import Connection, Connections
from everloop.serve.http.server import Server
from everloop.serve.metrics import FAMILIES, Metrics
from everloop.serve.service import exposure_of
from everloop.serve.tally import forget_gauges
from everloop.store.engine import open_store

__all__ = ["serve"]

_log = logging.getLogger(__name__)

_BACKLOG = 2048
_RESTART_SECONDS = 1.0
_STANDING = "connections"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(
    project: Project,
    clock: Clock,
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    announce: Callable[[Address], None] = lambda _: None,
) -> None:
    """Serve a project until SIGTERM or SIGINT; requests that were begun are answered first.

    Args:
        project: the project.
        clock: the time that answers carry.
        host: where to listen, ``serve.host`` by default.
        port: likewise; 0 takes a free one.
        workers: how many processes answer, ``serve.workers`` by default.
        announce: told the address when the first requests can be answered.

    Raises:
        UnavailableError: the address is taken, or the store does not answer.
    """
    settings = project.settings.serve
    address = settings.host if host is None else host
    install_redaction()
    with contextlib.closing(open_store(project.store_url)) as store:
        exposure = exposure_of(project, store, address)
    for warning in exposure.warnings:
        _log.warning("%s", warning)
    is_secure = open_certificate(project.settings, project.root) is not None  # a bad one is told before anything starts
    listener = _listen(address, settings.port if port is None else port)
    count = settings.workers if workers is None else workers
    try:
        told = _address(listener, count, clock, is_secure=is_secure)

        def ready() -> None:
            write_address(project, told)
            announce(told)

        if count == 1:
            _answer(Post(project, clock, listener, exposure), ready)
        else:
            post = Post(project, clock, listener, exposure, metrics=_metrics_folder(project), workers=count)
            _Supervisor(post, count).run(ready)
    finally:
        forget_address(project)
        listener.close()


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker needs to answer.

    Attributes:
        project: the project.
        clock: the time that answers carry.
        listener: the socket that all workers accept from.
        exposure: who may come without a key.
        metrics: where all workers keep their numbers; ``None`` for one worker.
        workers: how many workers there are.
        number: this worker's, from 0.
    """

    project: Project
    clock: Clock
    listener: socket.socket
    exposure: Exposure
    metrics: Path | None = None
    workers: int = 1
    number: int = 0

    def standing(self) -> Standing | None:
        """How many connections the workers have; ``None`` for one worker."""
        if self.metrics is None:
            return None
        return Standing(self.metrics / _STANDING, workers=self.workers, own=self.number)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UnavailableError(
            "port_taken",
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="does another server run? choose a port: --port 0 takes a free one",
            path="serve.port",
        ) from error
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def _address(listener: socket.socket, workers: int, clock: Clock, *, is_secure: bool) -> Address:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    netloc = f"[{shown}]" if ":" in shown else shown
    scheme = "https" if is_secure else "http"
    return Address(f"{scheme}://{netloc}:{port}", host, port, os.getpid(), workers, clock.now().isoformat())


def _answer(post: Post, ready: Callable[[], None]) -> None:
    """Answer requests in this process until a signal comes."""
    project = post.project
    store = open_store(project.store_url, fsync=project.settings.log.fsync)
    try:
        certificate = open_certificate(project.settings, project.root)
        app = build_app(project, store, post.clock, metrics=Metrics(post.metrics), exposure=post.exposure)
        standing = post.standing()
        group = Connections() if standing is None else Connections(standing.tell)
        config = uvicorn.Config(
            app,
            http=cast("Any", functools.partial(Connection, gate=app.state.gate, group=group)),
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context,
            timeout_graceful_shutdown=max(1, round(project.settings.serve.timeout_seconds)),
        )
        server = Server(config, ready, certificate, group=group, standing=standing)
        with _calm_signals():
            server.run(sockets=[post.listener])
    finally:
        store.close()
    if not server.started:
        raise UnavailableError("server_start", "the server could not start", hint="the lines above tell why")


@contextlib.contextmanager
def _calm_signals() -> Iterator[None]:
    """Signals that uvicorn raises again when it has drained do nothing then: the process ends by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ignore(_number: int, _frame: FrameType | None) -> None:
        return None

    before = {number: signal.signal(number, ignore) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(post: Post, ready: Pipe) -> None:
    """The whole life of a worker."""
    install_redaction()
    # a worker whose supervisor was killed would hold the port for ever
    threading.Thread(target=_end_with, args=(os.getppid(),), name="everloop-parent", daemon=True).start()

    def tell() -> None:
        with contextlib.suppress(OSError):
            ready.send(True)

    _answer(post, tell)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


class _Supervisor:
    """Keeps a number of workers alive."""

    def __init__(self, post: Post, count: int) -> None:
        self._post = post
        self._count = count
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[SpawnProcess, Pipe] = {}
        self._is_ready: set[SpawnProcess] = set()
        self._stop = False
        self._metrics = cast("Path", post.metrics)
        self._standing = Standing.make(self._metrics / _STANDING, workers=count)
        self._numbers: dict[SpawnProcess, int] = {}

    def run(self, ready: Callable[[], None]) -> None:
        """Start the workers, replace those that die, and end them all when told to."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        wake_read, wake_write = socket.socketpair()
        wake_write.setblocking(False)
        old_wake = signal.set_wakeup_fd(wake_write.fileno())
        try:
            # the schema is brought up to date once, before several workers would
            open_store(self._post.project.store_url).close()
            for number in range(self._count):
                self._start(number)
            self._watch(wake_read, ready)
            self._end()
        finally:
            for worker in self._workers:
                worker.kill()
            signal.set_wakeup_fd(old_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            wake_read.close()
            wake_write.close()
            shutil.rmtree(self._metrics, ignore_errors=True)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

    def _start(self, number: int) -> None:
        receiver, sender = self._context.Pipe(duplex=False)
        worker = self._context.Process(
            target=_work,
            args=(replace(self._post, number=number), sender),
            name="everloop-worker",
        )
        worker.start()
        self._numbers[worker] = number
        sender.close()
        self._workers[worker] = receiver

    def _watch(self, wake: socket.socket, ready: Callable[[], None]) -> None:
        is_announced = False
        while not self._stop:
            pending = [pipe for worker, pipe in self._workers.items() if worker not in self._is_ready]
            happened = wait([wake, *pending, *(worker.sentinel for worker in self._workers)])
            if wake in happened:
                wake.recv(64)
            for worker, pipe in list(self._workers.items()):
                if pipe in happened and worker not in self._is_ready:
                    with contextlib.suppress(EOFError):
                        pipe.recv()
                        self._is_ready.add(worker)
                if worker.sentinel in happened and not self._stop:
                    self._replace(worker)
            if not is_announced and len(self._is_ready) == self._count:
                is_announced = True
                ready()

    def _replace(self, worker: SpawnProcess) -> None:
        worker.join()
        _log.error("worker %s ended with %s; starting another", worker.pid, worker.exitcode)
        was_ready = worker in self._is_ready
        self._workers.pop(worker).close()
        self._is_ready.discard(worker)
        forget_gauges(self._metrics, str(worker.pid), FAMILIES)
        number = self._numbers.pop(worker)
        self._standing.forget(number)
        if not was_ready:
            time.sleep(_RESTART_SECONDS)  # one that cannot even start is not tried in a tight loop
        self._start(number)

    def _end(self) -> None:
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + self._post.project.settings.serve.timeout_seconds + 5
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))


def _metrics_folder(project: Project) -> Path:
    """The folder of this server's numbers; what servers that were killed left is deleted."""
    parent = project.home / "metrics"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        if left.name.isdigit() and not is_alive(int(left.name)):
            shutil.rmtree(left, ignore_errors=True)
    folder = parent / str(os.getpid())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
