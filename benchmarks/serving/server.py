"""A server under measurement: started on cores of its own, stopped while another is measured, and ended for good.

Its processes are found by a mark in their environment, so that none is missed however a server starts them.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from measuring.machine import busy_seconds
from measuring.ports import free_ports
from serving.load import Load, Requests, ask_for

__all__ = ["Contender", "FailedStartError", "Server"]

_MARK = "EVERLOOP_BENCHMARK"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LONGEST_START_SECONDS = 180.0
_LONGEST_END_SECONDS = 20.0


class FailedStartError(Exception):
    """A server did not come up; the text holds the end of what it said."""


@dataclass(frozen=True)
class Contender:
    """A server that can be started.

    Attributes:
        name: its name in the table.
        command: its command; ``{port}``, ``{port2}`` and ``{port3}`` become free ports.
        one: requests of one row each.
        rows: the rows of these, by which the answers are checked, where there are any.
        hundred: requests of a hundred rows each, where they are measured; also with binary tensors.
        read: the predictions in an answer, and the release that gave them where the server tells it.
        environment: variables beside those of this process; ports are put in.
        folder: where it is started.
        note: what a reader of the table must know.
        is_pausable: whether it bears to be stopped while another is measured.
    """

    name: str
    command: Sequence[str]
    one: Requests
    read: Callable[[bytes, Mapping[str, str]], tuple[list[float], str]]
    folder: Path
    rows: NDArray[np.float64] | None = None
    hundred: Requests | None = None
    hundred_binary: Requests | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    is_pausable: bool = True


class Server:
    """A started server.

    Args:
        contender: what is started.
        cores: the cores that it may use, as ``taskset`` takes them; all by default.

    Attributes:
        port: where it listens.
        ready_seconds: from the start of its process to its first good answer.
        rss_mb: the resident memory of all its processes then.
        pss_mb: the same, with shared pages counted once.
    """

    def __init__(self, contender: Contender, *, cores: str = "") -> None:
        self.contender = contender
        self._cores = cores
        self._mark = uuid.uuid4().hex
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self.port = 0
        self.ready_seconds = self.rss_mb = self.pss_mb = 0.0
        self.is_paused = False

    def __enter__(self) -> Server:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ask(self, requests: Requests, place: int) -> tuple[int, bytes, dict[str, str]]:
        """One request: status, body and headers; status 0 where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = dict(requests.headers[place])
            connection.request(requests.method, requests.paths[place], requests.bodies[place] or None, headers)
            response = connection.getresponse()
            return response.status, response.read(), {name.lower(): text for name, text in response.getheaders()}
        except (OSError, http.client.HTTPException):
            return 0, b"", {}
        finally:
            connection.close()

    def load(self, requests: Requests, *, seconds: float, connections: int, threads: int = 1) -> Load:
        """Load by ``wrk``, with the server's CPU time and what else kept the machine busy."""
        server, all_cores, client = self._cpu_seconds(), busy_seconds(), _children_seconds()
        started = time.perf_counter()
        found = ask_for(requests, self.port, seconds=seconds, connections=connections, threads=threads)
        wall = time.perf_counter() - started
        server = self._cpu_seconds() - server
        client = _children_seconds() - client
        elsewhere = busy_seconds() - all_cores - server - client
        return replace(
            found,
            busy_elsewhere=max(0.0, elsewhere / wall),
            server_cpu_us=server / max(1, found.requests) * 1e6,
            client_cpu_us=client / max(1, found.requests) * 1e6,
        )

    def pause(self) -> None:
        """Stop all its processes where they are."""
        if self.contender.is_pausable:
            self.is_paused = True
            self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on."""
        if self.is_paused:
            self.is_paused = False
            self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, by force where it does not end by itself."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _LONGEST_END_SECONDS
        while self._processes():
            if time.monotonic() > deadline:
                self._signal(signal.SIGKILL)
            self._reap()
            time.sleep(0.02)
        self._log.close()

    def said(self) -> str:
        """The end of what it wrote."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-3000:]

    def _start(self) -> None:
        contender = self.contender
        ports = dict(zip(("port", "port2", "port3"), map(str, free_ports(3)), strict=True))
        self.port = int(ports["port"])
        command = [_filled(part, ports) for part in contender.command]
        if self._cores:
            command = ["taskset", "-c", self._cores, *command]
        else:
            command = ["taskset", "-c", ",".join(map(str, range(os.cpu_count() or 1))), *command]
        environment = {name: _filled(text, ports) for name, text in contender.environment.items()}
        started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            cwd=contender.folder,
            env={**os.environ, **environment, _MARK: self._mark},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        deadline = started + _LONGEST_START_SECONDS
        while self.ask(contender.one, 0)[0] != 200:
            if self._process.poll() is not None or time.perf_counter() > deadline:
                raise FailedStartError(f"{contender.name} did not come up:\n{self.said()}")
            time.sleep(0.005)
        self.ready_seconds = time.perf_counter() - started
        self.rss_mb, self.pss_mb = self._memory_mb()

    def _reap(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            process.poll()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _processes(self) -> list[int]:
        mark = f"{_MARK}={self._mark}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def _memory_mb(self) -> tuple[float, float]:
        resident = shared = 0.0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                shared += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
        return resident, shared

    def _cpu_seconds(self) -> float:
        ticks = 0
        for pid in self._processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS


def _filled(text: str, ports: Mapping[str, str]) -> str:
    for name, port in ports.items():
        text = text.replace(f"{{{name}}}", port)
    return text


def _children_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
