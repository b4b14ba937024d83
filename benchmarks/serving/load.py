"""Load by ``wrk``: the same requests over connections that stay open, and what it measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Load", "Requests", "ask_for", "find_wrk"]

_SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Requests:
    """What a client sends, in turn.

    Attributes:
        method: the HTTP method.
        paths: a request's path each.
        bodies: a request's body each; empty ones for GET.
        headers: a request's headers each.
    """

    method: str
    paths: Sequence[str]
    bodies: Sequence[bytes]
    headers: Sequence[Mapping[str, str]]

    def write(self, port: int, file: Path) -> None:
        """Write them as they go over the wire, each behind its length."""
        with file.open("wb") as out:
            for path, body, headers in zip(self.paths, self.bodies, self.headers, strict=True):
                lines = [f"{self.method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                if body:
                    lines.append(f"Content-Length: {len(body)}")
                request = "\r\n".join([*lines, "", ""]).encode() + body
                out.write(b"%d\n" % len(request) + request)


@dataclass(frozen=True)
class Load:
    """What one run of ``wrk`` measured.

    Attributes:
        per_second: answers a second.
        requests: how many answers there were.
        p50_us: the median time to an answer, in microseconds; likewise the 99th percentile and the longest.
        errors: answers that were no success, and requests without an answer.
        busy_elsewhere: cores that were busy with neither server nor client.
        server_cpu_us: the server's CPU time for one request, in microseconds.
        client_cpu_us: that of ``wrk``, likewise.
    """

    per_second: float
    requests: int
    p50_us: float
    p99_us: float
    most_us: float
    errors: int
    busy_elsewhere: float = 0.0
    server_cpu_us: float = 0.0
    client_cpu_us: float = 0.0


def find_wrk() -> str:
    """The path of ``wrk``."""
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    return found


def ask_for(requests: Requests, port: int, *, seconds: float, connections: int, threads: int = 1) -> Load:
    """Send requests for so long.

    Args:
        requests: what is sent.
        port: where the server listens, on this machine.
        seconds: for how long; whole seconds.
        connections: how many connections ask at once, each the next as soon as it has an answer.
        threads: of ``wrk``.
    """
    with tempfile.NamedTemporaryFile(prefix="everloop-requests-", delete=False) as file:
        path = Path(file.name)
    try:
        requests.write(port, path)
        command = [find_wrk(), f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        command += ["-s", str(_SCRIPT), f"http://127.0.0.1:{port}/", "--", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
    finally:
        path.unlink()
    return read_line(done.stdout)


def read_line(output: str) -> Load:
    r"""What ``load.lua`` printed.

    >>> line = '{"requests":30,"microseconds":2000000,"p50":1.5,"p99":3.0,"most":9.0,"status":1,"connect":0}'
    >>> load = read_line("Running 2s test\n" + line + "\n")
    >>> load.per_second, load.p99_us, load.errors
    (15.0, 3.0, 1)
    """
    found = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    errors = sum(found.get(name, 0) for name in ("connect", "read", "write", "status", "timeout"))
    return Load(
        per_second=found["requests"] / found["microseconds"] * 1e6,
        requests=found["requests"],
        p50_us=found["p50"],
        p99_us=found["p99"],
        most_us=found["most"],
        errors=errors,
    )
