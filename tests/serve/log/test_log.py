"""The prediction log on real stores that are slow, locked, away, or killed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from everloop.core.clock import SystemClock
from everloop.core.errors import EverloopError, UnavailableError
from everloop.core.ids import new_id
from everloop.core.project import Project, parse_settings
from everloop.serve.log.log import PredictionLog
from everloop.serve.log.outage import left_alerts, local_alerts
from everloop.serve.log.records import record_of
from everloop.serve.log.sinks import open_sink
from everloop.serve.log.spool import spool_folder
from everloop.store.engine import Store, open_store
from everloop.store.events import list_events
from everloop.store.facts import Prediction, find_prediction
from postgres import Postgres

NOW = datetime(2026, 3, 1, 6, 7, 8, 90, tzinfo=UTC)
WRITER = Path(__file__).with_name("writer.py")
ROUNDS = 20 if os.environ.get("EVERLOOP_SOAK") else 3


@dataclass
class Seen:
    """A watcher that remembers."""

    commits: list[int] = field(default_factory=list)
    failed: int = 0
    on_disk: int = 0
    not_stored: int = 0

    def committed(self, rows: int, seconds: float) -> None:
        self.commits.append(rows)

    def commit_failed(self, rows: int) -> None:
        self.failed += rows

    def spooled(self, rows: int) -> None:
        self.on_disk += rows

    def unlogged(self, rows: int) -> None:
        self.not_stored += rows

    def lagging(self, seconds: float, spool_bytes: int) -> None:
        pass


@dataclass
class Stage:
    """A log with its store."""

    project: Project
    store: Store
    seen: Seen
    log: PredictionLog

    def ids(self) -> list[str]:
        with self.store.read() as tx:
            return [row[0] for row in tx.exec_driver_sql("SELECT id FROM predictions")]


Maker = Callable[..., Stage]


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Maker]:
    opened = []

    def make(*settings: str, url: str = "") -> Stage:
        url = url or f"sqlite:///{tmp_path}/store.db"
        tree = {"project": {"name": "log", "task": "regression"}, "store": {"url": url}}
        project = Project(root=tmp_path, settings=parse_settings(tree, overrides=settings), home=tmp_path / "home")
        store = open_store(url)
        seen = Seen()
        opened.append(store)
        return Stage(project, store, seen, PredictionLog(project, store, SystemClock(), watcher=seen))

    yield make
    for store in opened:
        store.close()


def prediction(response: bytes = b"\x00") -> Prediction:
    return Prediction(
        new_id(NOW), NOW, "r", "s", "champion", "infer", None, NOW, NOW, b'{"a": 1}', response, "u", "e.0"
    )


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("fsync", ["true", "false"])
def test_what_was_put_is_what_is_found(make_stage: Maker, fsync: str) -> None:
    stage = make_stage(f"log.fsync={fsync}")
    rows = [prediction(os.urandom(20)) for _ in range(50)]

    async def run() -> None:
        stage.log.start(asyncio.get_running_loop())
        for row in rows[:25]:  # one after the other
            await stage.log.store(row)
            assert row.id in stage.ids()
        await asyncio.gather(*map(stage.log.store, rows[25:]))
        assert len(stage.ids()) == 50
        stage.log.close()

    asyncio.run(run())
    assert stage.seen.commits[-1] == 25  # those that came together shared a commit
    with stage.store.read() as tx:
        assert [find_prediction(tx, row.id) for row in rows] == rows


def test_postgres_takes_the_same(make_stage: Maker, postgres_url: str) -> None:
    stage = make_stage(url=postgres_url)
    rows = [prediction(os.urandom(20)) for _ in range(20)]

    async def run() -> None:
        stage.log.start(asyncio.get_running_loop())
        await asyncio.gather(*map(stage.log.store, rows))
        stage.log.close()

    asyncio.run(run())
    with stage.store.read() as tx:
        assert [find_prediction(tx, row.id) for row in rows] == rows


def test_a_share_of_the_inputs_is_kept(make_stage: Maker) -> None:
    stage = make_stage("log.inputs=0.3")

    async def run() -> None:
        stage.log.start(asyncio.get_running_loop())
        await asyncio.gather(*(stage.log.store(prediction()) for _ in range(600)))
        stage.log.close()

    asyncio.run(run())
    with stage.store.read() as tx:
        kept = tx.exec_driver_sql("SELECT count(*) FROM predictions WHERE length(request) > 0").scalar()
    assert 120 < int(kept or 0) < 240  # 180, and five standard deviations to both sides


def test_a_locked_store_costs_no_answer(make_stage: Maker, tmp_path: Path) -> None:
    stage = make_stage("log.patience_seconds=0.2")
    rows = [prediction() for _ in range(40)]

    async def run() -> None:
        stage.log.start(asyncio.get_running_loop())
        await stage.log.store(rows[0])
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await asyncio.gather(*map(stage.log.store, rows[1:20]))
        for row in rows[20:]:
            await stage.log.store(row)
        assert stage.seen.on_disk == 39
        assert len(stage.ids()) == 1
        # who looks meanwhile sees it, though the store cannot hold it
        await until(lambda: [each.code for each in local_alerts(spool_folder(stage.project))] == ["log_spooling"])
        with left_alerts(spool_folder(stage.project)) as left:
            assert left == []  # its worker lives
        other.execute("COMMIT")
        await until(lambda: len(stage.ids()) == 40)
        await stage.log.store(prediction())
        stage.log.close()
        other.close()

    asyncio.run(run())
    assert len(set(stage.ids())) == 41
    assert not list((stage.project.home / "spool").iterdir())
    with stage.store.read() as tx:
        told = [(event.kind, event.subject) for event in list_events(tx, kinds=("alert", "cleared"))]
    assert sorted(told) == [("alert", "log_spooling"), ("cleared", "log_spooling")]


@pytest.mark.parametrize("choice", ["refuse", "unlogged"])
def test_a_full_buffer_does_as_the_settings_say(make_stage: Maker, tmp_path: Path, choice: str) -> None:
    stage = make_stage("log.patience_seconds=0.1", "log.spool_bytes=3000", f"log.when_full={choice}")
    given, refused = [], []
    codes: list[str] = []

    async def one() -> None:
        row = prediction()
        try:
            await stage.log.store(row)
            given.append(row.id)
        except UnavailableError as error:
            refused.append(error.code)

    async def run() -> None:
        stage.log.start(asyncio.get_running_loop())
        await one()
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(30):
            await one()
        await until(lambda: len(local_alerts(spool_folder(stage.project))) == 2)
        codes.extend(each.code for each in local_alerts(spool_folder(stage.project)))
        other.execute("COMMIT")
        other.close()
        await until(lambda: not list((stage.project.home / "spool").glob("*")))
        await one()
        await until(lambda: not list((stage.project.home / "spool").glob("*")))  # where that was slow too
        stage.log.close()

    asyncio.run(run())
    assert codes == ["log_full", "log_spooling"]
    assert local_alerts(spool_folder(stage.project)) == []
    stored = stage.ids()
    assert 5 < len(stored) < 20
    if choice == "refuse":
        assert set(refused) == {"log_full"}
        assert set(given) <= set(stored)  # one that was refused as late may still reach the store after that
    else:
        assert not refused
        assert len(given) == 32
        assert stage.seen.not_stored >= 32 - len(stored)  # as above
        assert stage.seen.not_stored > 5
        assert set(stored) <= set(given)
    with stage.store.read() as tx:
        assert "log_full" in {event.subject for event in list_events(tx, kinds=("alert",))}


def test_what_an_ended_server_left_is_moved_by_the_next(make_stage: Maker, tmp_path: Path) -> None:
    first = make_stage("log.patience_seconds=0.1")
    rows = [prediction() for _ in range(5)]
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def leave() -> None:
        first.log.start(asyncio.get_running_loop())
        await asyncio.gather(*map(first.log.store, rows))
        await until(lambda: bool(local_alerts(spool_folder(first.project))))
        first.log.close()

    asyncio.run(leave())
    assert [each.code for each in local_alerts(spool_folder(first.project))] == ["log_spooling"]
    other.execute("COMMIT")
    other.close()
    assert first.ids() == []
    second = make_stage()

    async def run() -> None:
        second.log.start(asyncio.get_running_loop())
        await until(lambda: len(second.ids()) == 5 and not local_alerts(spool_folder(second.project)))
        second.log.close()

    asyncio.run(run())
    assert sorted(second.ids()) == sorted(row.id for row in rows)
    with second.store.read() as tx:
        told = [(event.kind, event.subject) for event in list_events(tx, kinds=("alert", "cleared"))]
    assert sorted(told) == [("alert", "log_spooling"), ("cleared", "log_spooling")]


def test_postgres_killed_and_started_in_the_middle(make_stage: Maker, own_postgres: Postgres) -> None:
    stage = make_stage("log.patience_seconds=0.3", url=own_postgres.url)
    given: list[str] = []
    is_over = False

    async def caller() -> None:
        while not is_over:
            row = prediction()
            try:
                await stage.log.store(row)
                given.append(row.id)
            except EverloopError as error:
                pytest.fail(f"refused: {error}")
            await asyncio.sleep(0.001)

    async def run() -> None:
        nonlocal is_over
        stage.log.start(asyncio.get_running_loop())
        callers = [asyncio.create_task(caller()) for _ in range(8)]
        for _ in range(2):
            seen = len(given)
            await until(lambda seen=seen: len(given) > seen + 50)  # type: ignore[misc]
            await asyncio.to_thread(own_postgres.kill)
            seen = len(given)
            await until(lambda seen=seen: len(given) > seen + 50)  # type: ignore[misc]
            await asyncio.to_thread(own_postgres.start)
            await until(lambda: not list((stage.project.home / "spool").glob("*")))
        is_over = True
        await asyncio.gather(*callers)
        await until(lambda: not list((stage.project.home / "spool").glob("*")))
        stage.log.close()

    asyncio.run(run())
    assert stage.seen.on_disk > 0
    assert Counter(stage.ids()) == Counter(given)


@pytest.mark.parametrize("kind", ["sqlite", "sqlite fsync", "sqlite locked", "postgres"])
def test_killed_under_load_nothing_acknowledged_is_lost(tmp_path: Path, postgres_url: str, kind: str) -> None:
    url = postgres_url if kind == "postgres" else f"sqlite:///{tmp_path}/store.db"
    settings = ["log.patience_seconds=0.1", f"log.fsync={str(kind == 'sqlite fsync').lower()}"]
    store = open_store(url)
    with store.write() as tx:
        tx.exec_driver_sql("DELETE FROM predictions")
    given: Counter[str] = Counter()
    for number in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, str(WRITER), str(tmp_path), url, *settings], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(200 + 37 * number)]
        if kind == "sqlite locked":
            other = sqlite3.connect(tmp_path / "store.db", isolation_level=None, timeout=10)
            other.execute("BEGIN IMMEDIATE")
            lines += [writer.stdout.readline() for _ in range(100)]
            writer.kill()
            other.execute("COMMIT")
            other.close()
        writer.kill()
        lines += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
        given.update(line.strip() for line in lines if line.endswith("\n"))
    recover(tmp_path, url)
    with store.read() as tx:
        stored = Counter(row[0] for row in tx.exec_driver_sql("SELECT id FROM predictions"))
    store.close()
    assert set(given.values()) == {1}
    assert set(stored.values()) == {1}
    assert set(given) <= set(stored)  # one that was stored a moment before the kill was not yet told


def recover(home: Path, url: str) -> None:
    """A server starts and ends."""
    tree = {"project": {"name": "log", "task": "regression"}, "store": {"url": url}}
    project = Project(root=home, settings=parse_settings(tree), home=home)
    store = open_store(url)

    async def run() -> None:
        log = PredictionLog(project, store, SystemClock(), watcher=Seen())
        log.start(asyncio.get_running_loop())
        await until(lambda: not list((home / "spool").glob("*")))
        log.close()

    asyncio.run(run())
    store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_what_came_by_another_way_is_not_written_twice(
    make_stage: Maker, request: pytest.FixtureRequest, kind: str
) -> None:
    stage = make_stage(url=request.getfixturevalue("postgres_url") if kind == "postgres" else "")
    sink = open_sink(stage.store, fsync=False)
    rows = [record_of(prediction(), 1.0) for _ in range(5)]
    sink.write(rows[:3], patience=1.0)
    sink.write(rows, patience=1.0)
    sink.close()
    assert {row[0] for row in rows} <= set(stage.ids())


def test_a_store_that_is_slow_now_and_then_leaves_no_timers(make_stage: Maker) -> None:
    stage = make_stage("log.fsync=true")  # by the thread

    async def run() -> None:
        loop = asyncio.get_running_loop()
        stage.log.start(loop)
        for _ in range(200):
            await stage.log.store(prediction())
        assert len(loop._scheduled) <= 2  # type: ignore[attr-defined]
        stage.log.close()

    asyncio.run(run())


def test_the_write_ahead_log_is_shortened_when_it_is_long(
    make_stage: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everloop.serve.log.checkpoint._FRAMES", 250)
    stage = make_stage()
    wal = tmp_path / "store.db-wal"

    def salt() -> bytes:
        with wal.open("rb") as file:
            return file.read(24)[16:]

    async def run() -> None:
        stage.log.start(asyncio.get_running_loop())
        for _ in range(3):
            first, began = salt(), time.monotonic()
            while salt() == first:  # until the log begins anew
                assert time.monotonic() - began < 30
                await stage.log.store(prediction(os.urandom(2000)))
        size = wal.stat().st_size
        await stage.log.store(prediction(os.urandom(2000)))
        assert wal.stat().st_size == size, "written over, not longer"
        stage.log.close()

    asyncio.run(run())
    assert (tmp_path / "store.db").stat().st_size > 200_000
