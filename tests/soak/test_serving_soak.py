"""The server for minutes under good and bad clients, while releases change, the store fails, and it is killed.

EVERLOOP_SOAK_SECONDS says for how long (600 by default), EVERLOOP_SOAK_KILLS how often it is killed (20).
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import lightgbm
import pandas as pd
import pytest
from sqlalchemy import create_engine, func, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from adopting import adopt, frame, saved, trained
from everloop.core.errors import EverloopError
from everloop.core.project import Project, load_project
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.store.deployments import deploy
from everloop.store.engine import Store, open_store
from everloop.store.schema import predictions
from everloop.store.splits import change_split, end_split, split_in_force, start_split
from postgres import Postgres
from serve.conftest import HORIZON, opened_world, started, wait_for
from soak.clients import Crowd, Memory, Record, asker, troublemaker
from soak.questions import ForecastQuestions, Questions, RowQuestions

SECONDS = float(os.environ.get("EVERLOOP_SOAK_SECONDS", "600"))
KILLS = int(os.environ.get("EVERLOOP_SOAK_KILLS", "20"))
NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
BOUNDS = """
[access]
header_seconds = 2
body_seconds = 2
log = "off"
"""
ANNOUNCED = {"503 log_full", "503 store_unavailable", "503 overloaded", "503 connections"}
AWAY_SECONDS = 6.0


@dataclass
class Served:
    """A project, the releases that may be in charge, and what can be asked of them."""

    project: Project
    store: Store
    questions: Questions
    releases: list[str]
    record: Record = field(default_factory=Record)

    def change(self, generator: random.Random) -> str:
        """Put another release in charge, or begin, change or end a split."""
        one, two = generator.sample(self.releases, 2)
        with self.store.write() as tx:
            if generator.random() < 0.6:
                deploy(tx, "champion", one, at=NOW, reason="soak")
                return "promoted"
            split = split_in_force(tx)
            if split is None:
                share = generator.choice([0.2, 0.5])
                start_split(tx, {one: share, two: 1 - share}, unit="header", at=NOW, reason="soak", actor="test")
                return "split"
            if generator.random() < 0.5:
                end_split(tx, at=NOW, reason="soak", actor="test")
                return "ended"
            first, second = split.weights
            change_split(tx, {first: 0.7, second: 0.3}, at=NOW, reason="soak", actor="test")
            return "changed"


def database(postgres: Postgres, name: str) -> str:
    """Settings for a store of its own in a cluster."""
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f'[store]\nurl = "{make_url(postgres.url).set(database=name).render_as_string(hide_password=False)}"\n'


def rows_served(root: Path, settings: str, count: int = 3) -> Served:
    """A project of adopted models of rows, the first of them in charge."""
    root.mkdir()
    head = '[project]\nname = "shop"\ntask = "regression"\n[serve]\nport = 0\npoll_seconds = 0.2\n'
    (root / "everloop.toml").write_text(head + "max_body_bytes = 1000000\n" + BOUNDS + settings)
    project = load_project(root, environ={})
    store = open_store(project.store_url)
    models: dict[str, lightgbm.Booster] = {}
    for seed in range(count):
        release = adopt(project, store, saved(root / f"model-{seed}", seed))
        models[release.digest] = trained(seed).booster_
    rows: pd.DataFrame = frame(160, seed=99)
    served = Served(project, store, RowQuestions(models, rows), list(models))
    with store.write() as tx:
        deploy(tx, "champion", served.releases[0], at=NOW, reason="soak")
    return served


def forecasts_served(root: Path, settings: str, stack: ExitStack) -> Served:
    """A project of forecasts with three releases, the first of them in charge."""
    root.mkdir()
    world = stack.enter_context(opened_world(root, "max_body_bytes = 1000000\n" + BOUNDS + settings))
    made: Mapping[str, Any] = {
        world.add(model, name=type(model).__name__): model
        for model in (
            SeasonalNaiveForecaster(),
            LightGBMForecaster(trees=5, leaf_rows=5, windows=1),
            LightGBMForecaster(trees=9, leaf_rows=5, windows=1),
        )
    }
    world.deploy("champion", next(iter(made)))
    questions = ForecastQuestions(made, world.panel, HORIZON, (80.0, 95.0))
    return Served(world.project, world.store, questions, list(made))


def swapper(served: Served, changes: list[str], *, seed: int) -> Callable[[threading.Event], None]:
    """Changes who is in charge every few seconds; while the store is away nothing can be changed."""
    generator = random.Random(seed)

    def work(stop: threading.Event) -> None:
        while not stop.wait(generator.uniform(0.5, 4.0)):
            try:
                changes.append(served.change(generator))
            except (SQLAlchemyError, EverloopError) as error:
                changes.append(f"not now: {type(error).__name__}")

    return work


def figure(url: str, name: str) -> float:
    """A figure of the server's metrics."""
    found = re.search(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", httpx.get(url + "/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def spooled_bytes(served: Served) -> int:
    """What the buffer on disk holds."""
    sizes = []
    for path in (served.project.home / "spool").glob("*"):
        with contextlib.suppress(FileNotFoundError):  # it was moved in this moment
            sizes.append(path.stat().st_size)
    return sum(sizes)


def stored_ids(served: Served) -> list[str]:
    """The ids of all predictions in the store."""
    store = open_store(served.project.store_url)
    try:
        with store.read() as tx:
            if store.engine.dialect.name == "sqlite":
                assert tx.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            return list(tx.execute(select(predictions.c.id)).scalars())
    finally:
        store.close()


def check_log(served: Served) -> None:
    """Every acknowledged prediction is stored exactly once, and none that nobody asked for."""
    found = stored_ids(served)
    assert len(found) == len(set(found))
    record = served.record
    assert len(record.acknowledged) == len(set(record.acknowledged))
    assert sorted(set(record.acknowledged) - set(found)) == []
    assert len(found) <= record.sent


def test_mixed_load_with_swaps_store_restarts_and_bad_clients(tmp_path: Path, own_postgres: Postgres) -> None:
    changes: list[str] = []
    with ExitStack() as stack:
        spool = "[log]\nspool_bytes = 200000\n"  # so small that a store that is away fills it
        rows = rows_served(tmp_path / "rows", database(own_postgres, "rows") + spool)
        stack.callback(rows.store.close)
        served = [rows, forecasts_served(tmp_path / "forecasts", database(own_postgres, "forecasts"), stack)]
        running = [stack.enter_context(started(each)) for each in served]  # type: ignore[arg-type]
        memories = [Memory(each.process.pid) for each in running]
        works: list[Callable[[threading.Event], None]] = [*memories]
        for number, (each, server) in enumerate(zip(served, running, strict=True)):
            works += _clients(each, int(server.url.rpartition(":")[2]), seed=10 * number)
            works.append(swapper(each, changes, seed=number))
        with Crowd(works) as crowd:
            _let_pass(own_postgres)
        for each, server in zip(served, running, strict=True):
            wait_for(lambda each=each: spooled_bytes(each) == 0, seconds=120)
            assert figure(server.url, "everloop_log_unlogged_total") == 0
            assert figure(server.url, "everloop_internal_failures_total") == 0
        assert figure(running[0].url, "everloop_log_spooled_total") > 0
    assert crowd.failures == []
    for each, memory in zip(served, memories, strict=True):
        record = each.record
        print(f"{len(record.acknowledged)} of {record.sent} acknowledged; {dict(record.statuses)}")
        print(f"memory: {[pages * 4 // 1024 for pages in memory.pages[:: max(1, len(memory.pages) // 10)]]} MB")
        assert record.wrong == []
        assert record.broken == []
        assert {status for status in record.statuses if status[0] == "5"} <= ANNOUNCED
        check_log(each)
        assert memory.growth(warm_share=0.2) < 0.05
    assert {"promoted", "split", "ended"} <= set(changes)


def _clients(served: Served, port: int, *, seed: int) -> list[Callable[[threading.Event], None]]:
    """Good and bad clients of one server."""
    good = [asker(port, served.questions, served.record, seed=seed + place) for place in range(3)]
    bad = [
        troublemaker(port, served.questions, served.record, seed=seed + 3 + place, is_slow=place > 0)
        for place in range(4)
    ]
    return good + bad


def _let_pass(postgres: Postgres) -> None:
    """Let the time of the soak pass; the store dies three times on the way and comes back."""
    begun = time.monotonic()
    away = min(AWAY_SECONDS, SECONDS / 10)
    for share in (0.35, 0.55, 0.75):
        time.sleep(max(0.0, begun + share * SECONDS - time.monotonic()))
        postgres.kill()
        time.sleep(away)
        postgres.start()
    time.sleep(max(0.0, begun + SECONDS - time.monotonic()))


@pytest.fixture(params=["sqlite", "postgresql"])
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Served, Postgres | None]]:
    """A project of rows, and the PostgreSQL server of its store where it has one."""
    postgres: Postgres | None = None
    settings = ""
    if request.param == "postgresql":
        postgres = request.getfixturevalue("own_postgres")
        assert postgres is not None
        settings = database(postgres, "rows")
    served = rows_served(tmp_path / "rows", settings, count=2)
    yield served, postgres
    served.store.close()


