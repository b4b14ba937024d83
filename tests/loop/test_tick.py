"""One step of the loop does what is due, once, and survives what fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta

import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import ConflictError, NotFoundError
from everloop.core.project import Project
from everloop.loop.context import LoopContext
from everloop.loop.replay import known_at
from everloop.loop.tick import TickReport, tick
from everloop.loop.trace import repeat_prediction, trace_prediction
from everloop.serve.answers import Answerer
from everloop.serve.query import ForecastQuery
from everloop.store.alerts import open_alerts
from everloop.store.deployments import in_role, list_releases
from everloop.store.engine import Store, open_store
from everloop.store.facts import Outcome, add_outcomes, count_facts
from everloop.store.leases import acquire_lease
from kiosk import at

Kiosk = tuple[LoopContext, ManualClock]


@pytest.fixture
def kiosk(make_kiosk: Callable[..., Project]) -> Iterator[Kiosk]:
    project = make_kiosk()
    clock = ManualClock(at(100))
    store = open_store(project.store_url, fsync=False)
    yield LoopContext(project, store, clock, "test", data_until=known_at), clock
    store.close()


def kinds(report: TickReport) -> list[str]:
    return [event.kind for event in report.events]


def test_the_first_step_goes_from_data_to_forecasts(kiosk: Kiosk) -> None:
    context, _ = kiosk
    report = tick(context)
    assert report.failures == []
    assert kinds(report) == ["ingested", "training", "released", "promoted"]
    assert report.retraining is not None
    assert report.retraining.release is not None
    assert report.retraining.release.manifest.candidate == "toy:MeanOfWeeks"
    assert report.predicted == 1


def test_a_step_done_twice_changes_nothing(kiosk: Kiosk) -> None:
    context, clock = kiosk
    tick(context)
    again = tick(context)
    assert (kinds(again), again.predicted, again.retraining) == ([], 0, None)
    clock.advance(timedelta(hours=1))
    later = tick(context)
    assert (kinds(later), later.predicted) == ([], 0)


def test_a_new_day_is_ingested_forecast_and_joined(kiosk: Kiosk) -> None:
    context, clock = kiosk
    tick(context)
    clock.advance(timedelta(days=1))
    report = tick(context)
    assert kinds(report) == ["ingested"]
    assert report.predicted == 1
    assert report.live is not None
    assert report.live.accuracy.n == 6
    assert report.live.accuracy.hindsight == 0


def test_outcomes_that_were_told_reach_the_table(kiosk: Kiosk) -> None:
    context, clock = kiosk
    tick(context)
    told = Outcome("o1", clock.now() + timedelta(hours=20), None, "north/50%2F50", at(100, 0), 77.0, "test")
    with context.store.write() as tx:
        add_outcomes(tx, [told])
    clock.advance(timedelta(hours=20, minutes=30))
    report = tick(context)
    assert kinds(report) == ["ingested"]
    assert report.live is not None
    assert report.live.accuracy.n == 1
    assert "1 corrected" in report.events[0].message, "its row was there, with the promotion known ahead"


def test_a_what_if_is_not_held_against_what_happened(kiosk: Kiosk) -> None:
    context, clock = kiosk
    tick(context)
    answerer = Answerer(context.project, context.store, clock)
    answerer.answer_forecast(ForecastQuery(series=("north/tea",)))
    answerer.answer_forecast(ForecastQuery(series=("north/tea",), future={"promo": 1.0}))
    clock.advance(timedelta(days=1))
    live = tick(context).live
    assert live is not None
    assert live.accuracy.n == 6 + 1, "the batch of six and the plain question"


def test_a_stage_that_fails_raises_one_alert_and_clears_it(kiosk: Kiosk) -> None:
    context, clock = kiosk
    tick(context)
    source = context.project.root / "sales.csv"
    away = source.rename(source.with_suffix(".away"))
    for _ in range(2):
        clock.advance(timedelta(days=1))
        report = tick(context)
        assert [stage for stage, _ in report.failures] == ["ingest"]
    with context.store.read() as tx:
        assert [alert.code for alert in open_alerts(tx)] == ["ingest_failed"]
    shutil.move(away, source)
    report = tick(context)
    assert kinds(report)[-1:] + kinds(report)[:1] == ["cleared", "ingested"]
    with context.store.read() as tx:
        assert open_alerts(tx) == []


def test_one_controller_acts_at_a_time(kiosk: Kiosk) -> None:
    context, clock = kiosk
    with context.store.write() as tx:
        acquire_lease(tx, "loop", "somebody else", now=clock.now(), seconds=120)
    with pytest.raises(ConflictError, match="somebody else"):
        tick(context)
    clock.advance(timedelta(seconds=121))
    assert kinds(tick(context))[-1] == "promoted"


def test_a_bad_release_is_not_made_again_from_the_same_data(make_kiosk: Callable[..., Project]) -> None:
    project = make_kiosk("validate.gates.min_skill=0.99")
    store = open_store(project.store_url, fsync=False)
    clock = ManualClock(at(100))
    context = LoopContext(project, store, clock, "test", data_until=known_at)
    assert kinds(tick(context)) == ["ingested", "training", "rejected"]
    assert kinds(tick(context)) == []
    with store.read() as tx:
        assert in_role(tx, "champion") is None
        assert list_releases(tx) == []
    store.close()


def batch_id(store: Store) -> str:
    from everloop.store.schema import predictions

    with store.read() as tx:
        return str(tx.execute(predictions.select().order_by(predictions.c.at.desc())).first().id)


def test_a_prediction_is_traced_and_repeated(kiosk: Kiosk) -> None:
    context, clock = kiosk
    for _ in range(3):
        tick(context)
        clock.advance(timedelta(days=1))
    project, store = context.project, context.store
    trace = trace_prediction(project, store, batch_id(store))
    assert trace.to_dict()["served_from"]["version"] == 2
    shutil.rmtree(project.states)
    again = repeat_prediction(project, store, trace)
    assert again.is_equal
    assert again.numbers == 6 * 7 * 3
    with pytest.raises(NotFoundError, match="no prediction"):
        trace_prediction(project, store, "nothing")


def test_a_trace_shows_what_came_of_the_prediction(kiosk: Kiosk) -> None:
    context, clock = kiosk
    tick(context)
    first = batch_id(context.store)
    before = trace_prediction(context.project, context.store, first).truth
    assert (before.known, before.expected) == (0, 6 * 7)
    clock.advance(timedelta(days=1))
    tick(context)
    told = Outcome("o1", clock.now(), None, "north/tea", at(101, 0), 77.0, "test")
    with context.store.write() as tx:
        add_outcomes(tx, [told])
    truth = trace_prediction(context.project, context.store, first).to_dict()["outcomes"]
    assert truth["known"] == 7  # a day of six series came in with the data, and one value was told ahead
    assert {"series": "north/tea", "time": at(101, 0).isoformat()[:19] + "Z", "actual": 77.0} in [
        {name: value for name, value in case.items() if name != "predicted"} for case in truth["cases"]
    ]


def test_without_its_inputs_a_prediction_is_traced_but_not_repeated_or_judged(kiosk: Kiosk) -> None:
    from everloop.store.schema import predictions

    context, clock = kiosk
    tick(context)
    with context.store.write() as tx:
        tx.execute(predictions.update().values(request=b""))
    trace = trace_prediction(context.project, context.store, batch_id(context.store))
    assert trace.to_dict()["request"] is None
    with pytest.raises(NotFoundError) as raised:
        repeat_prediction(context.project, context.store, trace)
    assert raised.value.code == "inputs_not_kept"
    clock.advance(timedelta(days=1))
    report = tick(context)
    assert report.failures == []
    assert report.live is not None
    assert report.live.accuracy.n == 0


def test_old_predictions_are_exported_and_deleted(make_kiosk: Callable[..., Project]) -> None:
    project = make_kiosk(
        "log.keep_days=3", "log.export=kept", "monitor.window_days=2", "retrain.schedule=", "retrain.on=[]"
    )
    store = open_store(project.store_url, fsync=False)
    clock = ManualClock(at(100))
    context = LoopContext(project, store, clock, "test", data_until=known_at)
    deleted = []
    for _ in range(14):
        report = tick(context)
        assert report.failures == []
        deleted += [event.evidence["deleted"] for event in report.events if event.kind == "predictions_deleted"]
        tick(context)
        clock.advance(timedelta(days=1))
    with store.read() as tx:
        left = count_facts(tx)["predictions"]
    assert sum(deleted) == 14 - left > 0
    exported = pl.read_delta(str(project.root / "kept"))["id"].to_list()
    assert len(exported) == len(set(exported)) == 13  # the last day is not over
    store.close()


def test_what_is_repeated_from_other_numbers_is_not_equal(kiosk: Kiosk) -> None:
    from everloop.store.schema import predictions

    context, _ = kiosk
    tick(context)
    trace = trace_prediction(context.project, context.store, batch_id(context.store))
    values = trace.values
    wrong = type(values)(values.series, values.times, values.mean + 1e-9, values.lower, values.upper, values.notes)
    with context.store.write() as tx:
        tx.execute(predictions.update().values(response=wrong.pack()))
    again = trace_prediction(context.project, context.store, trace.prediction.id)
    result = repeat_prediction(context.project, context.store, again)
    assert not result.is_equal
    assert result.largest_difference == pytest.approx(1e-9)


def test_nothing_is_stored_twice(kiosk: Kiosk) -> None:
    context, clock = kiosk
    for _ in range(3):
        tick(context)
        tick(context)
        clock.advance(timedelta(days=1))
    with context.store.read() as tx:
        assert count_facts(tx)["predictions"] == 3
