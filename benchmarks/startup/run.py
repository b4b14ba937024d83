"""How soon the server answers after it is started, beside MLServer with the same LightGBM booster.

A run counts from the start of the process to the first answer of ``/v2/health/ready`` that says yes, and on to the
first prediction. Both servers are asked by the same client over the same protocol. MLServer gets an environment of its
own, kept in a cache folder; without a network that has it, its rows are left out and the claim about it does not hold.
``everloop --help`` is timed beside an empty Python.

    python benchmarks/startup/run.py [--runs 7]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring.claims import claim_of  # the folder of all benchmarks is their common root
from measuring.environments import make_environment
from measuring.machine import describe_machine
from measuring.ports import free_ports
from startup.project import HORIZON, SERIES, make_project

RESULTS = Path(__file__).parents[1] / "results" / "startup.json"
PEER_VERSION = "1.7.1"
# its worker process does not start with a newer uvloop
PEER = (f"mlserver=={PEER_VERSION}", f"mlserver-lightgbm=={PEER_VERSION}", "uvloop<0.22")
HEAVY = ("mlflow", "pandas", "sklearn", "pyarrow", "polars", "deltalake", "lightgbm", "statsforecast", "matplotlib")
MODULES = """
import json, os, signal, sys, threading, urllib.request
from pathlib import Path
from everloop.core.clock import SystemClock
from everloop.core.project import load_project
from everloop.serve.process import serve

def ask(url):
    body = json.dumps({"series": [sys.argv[2]]}).encode()
    request = urllib.request.Request(url + "/v1/forecast", body, {"content-type": "application/json"})
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    finally:
        os.kill(os.getpid(), signal.SIGTERM)

serve(load_project(Path(sys.argv[1])), SystemClock(),
      announce=lambda address: threading.Thread(target=ask, args=(address.url,)).start())
"""


@dataclass(frozen=True)
class Contender:
    """A server to start: its command, environment, and the request of its first prediction."""

    name: str
    command: list[str]
    path: str
    body: dict[str, Any]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """One start, in seconds; ``rss_mb`` is the memory of the process and its children after the first prediction."""

    ready: float
    predicted: float
    rss_mb: float


def main() -> int:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="everloop-startup-") as name:
        folder = Path(name)
        # all contenders run from compiled bytecode, as an installation that has run once does
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        (folder / "project").mkdir()
        project = make_project(folder / "project")
        contenders = [
            _everloop(folder / "project"),
            *_mlserver(folder, next(project.releases.glob("*/model/booster.txt"))),
        ]
        for contender in contenders:  # once uncounted, so that every file is in the page cache
            _start(contender)
        starts: dict[str, list[Start]] = {contender.name: [] for contender in contenders}
        for _ in range(options.runs):  # in turn, so that a busy moment of the machine meets all alike
            for contender in contenders:
                starts[contender.name].append(_start(contender))
        heavy = _heavy_modules(folder / "project")
    commands = _time_commands({
        "python -c pass": [sys.executable, "-c", "pass"],
        "everloop --help": [sys.executable, "-m", "everloop.cli.main", "--help"],
    }, runs=3 * options.runs)  # fmt: skip
    results = _results(starts, commands, heavy, before)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for row in results["table"]:
        print(row)
    for claim in results["claims"]:
        print(f"{'holds' if claim['holds'] else 'FAILS'}: {claim['claim']}: {claim['measured']} {claim['unit']}")
    return 0


def _everloop(folder: Path) -> Contender:
    tensor = {"name": "series", "datatype": "BYTES", "shape": [1], "data": [SERIES]}
    command = [sys.executable, "-m", "everloop.cli.main", "serve", "--project", str(folder), "--port", "{port}"]
    return Contender("everloop serve", command, "/v2/models/demand/infer", {"inputs": [tensor]}, folder)


def _mlserver(folder: Path, booster: Path) -> list[Contender]:
    """MLServer as it comes, and without its worker process, which starts sooner."""
    environment = make_environment("mlserver", PEER)
    if environment.python is None:
        print(f"MLServer {environment.reason}", file=sys.stderr)
        return []
    features = int(
        next(line for line in booster.read_text().splitlines() if line.startswith("max_feature_idx=")).split("=")[1]
    )
    contenders = []
    for workers, name in ((1, "mlserver start"), (0, "mlserver start, parallel_workers=0")):
        place = folder / f"mlserver-{workers}"
        place.mkdir()
        shutil.copy(booster, place / "model.bst")
        settings = {
            "name": "demand",
            "implementation": "mlserver_lightgbm.LightGBMModel",
            "parameters": {"uri": "./model.bst"},
        }
        (place / "model-settings.json").write_text(json.dumps(settings))
        shape = [HORIZON, features + 1]  # as many rows as one series' forecast has steps
        data = np.zeros(shape).ravel().tolist()
        body = {"inputs": [{"name": "rows", "datatype": "FP64", "shape": shape, "data": data}]}
        variables = {
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{grpc}",
            "MLSERVER_METRICS_PORT": "{metrics}",
            "MLSERVER_PARALLEL_WORKERS": str(workers),
        }
        command = [environment.command("mlserver"), "start", str(place)]
        contenders.append(Contender(name, command, "/v2/models/demand/infer", body, place, variables))
    return contenders


def _start(contender: Contender) -> Start:
    """Start a server, wait for its first prediction, and end it."""
    ports = dict(zip(("port", "grpc", "metrics"), map(str, free_ports(3)), strict=True))
    command = [part.format(**ports) if "{" in part else part for part in contender.command]
    environment = {**os.environ, **{name: text.format(**ports) for name, text in contender.environment.items()}}
    with tempfile.TemporaryFile() as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=contender.folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            port = int(ports["port"])
            _wait_until(process, lambda: _ask(port, "GET", "/v2/health/ready") == 200)
            _wait_until(process, lambda: _ask(port, "GET", "/v2/models/demand/ready") == 200)
            ready = time.perf_counter() - started
            body = json.dumps(contender.body)
            _wait_until(process, lambda: _ask(port, "POST", contender.path, body) == 200)
            predicted = time.perf_counter() - started
            return Start(ready, predicted, _memory_mb(process.pid))
        except SystemExit:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_until(process: subprocess.Popen[bytes], look: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + 60
    while not look():
        if process.poll() is not None or time.perf_counter() > deadline:
            raise SystemExit(f"{process.args!r} did not come up (exit status {process.poll()})")
        time.sleep(0.002)


def _ask(port: int, method: str, path: str, body: str | None = None) -> int:
    """The status of one request, 0 where nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _memory_mb(group: int) -> float:
    """The resident memory of all processes of a group."""
    text = subprocess.run(["ps", "-eo", "pgid=,rss="], capture_output=True, check=True, text=True).stdout
    rows = [line.split() for line in text.splitlines()]
    return sum(int(rss) for pgid, rss in rows if int(pgid) == group) / 1024