def test_kill_under_load_loses_no_acknowledged_prediction(killed: tuple[Served, Postgres | None]) -> None:
    served, postgres = killed
    record = served.record
    generator = random.Random(7)
    for number in range(KILLS):
        with started(served, is_killed=True) as running:  # type: ignore[arg-type]
            port = int(running.url.rpartition(":")[2])
            before = len(record.acknowledged)
            works = [asker(port, served.questions, record, seed=number * 10 + each, is_dying=True) for each in range(6)]
            with Crowd(works) as crowd:
                wait_for(lambda before=before: len(record.acknowledged) > before + 100)
                if postgres is not None and number % 3:  # the store dies too: before, together, or not at all
                    postgres.kill()
                    if number % 3 == 1:
                        time.sleep(generator.uniform(0.0, 1.0))
                time.sleep(generator.uniform(0.0, 0.3))
                running.process.kill()
                running.process.wait(10)
            if postgres is not None and number % 3:
                postgres.start()
            assert crowd.failures == []
    with started(served) as running:  # type: ignore[arg-type]
        # what the killed ones left in their buffers is moved by the next one
        wait_for(lambda: spooled_bytes(served) == 0, seconds=60)
    assert record.wrong == []
    assert {status for status in record.statuses if status[0] == "5"} <= ANNOUNCED
    assert len(record.acknowledged) > 100 * KILLS
    check_log(served)
    with served.store.read() as tx:
        assert tx.execute(select(func.count()).select_from(predictions)).scalar_one() >= len(record.acknowledged)
