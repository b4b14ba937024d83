"""An ingestion that is killed at any moment leaves the old version or the new one, and the next one goes on."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
KILLS = 8

FORKER = """
import os, sys
from datetime import datetime
from pathlib import Path
from everloop.core.clock import ManualClock
from everloop.core.project import load_project
from everloop.data.ingest import ingest

project = load_project(Path(sys.argv[1]), environ={})
clock = ManualClock(datetime.fromisoformat(sys.argv[2]))
for line in sys.stdin:  # each in a process of its own, so that a kill meets an ingestion and not Python's start
    worker = os.fork()
    if worker == 0:
        ingest(project, clock, source=line.strip())
        os._exit(0)
    print(worker, flush=True)
    print(os.waitpid(worker, 0)[1], flush=True)
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


class Forker:
    """A process that has everything imported and ingests each file in a child."""

    def __init__(self, root: Path, clock: ManualClock) -> None:
        command = [sys.executable, "-c", FORKER, str(root), clock.now().isoformat()]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, name: str) -> int:
        """Start to ingest a file; gives the child's id."""
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> int:
        """The next number that it tells: a child's id, then the status it ended with."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.process.communicate(timeout=20)


@pytest.fixture
def forker(make_project: Make, clock: ManualClock) -> Iterator[Forker]:
    project = make_project()
    (project.root / "everloop.toml").write_text(SETTINGS)
    made = Forker(project.root, ManualClock(clock.now() + timedelta(days=365)))
    yield made
    made.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_kill_9_at_any_moment(make_project: Make, sales: Sales, clock: ManualClock, forker: Forker) -> None:
    project = make_project()
    base = sales(days=90)
    clock.advance(timedelta(days=365))
    base.write_parquet(project.root / "base.parquet")
    forker.begin("base.parquet")
    assert forker.read() == 0
    chance = random.Random(9)
    longest = 0.0
    kept = replaced = 0
    for attempt in range(5 * KILLS):
        if attempt >= KILLS and kept and replaced:
            break  # on a busy machine it may take more kills to see both ends
        changed = base.with_columns(pl.col("units") + attempt + 1)
        changed.write_parquet(project.root / f"{attempt}.parquet")
        before = table.head(project.table)
        begun = time.monotonic()
        worker = forker.begin(f"{attempt}.parquet")
        if attempt > 0:  # the first one is left alone: it tells how long there is to kill in
            time.sleep(chance.uniform(0.1, 1.1) * longest)
            with contextlib.suppress(ProcessLookupError):  # it was quicker
                os.kill(worker, signal.SIGKILL)
        status = forker.read()
        if attempt == 0:
            assert status == 0
            longest = time.monotonic() - begun
        after = table.head(project.table)
        assert after is not None
        kept, replaced = (kept + 1, replaced) if after == before else (kept, replaced + 1)
        assert table.read(project.table).height == base.height  # whole, whichever version it is
        expected = make_project(name=f"expected{attempt}")
        digest = ingest(expected, clock, source=str(project.root / f"{attempt}.parquet")).version.digest
        assert after.digest == digest or after == before
        assert ingest(project, clock, source=f"{attempt}.parquet").version.digest == digest
    assert kept > 0
    assert replaced > 0
