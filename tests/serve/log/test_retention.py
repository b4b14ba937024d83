"""Retention: what is old enough goes, what is needed stays, and nothing goes that was not exported."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from everloop.core.errors import UnavailableError
from everloop.core.ids import new_id
from everloop.core.project import Project, parse_settings
from everloop.serve.log import retention
from everloop.serve.log.export import export_predictions
from everloop.serve.log.retention import prune_predictions, retention_bound, tend_log
from everloop.store.engine import Store, open_store
from everloop.store.events import list_events
from everloop.store.facts import Prediction, add_predictions
from everloop.store.history import count_predictions
from everloop.store.splits import end_split, start_split
from everloop.store.trials import start_trial

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


@dataclass
class Stage:
    project: Project
    store: Store

    def with_settings(self, *settings: str) -> Stage:
        tree = {"project": {"name": "log", "task": "regression"}}
        return Stage(replace(self.project, settings=parse_settings(tree, overrides=settings)), self.store)

    def add(self, *days: float, ahead: float = 0) -> list[Prediction]:
        """Predictions made so many days ago."""
        rows = []
        for each in days:
            at = NOW - timedelta(days=each)
            last = at + timedelta(days=ahead)
            rows.append(
                Prediction(new_id(at), at, "r", "s", "champion", "infer", None, at, last, b"{}", b"\x00", "u", "e.0")
            )
        with self.store.write() as tx:
            add_predictions(tx, rows)
        return rows

    def prune(self, **options: int | bool) -> retention.Pruned:
        return prune_predictions(self.project, self.store, now=NOW, actor="test", **options)  # type: ignore[arg-type]

    def ages(self) -> list[int]:
        """How many days ago each prediction that is left was made."""
        with self.store.read() as tx:
            times = [row[0] for row in tx.exec_driver_sql("SELECT at FROM predictions ORDER BY at DESC")]
        return [(NOW - datetime.fromisoformat(each)).days for each in times]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    store = open_store(f"sqlite:///{tmp_path}/store.db", fsync=False)
    settings = parse_settings({"project": {"name": "log", "task": "regression"}})
    yield Stage(Project(root=tmp_path, settings=settings, home=tmp_path / "home"), store)
    store.close()


def test_for_ever_is_the_default(stage: Stage) -> None:
    stage.add(1, 1000)
    pruned = stage.prune()
    assert (pruned.bound, pruned.deleted, pruned.is_done) == (None, 0, True)
    assert stage.ages() == [1, 1000]


def test_what_is_old_goes_with_an_event(stage: Stage) -> None:
    stage = stage.with_settings("log.keep_days=60")
    stage.add(1, 59, 61, 200)
    dry = stage.prune(is_dry=True)
    assert (dry.deleted, stage.ages()) == (2, [1, 59, 61, 200])
    assert stage.prune().deleted == 2
    assert stage.ages() == [1, 59]
    assert stage.prune().deleted == 0
    with stage.store.read() as tx:
        events = list_events(tx, kinds=("predictions_deleted",))
    assert [event.evidence["deleted"] for event in events] == [2]


def test_a_prediction_stays_while_its_outcomes_may_come(stage: Stage) -> None:
    stage = stage.with_settings("log.keep_days=5", "monitor.window_days=28")
    stage.add(20, 27, 29)
    stage.add(40, ahead=14)  # speaks of a day 26 days ago
    stage.add(41, ahead=12)
    pruned = stage.prune()
    assert stage.ages() == [20, 27, 40]
    assert pruned.bound is not None
    assert pruned.bound.reasons == ("outcomes of the last 28 days are watched",)


def test_an_open_trial_and_a_split_keep_theirs(stage: Stage) -> None:
    stage = stage.with_settings("log.keep_days=30")
    stage.add(10, 35, 45, 55)
    with stage.store.write() as tx:
        start_trial(tx, "b" * 64, "a" * 64, at=NOW - timedelta(days=50))
    assert stage.prune().deleted == 1
    assert stage.ages() == [10, 35, 45]
    with stage.store.write() as tx:
        tx.exec_driver_sql("DELETE FROM trials")
        start_split(
            tx, {"a" * 64: 0.5, "b" * 64: 0.5}, unit="series", at=NOW - timedelta(days=40), reason="", actor="test"
        )
    assert stage.prune().deleted == 1
    assert stage.ages() == [10, 35]
    with stage.store.write() as tx:
        end_split(tx, at=NOW, reason="", actor="test")
    assert stage.prune().deleted == 1
    assert stage.ages() == [10]


def test_only_so_many_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_PER_BATCH", 3)
    stage = stage.with_settings("log.keep_days=30")
    stage.add(*range(31, 51))
    assert [(each.deleted, each.is_done) for each in (stage.prune(most=8), stage.prune(most=8))] == [(8, False)] * 2
    assert stage.prune(most=8).is_done
    assert stage.ages() == []


def test_nothing_goes_that_was_not_exported(stage: Stage, tmp_path: Path) -> None:
    stage = stage.with_settings("log.keep_days=30", "log.export=exports/log")
    rows = stage.add(1, 40, 50)
    place = tmp_path / "exports" / "log"
    export_predictions(stage.store, str(place), now=NOW)
    rows += stage.add(40, 60)  # came late
    pruned = stage.prune()
    assert (pruned.deleted, pruned.exported, stage.ages()) == (4, 2, [1])
    assert Counter(pl.read_delta(str(place))["id"]) == Counter(row.id for row in rows)


def test_late_ones_are_exported_although_as_many_were_deleted(stage: Stage, tmp_path: Path) -> None:
    stage = stage.with_settings("log.keep_days=30")
    stage.add(40, 40.1)
    place = str(tmp_path / "by-hand")
    export_predictions(stage.store, place, now=NOW)
    assert stage.prune().deleted == 2
    stage.add(40, 40.1)
    assert export_predictions(stage.store, place, now=NOW).rows == 2


def test_an_export_that_fails_keeps_all(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    stage = stage.with_settings("log.keep_days=30", "log.export=file/log")
    stage.add(40)
    with pytest.raises(UnavailableError):
        stage.prune()
    assert stage.ages() == [40]


def test_the_daily_duty_exports_and_deletes_once(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tend_log(stage.project, stage.store, now=NOW, actor="loop") is None
    monkeypatch.setattr(retention, "_PER_STEP", 4)
    stage = stage.with_settings("log.keep_days=30", "log.export=exports/log")
    rows = stage.add(0, 1, 2, 40, 41, 42)
    steps = []
    while (step := tend_log(stage.project, stage.store, now=NOW, actor="loop")) is not None:
        steps.append((step.exported, step.deleted, step.is_done))
    assert sum(step[0] for step in steps) == 5  # today is not over
    assert sum(step[1] for step in steps) == 3
    assert steps[-1][2]
    assert stage.ages() == [0, 1, 2]
    tomorrow = NOW + timedelta(days=1)
    step = tend_log(stage.project, stage.store, now=tomorrow, actor="loop")
    assert step is not None
    assert step.exported == 1
    assert Counter(pl.read_delta(str(tmp_path / "exports" / "log"))["id"]) == Counter(row.id for row in rows)


def test_answers_are_stored_while_many_go(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_PER_BATCH", 20)
    stage = stage.with_settings("log.keep_days=30")
    stage.add(*[40 + number / 1000 for number in range(1_000)])
    thread = threading.Thread(target=stage.prune)
    thread.start()
    added = 0
    while thread.is_alive():
        stage.add(0)
        added += 1
    thread.join()
    with stage.store.read() as tx:
        assert count_predictions(tx) == added
        assert retention_bound(stage.project, tx, now=NOW) is not None
    assert added > 3
