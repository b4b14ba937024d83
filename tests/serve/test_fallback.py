"""Who answers when the one that was chosen does not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import ModelError, RequestError, UnavailableError
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.answers import compute_values
from everloop.serve.baseline import baseline_of
from everloop.serve.breaker import Breaker
from everloop.serve.fallback import Answered, Attempt, Chain, Guard, Health, Rest, chain_of, check_finite
from everloop.serve.host import Host
from everloop.serve.metrics import Metrics
from everloop.serve.query import ForecastQuery
from everloop.serve.served import Served
from everloop.serve.threads import AbandoningPool
from everloop.store.alerts import open_alerts

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
QUERY = ForecastQuery(series=("S0/item%2F1",), horizon=3, levels=(80.0,))


class Told:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.breakers: list[tuple[str, bool]] = []

    def fell_back(self, reason: str) -> None:
        self.reasons.append(reason)

    def breaker(self, role: str, *, is_open: bool) -> None:
        self.breakers.append((role, is_open))


class Stage:
    """A guard over a champion and a challenger that are loaded for real."""

    def __init__(self, world) -> None:  # type: ignore[no-untyped-def]
        self.world = world
        world.champion()
        world.deploy("challenger", world.add(SeasonalNaiveForecaster(season=14)))
        self.host = Host(world.project, world.store, ManualClock(NOW), Metrics())
        self.host.refresh()
        self.told = Told()
        self.pool = AbandoningPool(2, most_abandoned=3)
        self.guard = Guard(seconds=0.2, pool=self.pool, watcher=self.told)

    @property
    def challenger(self) -> Served:
        served = self.host.serving.challenger
        assert served is not None
        return served

    @property
    def chain(self) -> Chain:
        return self.host.serving.chains[self.challenger.release.digest]

    @property
    def health(self) -> Health:
        return self.chain[0].health

    def compute(self, attempt: Attempt) -> np.ndarray[Any, Any]:
        return compute_values(self.world.project, attempt.served, QUERY)[0].mean


@pytest.fixture
def stage(world) -> Iterator[Stage]:  # type: ignore[no-untyped-def]
    made = Stage(world)
    yield made
    made.pool.close()


def failing(stage: Stage, *, roles: tuple[str, ...] = ("chosen",), by: Callable[[], Any]) -> Callable[[Attempt], Any]:
    """The stage's compute, but for some of the line something else happens."""

    def compute(attempt: Attempt) -> Any:
        return by() if attempt.role in roles else stage.compute(attempt)

    return compute


def raising() -> None:
    raise ZeroDivisionError("no answer today")


def not_finite() -> None:
    check_finite({"prediction": np.array([1.0, np.nan])})


def play(work: Coroutine[Any, Any, Answered[Any]]) -> Answered[Any]:
    return asyncio.run(work)


def test_the_chosen_one_answers_at_once(stage: Stage) -> None:
    found = stage.guard.answer_now(stage.chain, stage.compute)
    assert isinstance(found, Answered)
    assert found.attempt.served is stage.challenger
    assert (found.attempt.role, found.reason, stage.told.reasons) == ("chosen", "", [])


def test_the_line_is_chosen_then_champion_then_baseline(stage: Stage) -> None:
    serving = stage.host.serving
    assert [each.role for each in stage.chain] == ["chosen", "fallback", "baseline"]
    assert stage.chain[1].served is serving.champion
    assert serving.champion is not None
    own = serving.chains[serving.champion.release.digest]
    assert [each.role for each in own] == ["chosen", "baseline"]


def test_a_previous_champion_is_in_line_while_it_knows_the_same_data(stage: Stage) -> None:
    before = stage.host.serving.champion
    assert before is not None
    model = SeasonalNaiveForecaster(season=21)
    third = stage.world.champion(model)
    stage.host.refresh()
    serving = stage.host.serving
    assert serving.previous is before
    assert [each.health.label for each in serving.chains[third]] == ["champion", "previous", "baseline"]
    stage.world.advance(third, model)  # from now on it speaks of other days
    stage.host.refresh()
    assert stage.host.serving.previous is None


@pytest.mark.parametrize(("by", "reason"), [(raising, "model_error"), (not_finite, "not_finite")])
def test_a_failure_falls_back_to_the_champion(stage: Stage, by: Callable[[], None], reason: str) -> None:
    found = play(stage.guard.answer(stage.chain, failing(stage, by=by)))
    assert (found.attempt.role, found.reason) == ("fallback", reason)
    assert found.attempt.served is stage.host.serving.champion
    assert stage.told.reasons == [reason]


