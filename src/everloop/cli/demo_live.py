"""The live days of the demo: a real server, real requests, real outcomes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from everloop.core.clock import ManualClock
from everloop.core.errors import UnavailableError
from everloop.core.project import Project
from everloop.data.panel import join_key
from everloop.loop.context import LoopContext
from everloop.loop.replay import known_at
from everloop.loop.tick import tick
from everloop.loop.trace import repeat_prediction, trace_prediction
from everloop.monitor.live import LiveReport, look
from everloop.serve.address import read_address
from everloop.store.engine import Store

__all__ = ["LiveDays", "live_days"]

_DAYS = 7
_SINGLE_REQUESTS = 100
_REAL_SECONDS = 4.0
_START_SECONDS = 30.0


@dataclass(slots=True)
class LiveDays:
    """What came of the live days.

    Attributes:
        url: where the server answers.
        requests: how many requests it answered.
        median_ms: their median time, in milliseconds.
        outcomes: how many outcomes were told.
        prediction: the id of the prediction for all products.
        traced: what repeating it said.
        until: the day that the last look was made.
        report: live accuracy after the outcomes.
        server: the server's process, which goes on answering.
    """

    url: str
    requests: int
    median_ms: float
    outcomes: int
    prediction: str
    traced: str
    until: date
    report: LiveReport
    server: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Wait until the server ends, or Ctrl-C."""
        self.server.wait()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "requests": self.requests,
            "median_ms": self.median_ms,
            "outcomes": self.outcomes,
            "prediction": self.prediction,
            "traced": self.traced,
            "accuracy": asdict(self.report.accuracy),
            "champion": self.report.release.digest,
        }


@contextmanager
def live_days(project: Project, store: Store, today: date) -> Iterator[LiveDays]:
    """Serve a week from ``today`` on, in a few seconds, with the sales that really followed.

    Raises:
        UnavailableError: the server does not come up.
    """
    start = datetime(today.year, today.month, today.day, 3, tzinfo=UTC)
    speed = (_DAYS + 1) * 86_400 / _REAL_SECONDS
    server = _start(project, start, speed)
    try:
        url = _wait_until_ready(project, server)
        began = time.monotonic()
        actual = _actual(project, today)
        answer, milliseconds = _ask(url, actual)
        time.sleep(max(0.0, _REAL_SECONDS - (time.monotonic() - began)))
        told = _post(f"{url}/v1/outcomes", {"outcomes": actual})
        until = today + timedelta(days=_DAYS + 1)
        clock = ManualClock(start + timedelta(days=_DAYS + 1))
        # the source stays as it was: what happened this week is known from the outcomes alone
        tick(LoopContext(project, store, clock, "demo", data_until=lambda _: known_at(start)))
        trace = trace_prediction(project, store, answer["prediction_id"])
        yield LiveDays(
            url=url,
            requests=len(milliseconds),
            median_ms=median(milliseconds),
            outcomes=int(told["stored"]),
            prediction=answer["prediction_id"],
            traced=repeat_prediction(project, store, trace).reason,
            until=until,
            report=look(project, store, release="champion", now=clock.now()),
            server=server,
        )
    finally:
        server.terminate()
        server.wait()


def _start(project: Project, at: datetime, speed: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "everloop.cli.main", "serve", "--project", str(project.root), "--port", "0"]
    command += ["--as-of", f"{at:%Y-%m-%dT%H:%M:%S}", "--speed", f"{speed:g}"]
    log = (project.home / "serve.log").open("wb")
    return subprocess.Popen(command, stdout=log, stderr=log)


def _wait_until_ready(project: Project, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(UnavailableError):
            address = read_address(project)
            if address.pid == server.pid:
                return address.url
        time.sleep(0.02)
    log = Path(project.home / "serve.log").read_text(encoding="utf-8", errors="replace")
    raise UnavailableError("demo_server", f"the server did not come up: {log[-400:]}", hint="everloop serve -p demo")


def _ask(url: str, actual: list[dict[str, Any]]) -> tuple[dict[str, Any], list[float]]:
    """A forecast for every product, and many for single ones by two protocols."""
    names = list(dict.fromkeys(row["series"] for row in actual))
    milliseconds: list[float] = []

    def timed(path: str, body: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        answer = _post(url + path, body)
        milliseconds.append((time.perf_counter() - began) * 1000)
        return answer

    whole = timed("/v1/forecast", {"series": names, "horizon": _DAYS})
    for place in range(_SINGLE_REQUESTS):
        name = names[place % len(names)]
        if place % 2:
            tensor = {"name": "series", "shape": [1], "datatype": "BYTES", "data": [name]}
            timed("/v2/models/demand/infer", {"inputs": [tensor], "parameters": {"horizon": _DAYS}})
        else:
            timed("/v1/forecast", {"series": [name], "horizon": _DAYS})
    return whole, milliseconds


def _actual(project: Project, today: date) -> list[dict[str, Any]]:
    """What was really sold in the week from ``today`` on."""
    settings = project.settings.data
    sales = pl.read_parquet(project.root / settings.source)
    last = today + timedelta(days=_DAYS - 1)
    week = sales.filter(pl.col(settings.time).cast(pl.Date).is_between(today, last))
    return [
        {
            "series": join_key(tuple(str(row[name]) for name in settings.series)),
            "time": str(row[settings.time])[:10],
            "value": float(row[settings.target]),
        }
        for row in week.iter_rows(named=True)
    ]


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
