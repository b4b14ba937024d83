"""Rounds: all servers are started, and each in its turn is asked while the others stand still."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.load import Load, Requests
from serving.model import Model
from serving.server import Contender, FailedStartError, Server

__all__ = ["SERVER_CORE", "Measured", "Pace", "booster_microseconds", "client_on_one_core", "measure_starts"]

SERVER_CORE, CLIENT_CORE = "0", 1
_CHECKED = 20


@dataclass(frozen=True)
class Pace:
    """How long is measured.

    Attributes:
        rounds: how often each server has its turn.
        seconds: of one turn at 32 connections; other loads have half of it.
        starts: how often the servers of the claims about starting are started beside.
    """

    rounds: int
    seconds: float
    starts: int


@dataclass
class Measured:
    """All that was measured.

    Attributes:
        loads: by case and server, one for each round.
        ready: seconds from start to first answer, by server, one for each start.
        memory: resident and proportional memory at the first answer, in MB, by server, one for each start.
        figures: other figures by name, one for each round.
        skipped: servers that were not measured, and why.
        notes: what a reader of the table must know, by server.
        versions: of the peers.
    """

    loads: dict[tuple[str, str], list[Load]] = field(default_factory=lambda: defaultdict(list))
    ready: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def per_second(self, case: str, server: str) -> list[float]:
        """Answers a second, for each round."""
        return [each.per_second for each in self.loads.get((case, server), [])]

    def start(
        self, stack: contextlib.ExitStack, contender: Contender, models: Mapping[str, Model], *, cores: str
    ) -> Server | None:
        """Start a server and check its answers; ``None``, with the reason kept, where it does not come up."""
        self.notes[contender.name] = contender.note
        try:
            server = stack.enter_context(Server(contender, cores=cores))
        except FailedStartError as error:
            self.skipped[contender.name] = str(error)
            print(f"{contender.name}: {error}", file=sys.stderr)
            return None
        self.started(server)
        _check_answers(server, models)
        server.pause()
        print(f"{contender.name}: ready after {server.ready_seconds:.2f} s with {server.rss_mb:.0f} MB", flush=True)
        return server

    def started(self, server: Server) -> None:
        """Keep what a start showed."""
        self.ready[server.contender.name].append(server.ready_seconds)
        self.memory[server.contender.name].append((server.rss_mb, server.pss_mb))

    def ask(
        self, case: str, server: Server, requests: Requests, *, seconds: float, connections: int, threads: int = 1
    ) -> None:
        """One turn of a server that has been let go on."""
        load = server.load(requests, seconds=seconds, connections=connections, threads=threads)
        self.loads[case, server.contender.name].append(load)
        print(
            f"{server.contender.name:20} {case:34} {load.per_second:9.0f}/s  p50 {load.p50_us:8.0f} us  "
            f"p99 {load.p99_us:8.0f} us  cpu {load.server_cpu_us:6.0f} us"
            + (f"  {load.errors} errors" if load.errors else "")
            + (f"  {load.busy_elsewhere:.2f} cores busy elsewhere" if load.busy_elsewhere > 0.1 else ""),
            flush=True,
        )


def _check_answers(server: Server, models: Mapping[str, Model]) -> None:
    """Twenty answers must be the booster's own; a server that tells its release is held to that release's model.

    Args:
        server: what is asked.
        models: by release; the empty name's answers for servers that tell none.

    Raises:
        SystemExit: an answer is wrong, so no figure of this server could mean anything.
    """
    contender = server.contender
    if contender.rows is None:
        return
    expected = {release: model.predict(contender.rows[:_CHECKED]) for release, model in models.items()}
    for place in range(_CHECKED):
        status, body, headers = server.ask(contender.one, place)
        values, release = contender.read(body, headers)
        if status != 200 or values != [expected[release][place]]:
            raise SystemExit(f"{contender.name}: answer {place} is {values} ({status}), not the booster's")


def measure_starts(measured: Measured, contenders: Sequence[Contender], times: int) -> None:
    """Start and end servers in turn, for how soon they answer and how much memory they then have."""
    for _ in range(times):
        for contender in contenders:
            with Server(contender, cores=SERVER_CORE) as server:
                measured.started(server)


def booster_microseconds(models: Sequence[Model], rows: int, seconds: float) -> float:
    """The booster's own time for a call, on the servers' core; several models have their turns call by call."""
    script = Path(__file__).with_name("booster.py")
    files = [str(model.text) for model in models]
    command = ["taskset", "-c", SERVER_CORE, sys.executable, str(script), *files, str(rows), str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    return float(done.stdout)


@contextlib.contextmanager
def client_on_one_core() -> Iterator[None]:
    """This process, and so ``wrk``, on the core that the servers do not have."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CLIENT_CORE})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