def _heavy_modules(folder: Path) -> list[str]:
    """Heavy libraries that a server has imported after it answered a forecast."""
    command = [sys.executable, "-c", MODULES, str(folder), SERIES]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return sorted(set(json.loads(done.stdout)) & set(HEAVY))


def _time_commands(commands: Mapping[str, list[str]], *, runs: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _results(
    starts: Mapping[str, list[Start]], commands: Mapping[str, list[float]], heavy: list[str], before: float
) -> dict[str, Any]:
    table: list[dict[str, Any]] = [
        {
            "what": name,
            "runs": len(runs),
            "ready_seconds": round(median(run.ready for run in runs), 3),
            "first_prediction_seconds": round(median(run.predicted for run in runs), 3),
            "memory_mb": round(median(run.rss_mb for run in runs), 1),
        }
        for name, runs in starts.items()
    ]
    table += [{"what": name, "runs": len(runs), "seconds": round(median(runs), 4)} for name, runs in commands.items()]
    return {
        "machine": describe_machine(before),
        "versions": {name: version(name) for name in ("everloop", "uvicorn", "starlette", "sqlalchemy", "numpy")}
        | {"python": platform.python_version(), "mlserver": PEER_VERSION},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "table": table,
        "claims": _claims(starts, commands, heavy),
    }


def _claims(
    starts: Mapping[str, list[Start]], commands: Mapping[str, list[float]], heavy: list[str]
) -> list[dict[str, Any]]:
    own = [run.predicted for run in starts["everloop serve"]]
    peers = {name: [run.predicted for run in runs] for name, runs in starts.items() if name.startswith("mlserver")}
    claims = []
    if peers:
        fastest = min(peers, key=lambda name: median(peers[name]))
        claim = f"First prediction sooner than with '{fastest}', times"
        claims.append(_ratio_claim("startup.mlserver", claim, peers[fastest], own, at_least=2.0))
        claim = "First prediction sooner than with 'mlserver start' as it comes, times"
        claims.append(_ratio_claim("startup.mlserver_default", claim, peers["mlserver start"], own, at_least=3.0))
    else:
        claims.append(
            claim_of("startup.mlserver", "First prediction sooner than with MLServer, times", "x", 2.0, None, None)
        )
    help_seconds, empty = commands["everloop --help"], commands["python -c pass"]
    claims.append(_ratio_claim(
        "startup.help", "everloop --help takes so many times an empty Python", help_seconds, empty, at_most=3.0
    ))  # fmt: skip
    low, high = _interval(help_seconds)
    claims.append(
        claim_of("startup.help_seconds", "everloop --help", "s", 0.2, median(help_seconds), (low, high), is_most=True)
    )
    claims.append(
        claim_of(
            "startup.light",
            f"heavy libraries imported by a server that has answered a LightGBM forecast (of {', '.join(HEAVY)})",
            "libraries",
            0,
            len(heavy),
            (len(heavy), len(heavy)),
            is_most=True,
        )
    )
    return claims


def _ratio_claim(
    name: str,
    claim: str,
    over: list[float],
    under: list[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> dict[str, Any]:
    """A claim on a ratio of medians, with a bootstrap interval of 95 %."""
    random = np.random.default_rng(7)
    upper = np.median(random.choice(over, (2000, len(over))), axis=1)
    lower = np.median(random.choice(under, (2000, len(under))), axis=1)
    low, high = np.quantile(upper / lower, [0.025, 0.975])
    target = at_least if at_least is not None else at_most
    return claim_of(
        name, claim, "x", target, median(over) / median(under), (low, high), is_most=at_least is None
    )  # fmt: skip


def _interval(seconds: list[float]) -> tuple[float, float]:
    random = np.random.default_rng(7)
    low, high = np.quantile(np.median(random.choice(seconds, (2000, len(seconds))), axis=1), [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
