from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from everloop.core.errors import SettingsError
from everloop.core.settings.releasing import RetrainSettings
from everloop.improve.triggers import LastTraining, due_trigger, last_due, next_due

MONDAY = datetime(2011, 12, 5, 3, tzinfo=UTC)
WEEKLY = RetrainSettings(schedule="0 3 * * 1")


def trigger(
    now: datetime,
    *,
    last: datetime | None = MONDAY - timedelta(days=7),
    same_data: bool = False,
    has_champion: bool = True,
    decay: str | None = None,
    drift: str | None = None,
    on_trial: bool = False,
    settings: RetrainSettings = WEEKLY,
) -> str | None:
    before = None if last is None else LastTraining(last, "new" if same_data else "old")
    found = due_trigger(
        settings,
        now=now,
        last=before,
        dataset_digest="new",
        has_champion=has_champion,
        on_trial=on_trial,
        decay_reason=decay,
        drift_reason=drift,
    )
    return found.kind if found else None


def test_the_schedule_is_due_once() -> None:
    assert trigger(MONDAY - timedelta(seconds=1)) is None
    assert trigger(MONDAY) == "schedule"
    assert trigger(MONDAY + timedelta(days=3)) == "schedule", "a tick that was missed is made up for"
    assert trigger(MONDAY + timedelta(days=3), last=MONDAY) is None


def test_the_same_data_are_not_trained_on_twice() -> None:
    assert trigger(MONDAY, same_data=True) is None
    assert trigger(MONDAY, same_data=True, has_champion=False) is None


def test_nobody_in_charge_starts_a_training_at_once() -> None:
    assert trigger(MONDAY, last=None, has_champion=False) == "no champion"
    assert trigger(MONDAY, last=MONDAY - timedelta(hours=5), has_champion=False) is None
    assert trigger(MONDAY, last=MONDAY - timedelta(hours=73), has_champion=False) == "no champion"


def test_a_trial_is_not_cut_short() -> None:
    assert trigger(MONDAY, on_trial=True) is None
    assert trigger(MONDAY + timedelta(days=20), on_trial=False) == "schedule"


def test_decay_waits_for_its_cooldown_and_can_be_switched_off() -> None:
    thursday = MONDAY + timedelta(days=3)
    assert trigger(thursday, last=MONDAY, decay="worse") == "decay"
    assert trigger(MONDAY + timedelta(days=1), last=MONDAY, decay="worse") is None
    off = RetrainSettings(schedule="", on=[])
    assert trigger(thursday, last=MONDAY, decay="worse", settings=off) is None


def test_drift_starts_a_training_as_decay_does() -> None:
    thursday = MONDAY + timedelta(days=3)
    assert trigger(thursday, last=MONDAY, drift="price") == "drift"
    assert trigger(thursday, last=MONDAY, drift="price", decay="worse") == "decay"
    assert trigger(MONDAY + timedelta(days=1), last=MONDAY, drift="price") is None
    assert trigger(thursday, last=MONDAY, drift="price", settings=RetrainSettings(schedule="", on=["decay"])) is None


def test_cron_instants() -> None:
    assert last_due("0 3 * * 1", MONDAY) == MONDAY
    assert last_due("0 3 * * 1", MONDAY - timedelta(seconds=1)) == MONDAY - timedelta(days=7)
    assert next_due("0 3 * * 1", MONDAY) == MONDAY + timedelta(days=7)
    assert last_due("", MONDAY) is None
    with pytest.raises(SettingsError, match="not a schedule"):
        last_due("0 99 * * 1", MONDAY)
