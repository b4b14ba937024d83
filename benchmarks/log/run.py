"""What it costs to store a prediction before it is answered.

Callers that each wait until their prediction is stored and then put the next one, as connections do: one, or 32 at
once. A row tells the CPU of the whole process for one prediction, threads and callers included, how many were stored
a second, and how long a caller waited. Everything runs in processes of their own, several times in turn; the quietest
run of each counts. PostgreSQL is asked where a URL of a database is given.

    python benchmarks/log/run.py [--runs 5] [--seconds 2] [--postgres postgresql+psycopg://user@host/name]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from everloop.core.clock import SystemClock
from everloop.core.errors import EverloopError
from everloop.core.ids import new_id
from everloop.core.project import Project, parse_settings
from everloop.serve.log.log import PredictionLog
from everloop.serve.metrics import Metrics
from everloop.store.engine import open_store
from everloop.store.facts import Prediction, add_predictions

RESULTS = Path(__file__).parents[1] / "results" / "log.json"
REQUEST = json.dumps({"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 30], "data": [0.123456] * 30}]})


@dataclass(frozen=True)
class Case:
    """What a row measures."""

    name: str
    url: str
    callers: int
    fsync: bool = False
    processes: int = 1


class Load:
    """Callers on one event loop."""

    def __init__(self, log: PredictionLog, callers: int) -> None:
        self.log = log
        self.callers = callers
        self.stored = 0
        self.waits: list[float] = []
        self.is_over = False
        self.left = callers
        self.over = asyncio.Event()

    def put(self) -> None:
        """One caller's next prediction."""
        if self.is_over:
            self.left -= 1
            if not self.left:
                self.over.set()
            return
        now = datetime.now(UTC)
        row = Prediction(
            new_id(now), now, "a" * 64, "b" * 64, "champion", "infer", None, now, now, REQUEST.encode(), bytes(40)
        )
        started = time.perf_counter()

        def done(error: EverloopError | None) -> None:
            if error is not None:
                raise SystemExit(f"refused: {error}")
            self.waits.append(time.perf_counter() - started)
            self.stored += 1
            asyncio.get_running_loop().call_soon(self.put)

        self.log.put(row, done)

    async def run(self, seconds: float) -> dict[str, float]:
        """Warm up, then measure."""
        loop = asyncio.get_running_loop()
        self.log.start(loop)
        for _ in range(self.callers):
            self.put()
        await asyncio.sleep(0.3)
        before, cpu, wall = self.stored, time.process_time(), time.perf_counter()
        self.waits.clear()
        await asyncio.sleep(seconds)
        stored, cpu, wall = self.stored - before, time.process_time() - cpu, time.perf_counter() - wall
        waits = sorted(self.waits)
        self.is_over = True
        await self.over.wait()
        return {
            "cpu_us": cpu / stored * 1e6,
            "per_second": stored / wall,
            "p50_us": waits[len(waits) // 2] * 1e6,
            "p99_us": waits[len(waits) * 99 // 100] * 1e6,
        }


def work(folder: str, url: str, callers: int, fsync: str, seconds: float) -> None:
    """One process of a case; prints its row."""
    tree = {"project": {"name": "log", "task": "regression"}, "store": {"url": url}}
    settings = parse_settings(tree, overrides=[f"log.fsync={fsync}"])
    project = Project(root=Path(folder), settings=settings, home=Path(folder))
    store = open_store(url, fsync=settings.log.fsync)
    log = PredictionLog(project, store, SystemClock(), watcher=Metrics())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # which the server runs on
        print(json.dumps(runner.run(Load(log, callers).run(seconds))))
    log.close()


def measure(case: Case, seconds: float) -> dict[str, float]:
    """One run of a case; its processes' rates are added, the rest is averaged."""
    with tempfile.TemporaryDirectory(prefix="everloop-log-") as folder:
        url = case.url or f"sqlite:///{folder}/store.db"
        store = open_store(url, fsync=False)
        now = datetime.now(UTC)
        with store.write() as tx:  # an empty table has no pages to split
            tx.exec_driver_sql("DELETE FROM predictions")
            add_predictions(
                tx,
                [
                    Prediction(new_id(now), now, "a" * 64, "", "champion", "infer", None, now, now, b"", bytes(40))
                    for _ in range(2_000)
                ],
            )
        store.close()
        command = [sys.executable, __file__, "--work", folder, url, str(case.callers), str(case.fsync).lower()]
        running = [
            subprocess.Popen([*command, "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True)
            for _ in range(case.processes)
        ]
        rows = [json.loads(process.communicate()[0]) for process in running]
    return {
        name: sum(row[name] for row in rows) / (1 if name == "per_second" else len(rows))
        for name in ("cpu_us", "per_second", "p50_us", "p99_us")
    }


def main() -> int:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--postgres", default="")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        folder, url, callers, fsync = options.work
        work(folder, url, int(callers), fsync, options.seconds)
        return 0
    cases = [
        Case("sqlite, 32 callers", "", 32),
        Case("sqlite, 1 caller", "", 1),
        Case("sqlite, 2 processes of 32 callers", "", 32, processes=2),
        Case("sqlite with fsync, 32 callers", "", 32, fsync=True),
        Case("sqlite with fsync, 1 caller", "", 1, fsync=True),
    ]
    if options.postgres:
        cases += [
            Case("postgresql, 32 callers", options.postgres, 32),
            Case("postgresql, 1 caller", options.postgres, 1),
            Case("postgresql, 2 processes of 32 callers", options.postgres, 32, processes=2),
        ]
    before = os.getloadavg()[0]
    runs: dict[str, list[dict[str, float]]] = {case.name: [] for case in cases}
    for _ in range(options.runs):  # in turn, so that a busy moment of the machine meets all alike
        for case in cases:
            runs[case.name].append(measure(case, options.seconds))
    table: list[dict[str, Any]] = []
    for case in cases:
        best = min(runs[case.name], key=lambda row: row["cpu_us"])
        table.append({"what": case.name, "runs": options.runs} | {name: round(each, 1) for name, each in best.items()})
        print(table[-1])
    results = {
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load_before_and_after": [before, os.getloadavg()[0]],
        },
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "table": table,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