def test_where_all_fail_the_baseline_answers_with_the_season_before(stage: Stage) -> None:
    found = play(stage.guard.answer(stage.chain, failing(stage, roles=("chosen", "fallback"), by=raising)))
    assert (found.attempt.role, found.reason) == ("baseline", "model_error")
    champion = stage.host.serving.champion
    assert champion is not None
    assert found.attempt.served.release is champion.release
    history = champion.panel.last(7)[champion.positions["S0/item%2F1"]]
    np.testing.assert_array_equal(found.value[0], history[:3])


def test_where_nobody_answers_the_first_error_goes_up(stage: Stage) -> None:
    with pytest.raises(ZeroDivisionError):
        play(stage.guard.answer(stage.chain, failing(stage, roles=("chosen", "fallback", "baseline"), by=raising)))
    for _ in range(5):
        with pytest.raises((ZeroDivisionError, UnavailableError)):
            play(stage.guard.answer(stage.chain, failing(stage, roles=("chosen", "fallback", "baseline"), by=raising)))
    with pytest.raises(UnavailableError, match="not asked"):
        play(stage.guard.answer(stage.chain, stage.compute))


def test_the_callers_fault_is_no_failure(stage: Stage) -> None:
    def compute(attempt: Attempt) -> None:
        raise RequestError("series_unknown", "there is no such series")

    for _ in range(20):
        with pytest.raises(RequestError):
            stage.guard.answer_now(stage.chain, compute)
        with pytest.raises(RequestError):
            play(stage.guard.answer(stage.chain, compute, is_short=False))
    assert stage.health.breaker.is_closed
    assert stage.told.reasons == []


def test_a_request_that_only_the_failing_one_would_take_is_not_said_to_be_wrong(stage: Stage) -> None:
    def compute(attempt: Attempt) -> None:
        if attempt.role == "chosen":
            raising()
        raise RequestError("horizon", "that far I cannot see")

    with pytest.raises(ZeroDivisionError):
        play(stage.guard.answer(stage.chain, compute))


def test_failures_open_the_breaker_and_an_answer_closes_it(stage: Stage) -> None:
    now = 0.0
    stage.health.breaker = Breaker(failures=3, seconds=30.0, clock=lambda: now)
    broken = failing(stage, by=raising)
    reasons = [play(stage.guard.answer(stage.chain, broken)).reason for _ in range(5)]
    assert reasons == ["model_error"] * 3 + ["breaker_open"] * 2
    assert stage.told.breakers == [("challenger", True)]
    assert isinstance(stage.guard.answer_now(stage.chain, stage.compute), Rest)
    now = 31.0
    assert play(stage.guard.answer(stage.chain, broken)).reason == "model_error"
    assert play(stage.guard.answer(stage.chain, broken)).reason == "breaker_open"
    now = 95.0
    healed = play(stage.guard.answer(stage.chain, stage.compute))
    assert (healed.attempt.role, healed.reason) == ("chosen", "")
    assert stage.told.breakers == [("challenger", True), ("challenger", False)]


def test_what_was_done_at_once_is_not_done_again(stage: Stage) -> None:
    asked: list[str] = []

    def compute(attempt: Attempt) -> Any:
        asked.append(attempt.role)
        return raising() if attempt.role == "chosen" else stage.compute(attempt)

    rest = stage.guard.answer_now(stage.chain, compute)
    assert isinstance(rest, Rest)
    found = play(stage.guard.answer(stage.chain, compute, rest))
    assert asked == ["chosen", "fallback"]
    assert found.reason == "model_error"


def test_a_model_that_hangs_is_abandoned_and_its_breaker_tripped(stage: Stage) -> None:
    gate = threading.Event()
    stage.health.is_quick = False
    hanging = failing(stage, by=lambda: gate.wait(30))

    async def ask_all() -> list[Answered[Any]]:
        return [await stage.guard.answer(stage.chain, hanging) for _ in range(4)]

    try:
        answers = asyncio.run(ask_all())
    finally:
        gate.set()
    assert [each.reason for each in answers] == ["model_timeout"] * 2 + ["breaker_open"] * 2
    assert {each.attempt.role for each in answers} == {"fallback"}
    assert stage.pool.abandoned <= 2


