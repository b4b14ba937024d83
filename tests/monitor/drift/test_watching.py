"""Drift is found, named with its date and with what was expected, and only where something changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest
from sqlalchemy import delete

from drifting import TRAINED, World, from_day, morning
from everloop.core.errors import ConflictError, SettingsError
from everloop.monitor.drift.settling import accept_drift, settle_drift
from everloop.monitor.drift.watching import look_for_drift
from everloop.store.alerts import open_alerts
from everloop.store.engine import open_store
from everloop.store.events import list_events
from everloop.store.evidence import list_evidence
from everloop.store.schema import drift_references, drift_summaries
from everloop.store.standing import drift_standing
from kiosk import FIRST

NewWorld = Callable[..., World]
CHANGE = TRAINED + 30


def day_of(number: int) -> date:
    return FIRST + timedelta(days=number)


def dearer(frame: pl.DataFrame) -> pl.DataFrame:
    """Prices rise by a third."""
    return frame.with_columns(pl.when(from_day(CHANGE)).then(pl.col("price") * 1.33).otherwise("price").alias("price"))


def test_a_shift_is_named_with_its_date_and_what_was_expected(new_world: NewWorld) -> None:
    world = new_world(dearer, until=CHANGE + 40)
    report = world.look(CHANGE + 30)
    assert report.evidence.verdict == "drift"
    assert [each.column for each in report.drifting] == ["price"]
    price = report.columns[0]
    alarm = price.alarms[0]
    assert (alarm.aspect, alarm.label) == ("level", "")
    assert price.since is not None
    assert abs((price.since - day_of(CHANGE)).days) <= 3
    assert alarm.day == day_of(CHANGE + 29)
    assert alarm.expected == pytest.approx(2.72, rel=0.05)
    assert alarm.lately == pytest.approx(2.72 * 1.33, rel=0.05)
    assert f"since {price.since:%Y-%m-%d}" in report.evidence.reason
    assert report.releases == (report.release.digest,)
    assert report.evidence.kind == "drift"
    assert len(report.evidence.series["seen"]) == report.evidence.n == 60


def test_where_nothing_changes_nothing_is_said(new_world: NewWorld) -> None:
    world = new_world(until=240)
    verdicts = {world.look(day).evidence.verdict for day in range(TRAINED + 1, 241, 3)}
    assert verdicts == {"no drift"}


def test_a_new_category_is_told_on_its_first_day(new_world: NewWorld) -> None:
    snow = lambda frame: frame.with_columns(  # noqa: E731
        pl.when(from_day(CHANGE) & (pl.col("item") == "tea")).then(pl.lit("snow")).otherwise("sky").alias("sky")
    )
    world = new_world(snow, until=CHANGE + 2)
    assert world.look(CHANGE).evidence.verdict == "no drift"
    report = world.look(CHANGE + 1)
    assert [each.column for each in report.drifting] == ["sky"]
    assert report.columns[0].alarms[0].aspect == "unseen"
    assert report.since == day_of(CHANGE)


def test_missing_values_are_told(new_world: NewWorld) -> None:
    gone = lambda frame: frame.with_columns(  # noqa: E731
        pl.when(from_day(CHANGE) & (pl.col("shop") == "north")).then(None).otherwise("score").alias("score")
    )
    report = new_world(gone, until=CHANGE + 20).look(CHANGE + 20)
    assert [each.column for each in report.drifting] == ["score"]
    assert report.columns[0].alarms[0].aspect == "missing"


def test_a_change_of_one_group_names_the_group(new_world: NewWorld) -> None:
    halved = lambda frame: frame.with_columns(  # noqa: E731
        pl.when(from_day(CHANGE) & (pl.col("shop") == "south"))
        .then(pl.col("sold") // 3)
        .otherwise("sold")
        .alias("sold")
    )
    report = new_world(halved, 'monitor.groups="shop"', until=CHANGE + 20).look(CHANGE + 20)
    assert "sold" in [each.column for each in report.drifting]
    assert report.groups == ("south",)


def test_the_calendar_is_left_out_and_said_to_be(new_world: NewWorld) -> None:
    report = new_world(until=TRAINED + 5).look(TRAINED + 5)
    assert list(report.left_out) == ["promo"]
    assert "promo" not in [each.column for each in report.columns]


def test_day_by_day_in_one_go_and_after_a_restart_are_equal(new_world: NewWorld) -> None:
    world = new_world(dearer)
    seen = []
    for day in range(TRAINED + 1, CHANGE + 16, 3):
        world.tick(day)
        seen.append(world.look(day).to_dict())
    assert {each["verdict"] for each in seen} == {"no drift", "drift"}
    again = open_store(world.project.store_url, fsync=False)
    try:
        restarted = World(world.project, again, world.clock)
        assert restarted.look(day).to_dict() == seen[-1]
        with again.write() as tx:
            tx.execute(delete(drift_summaries))
            tx.execute(delete(drift_references))
        assert restarted.look(day).to_dict() == seen[-1], "in one go, from the raw rows"
    finally:
        again.close()


def test_the_raw_reference_is_not_needed_again(new_world: NewWorld) -> None:
    world = new_world(dearer, until=CHANGE + 20)
    before = world.look(CHANGE + 20)
    with world.store.write() as tx:
        tx.execute(delete(drift_summaries))
        kept = tx.execute(drift_references.select()).one()
    assert len(kept.content) < 100_000
    assert world.look(CHANGE + 20) == before


def test_the_alert_is_raised_once_and_evidence_kept_once(new_world: NewWorld) -> None:
    world = new_world(dearer, until=CHANGE + 40)
    for day in range(CHANGE + 20, CHANGE + 30):
        settle_drift(world.store, world.look(day), at=morning(day), actor="test")
    with world.store.read() as tx:
        assert [alert.code for alert in open_alerts(tx)] == ["drift"]
        assert len(list_evidence(tx, kinds=("drift",))) == 1
        (event,) = list_events(tx, kinds=("alert",))
    assert event.evidence["columns"] == ["price"]


def test_an_accepted_change_is_the_new_normal(new_world: NewWorld) -> None:
    world = new_world(dearer, until=240)
    with pytest.raises(ConflictError, match="no open drift"):
        accept_drift(world.store, at=morning(CHANGE), actor="test", reason="nothing to accept")
    day = CHANGE + 20
    settle_drift(world.store, world.look(day), at=morning(day), actor="test")
    accepted = accept_drift(world.store, at=morning(day), actor="test", reason="new price list")
    assert accepted.since is not None
    with world.store.read() as tx:
        assert open_alerts(tx) == []
        assert [each.message for each in list_events(tx, kinds=("drift_accepted",))] == [
            "the change of price is accepted: new price list"
        ]
    learning = world.look(day + 1)
    assert learning.evidence.verdict == "cannot tell"
    assert "learnt anew" in learning.evidence.reason
    later = [world.look(each) for each in range(CHANGE + 35, 240, 5)]
    assert {each.evidence.verdict for each in later} == {"no drift"}
    price = next(each for each in later[-1].columns if each.column == "price")
    level = next(each for each in price.findings if each.aspect == "level")
    assert level.expected == pytest.approx(2.72 * 1.33, rel=0.06)


def test_too_little_history_is_not_called_no_drift(new_world: NewWorld) -> None:
    report = new_world(days=60, trained=25, until=50).look(50)
    assert report.evidence.verdict == "cannot tell"
    assert "too little history" in report.evidence.reason


def test_weeks_of_history_give_the_weekday_and_say_so(new_world: NewWorld) -> None:
    report = new_world(until=TRAINED + 9).look(TRAINED + 9)
    assert report.season == "weekday"
    assert any("season of the year" in each for each in report.evidence.warnings)


def test_weeks_can_be_the_period(new_world: NewWorld) -> None:
    world = new_world(dearer, 'monitor.period="1w"', days=420, trained=200, until=420)
    report = world.look(300)
    assert report.evidence.observation == "the summary of one week"
    assert [each.column for each in report.columns if each.verdict == "drift"] == []
    assert report.season == "none"


@pytest.mark.parametrize(("name", "value"), [("groups", "shops"), ("leave_out", ["prices"])])
def test_settings_that_name_no_column_are_refused(new_world: NewWorld, name: str, value: object) -> None:
    world = new_world()
    monitor = world.project.settings.monitor.model_copy(update={name: value})
    settings = world.project.settings.model_copy(update={"monitor": monitor})
    with pytest.raises(SettingsError) as caught:
        look_for_drift(replace(world.project, settings=settings), world.store, now=morning(TRAINED + 1))
    assert (caught.value.code, caught.value.path) == ("setting_column", f"monitor.{name}")


def test_a_column_that_is_left_out_is_not_watched(new_world: NewWorld) -> None:
    report = new_world(dearer, 'monitor.leave_out=["price"]', until=CHANGE + 20).look(CHANGE + 20)
    assert report.evidence.verdict == "no drift"
    assert "price" not in [each.column for each in report.columns]


def test_what_a_look_came_to_is_kept_as_numbers(new_world: NewWorld) -> None:
    world = new_world(dearer, until=CHANGE + 40)
    for day in (CHANGE - 2, CHANGE + 30):
        report = world.look(day)
        settle_drift(world.store, report, at=morning(day), actor="test")
        with world.store.read() as tx:
            kept = drift_standing(tx)
        assert kept is not None
        assert (kept.release, kept.verdict, kept.at) == (report.release.digest, report.evidence.verdict, morning(day))
        assert all((each.since is not None) <= (each.ratio >= 1) for each in kept.columns)
        alarmed = {each.column for each in kept.columns if each.since is not None}
        assert alarmed == {each.column for each in report.drifting}
    price = next(each for each in kept.columns if (each.column, each.aspect) == ("price", "level"))
    assert (price.kind, price.since) == ("input", report.since and report.since.isoformat())
    assert {each.column for each in kept.columns} == {each.column for each in report.columns if each.findings}
