from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from everloop.core.clock import ManualClock
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.answers import Answerer
from everloop.serve.host import Host, Serving
from everloop.serve.log.log import PredictionLog
from everloop.serve.metrics import Metrics
from everloop.serve.query import ForecastQuery
from everloop.serve.shadow import Shadow

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
QUERY = ForecastQuery(series=("S0/item%2F1",), horizon=2)


class Outcomes(Metrics):
    """Metrics that also remember what became of each shadow, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def shadowed(self, outcome: str) -> None:
        super().shadowed(outcome)
        self.seen.append(outcome)


class Stage:
    """A shadow with real parts, two places in its queue, and no thread until it is started."""

    def __init__(self, world) -> None:  # type: ignore[no-untyped-def]
        clock = ManualClock(NOW)
        self.outcomes = Outcomes()
        self.host = Host(world.project, world.store, clock, self.outcomes)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.log = PredictionLog(world.project, world.store, clock, watcher=self.outcomes)
        answerer = Answerer(world.project, world.store, clock)
        self.shadow = Shadow(self.host, answerer, self.log, self.outcomes, most=2)

    def start_log(self) -> None:
        self.thread.start()
        self.loop.call_soon_threadsafe(self.log.start, self.loop)

    def close_log(self) -> None:
        async def close() -> None:
            self.log.close()

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(10)


@pytest.fixture
def stage(world):  # type: ignore[no-untyped-def]
    made = Stage(world)
    made.start_log()
    yield made
    made.shadow.close()
    made.close_log()
    made.loop.call_soon_threadsafe(made.loop.stop)
    made.thread.join(10)
    made.loop.close()


def challenge(world) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    world.deploy("challenger", world.add(SeasonalNaiveForecaster(season=14)))


def test_without_a_challenger_nothing_waits(world, stage: Stage) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    stage.host.refresh()
    for _ in range(5):
        stage.shadow.cast(QUERY, kind="forecast", twin="a")
    assert stage.outcomes.seen == []


def test_a_full_queue_drops_and_counts(world, stage: Stage, until: Callable[..., object]) -> None:  # type: ignore[no-untyped-def]
    challenge(world)
    stage.host.refresh()
    for twin in "abcd":
        stage.shadow.cast(QUERY, kind="forecast", twin=twin)
    assert stage.outcomes.seen == ["dropped", "dropped"]
    stage.shadow.start()
    until(lambda: len(stage.outcomes.seen) == 4)
    stage.close_log()
    assert stage.outcomes.seen[2:] == ["computed", "computed"]
    with world.store.read() as tx:
        rows = tx.exec_driver_sql("SELECT twin, role FROM predictions ORDER BY twin").all()
    assert [tuple(row) for row in rows] == [("a", "shadow"), ("b", "shadow")]
    text = stage.outcomes.text().decode()
    assert 'everloop_shadows_total{outcome="dropped"} 2.0' in text


class Broken(SeasonalNaiveForecaster):
    """Fails whenever it is asked."""

    def forecast(self, request):  # type: ignore[no-untyped-def]
        raise RuntimeError("no forecast today")


def test_a_challenger_that_fails_is_counted_and_the_next_is_computed(  # type: ignore[no-untyped-def]
    world, stage: Stage, until: Callable[..., object]
) -> None:
    challenge(world)
    stage.host.refresh()
    good = stage.host.serving
    assert good.challenger is not None
    broken = Broken.__new__(Broken)
    broken.__dict__.update(good.challenger.model.__dict__)
    stage.host.serving = Serving(good.champion, replace(good.challenger, model=broken))
    stage.shadow.start()
    stage.shadow.cast(QUERY, kind="forecast", twin="a")
    until(lambda: stage.outcomes.seen == ["failed"])
    stage.host.serving = good
    stage.shadow.cast(QUERY, kind="forecast", twin="b")
    until(lambda: stage.outcomes.seen == ["failed", "computed"])


def test_a_closed_shadow_takes_nothing(world, stage: Stage) -> None:  # type: ignore[no-untyped-def]
    challenge(world)
    stage.host.refresh()
    stage.shadow.start()
    stage.shadow.close()
    stage.shadow.cast(QUERY, kind="forecast", twin="a")
    assert stage.outcomes.seen == ["dropped"]
