"""An ingestion that is killed at any moment leaves the old version or the new one, and the next one goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.project import Project
from everloop.data import table
from everloop.data.ingest import ingest

Make = Callable[..., Project]
Sales = Callable[..., pl.DataFrame]
KILLS = 10

CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from everloop.core.clock import ManualClock
from everloop.core.project import load_project
from everloop.data.ingest import ingest
import everloop.data.contract, deltalake

project = load_project(Path(sys.argv[1]), environ={})
clock = ManualClock(datetime.fromisoformat(sys.argv[2]))
for name in sys.stdin:  # one ingestion for each line, so that a kill meets an ingestion and not the start of Python
    ingest(project, clock, source=name.strip())
    print("done", flush=True)
"""

SETTINGS = """
[project]
name = "kill"
[data]
source = "base.parquet"
series = ["shop", "item"]
time = "date"
target = "units"
known_ahead = ["price", "event"]
static = ["kind"]
"""


def start(root: Path, clock: ManualClock) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(root), clock.now().isoformat()]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    tell(child, "base.parquet")
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    return child


def tell(child: subprocess.Popen[str], name: str) -> None:
    assert child.stdin is not None
    child.stdin.write(name + "\n")
    child.stdin.flush()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_kill_9_at_any_moment(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    project = make_project()
    (project.root / "everloop.toml").write_text(SETTINGS)
    base = sales(days=80)
    base.write_parquet(project.root / "base.parquet")
    chance = random.Random(9)
    longest = 0.05
    states = {}
    killed_before = killed_after = 0
    for attempt in range(KILLS):
        changed = base.with_columns(pl.col("units") + attempt + 1)
        changed.write_parquet(project.root / f"{attempt}.parquet")
        child = start(project.root, clock)
        before = table.head(project.table)
        assert before is not None
        begun = time.monotonic()
        tell(child, f"{attempt}.parquet")
        if attempt == 0:  # the first one measures how long there is to kill in
            assert child.stdout is not None
            child.stdout.readline()
            longest = time.monotonic() - begun
        else:
            time.sleep(chance.uniform(0, longest))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        for stream in (child.stdin, child.stdout):
            assert stream is not None
            stream.close()
        after = table.head(project.table)
        assert after is not None
        if after == before:
            killed_before += 1
        else:
            killed_after += 1
        rows = table.read(project.table)  # whole, whichever it is
        assert rows.height == base.height
        states[attempt] = ingest(project, clock, source=f"{attempt}.parquet").version
        expected = make_project(name=f"expected{attempt}")
        changed.write_parquet(expected.root / "sales.parquet")
        assert states[attempt].digest == ingest(expected, clock, source="sales.parquet").version.digest
    assert killed_before > 0
    assert killed_after > 0
