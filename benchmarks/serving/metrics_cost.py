"""What the metrics cost a request: how often each is called on the hot way, times what a call costs.

    python metrics_cost.py PROJECT BODY

serves the project in this process, asks it with the body in a file, counts the calls of counters, histograms and the
clock, times each alone, and prints JSON. One request at a time is asked, so that each pays for a whole commit of the
log: no request under load costs more.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from everloop.core.clock import SystemClock
from everloop.core.project import load_project
from everloop.serve.address import Address
from everloop.serve.process import serve
from everloop.serve.tally import Cell, Family, HistogramCell, Tally

_ASKED = 500
_TIMED = 200_000
_BUCKETS = tuple(float(place) for place in range(16))


def _counted(calls: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        calls[name] += 1
        return function(*arguments)

    return call


def _calls_of_a_request(folder: Path, body: bytes) -> dict[str, float]:
    """How often each is called for one request."""
    calls: Counter[str] = Counter()
    originals: dict[str, Any] = {"add": Cell.add, "set": Cell.set, "observe": HistogramCell.observe}
    clock = time.perf_counter
    found: dict[str, float] = {}

    def ask(address: Address) -> None:
        try:
            connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
            for asked in range(2 * _ASKED):
                if asked == _ASKED:  # the first half warms up what is made once
                    calls.clear()
                connection.request("POST", "/v2/models/regressor/infer", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                if response.status != 200:
                    raise SystemExit(f"answer {response.status}: {response.read()!r}")
                response.read()
            found.update({name: count / _ASKED for name, count in calls.items()})
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    Cell.add = _counted(calls, "add", originals["add"])  # type: ignore[method-assign]
    Cell.set = _counted(calls, "set", originals["set"])  # type: ignore[method-assign]
    HistogramCell.observe = _counted(calls, "observe", originals["observe"])  # type: ignore[method-assign]
    time.perf_counter = _counted(calls, "clock", clock)
    try:
        project = load_project(folder)
        serve(project, SystemClock(), port=0, announce=lambda each: threading.Thread(target=ask, args=(each,)).start())
    finally:
        Cell.add, Cell.set = originals["add"], originals["set"]  # type: ignore[method-assign]
        HistogramCell.observe = originals["observe"]  # type: ignore[method-assign]
        time.perf_counter = clock
    return found


def _microseconds(call: Callable[[], Any]) -> float:
    """The cost of one call, the loop's included; the least of five."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(_TIMED):
            call()
        best = min(best, time.perf_counter() - started)
    return best / _TIMED * 1e6


def main() -> None:
    """Count, time, print."""
    calls = _calls_of_a_request(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes())
    counter, histogram = Family("counter", ""), Family("histogram", "", "histogram", (), _BUCKETS)
    tally = Tally([counter, histogram])
    cell, buckets = tally.cell(counter), tally.histogram(histogram)
    costs = {
        "add": _microseconds(cell.add),
        "set": _microseconds(lambda: cell.set(1.0)),
        "observe": _microseconds(lambda: buckets.observe(3.5)),
        "clock": _microseconds(time.perf_counter),
    }
    total = sum(calls.get(name, 0.0) * cost for name, cost in costs.items())
    print(json.dumps({"microseconds": total, "calls": calls, "costs": costs}))


if __name__ == "__main__":
    main()