def test_with_too_many_threads_lost_the_rest_still_answers(stage: Stage) -> None:
    stage.health.is_quick = False
    stage.pool.is_exhausted = True
    found = play(stage.guard.answer(stage.chain, stage.compute))
    assert (found.attempt.role, found.reason) == ("fallback", "model_hangs")
    for attempt in stage.chain:
        attempt.health.is_quick = False
    last = play(stage.guard.answer(stage.chain, stage.compute))
    assert (last.attempt.role, last.reason) == ("baseline", "model_hangs")


def test_a_model_that_turns_slow_leaves_the_event_loop(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 0.1, *[0.0] * 2, *[0.0, 0.1] * 5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    assert isinstance(stage.guard.answer_now(stage.chain, stage.compute), Answered)  # late, and good
    stage.guard.answer_now(stage.chain, stage.compute)
    for _ in range(5):  # in a row: one alone is the machine's, not the model's
        assert stage.health.is_quick
        assert isinstance(stage.guard.answer_now(stage.chain, stage.compute), Answered)
    monkeypatch.undo()
    assert not stage.health.is_quick
    assert isinstance(stage.guard.answer_now(stage.chain, stage.compute), Rest)
    threads: list[str] = []

    def compute(attempt: Attempt) -> Any:
        threads.append(threading.current_thread().name)
        return stage.compute(attempt)

    assert play(stage.guard.answer(stage.chain, compute)).reason == ""
    assert threads == ["everloop-guarded"]


def test_only_kinds_of_our_own_are_asked_on_the_event_loop(stage: Stage) -> None:
    manifest = stage.challenger.release.manifest
    assert Health.of(stage.challenger, "x", stage.health.breaker).is_quick
    slow = replace(stage.challenger, series_seconds=0.5)
    assert not Health.of(slow, "x", stage.health.breaker).is_quick
    release = replace(stage.challenger.release, manifest=_with_class(manifest, "toy:Mine"))
    foreign = replace(stage.challenger, release=release)
    assert not Health.of(foreign, "x", stage.health.breaker).is_quick


def _with_class(manifest: Any, name: str) -> Any:
    import msgspec

    return msgspec.structs.replace(manifest, model_class=name)


def test_an_open_breaker_is_an_alert_until_it_closes(stage: Stage) -> None:
    def codes() -> list[str]:
        with stage.world.store.read() as tx:
            return [alert.code for alert in open_alerts(tx)]

    broken = failing(stage, by=raising)
    for _ in range(5):
        play(stage.guard.answer(stage.chain, broken))
    stage.host.refresh()
    stage.host.refresh()
    assert codes() == ["model_failing"]
    stage.health.breaker.succeeded()
    stage.host.refresh()
    assert codes() == []


def test_without_history_there_is_no_baseline(stage: Stage) -> None:
    champion = stage.host.serving.champion
    assert champion is not None
    bare = replace(champion, panel=replace(champion.panel, y=np.full_like(champion.panel.y, np.nan)))
    with pytest.raises(ModelError, match="no history"):
        baseline_of(bare)
    baseline = Attempt.baseline(bare, stage.health.breaker)
    chain = chain_of(bare, champion=bare, previous=None, baseline=baseline, health=lambda _: stage.health)
    with pytest.raises(ZeroDivisionError):
        play(stage.guard.answer(chain, failing(stage, by=raising)))


def test_the_baseline_answers_any_query_that_its_release_does(stage: Stage) -> None:
    champion = stage.host.serving.champion
    assert champion is not None
    everything = ForecastQuery(future={"price": 2.0}, horizon=14, levels=(80.0, 95.0))
    stands_in, _ = compute_values(stage.world.project, baseline_of(champion), everything)
    own, _ = compute_values(stage.world.project, champion, everything)
    assert stands_in.series == own.series
    assert stands_in.mean.shape == own.mean.shape
    assert np.isfinite(stands_in.mean).all()
    assert np.isfinite(stands_in.lower[80.0]).all()


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [1.0, -np.inf]])
def test_outputs_must_be_finite(values: list[float]) -> None:
    with pytest.raises(ModelError, match="finite"):
        check_finite({"text": np.array(["a"], dtype=object), "n": np.array([3]), "x": np.array(values)})
