"""The loop watches for drift: an alert, evidence, a retraining, and a new normal when a new release is in charge."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from drifting import TRAINED, from_day, make_world, morning
from everloop.loop.context import LoopContext
from everloop.loop.replay import known_at
from everloop.loop.tick import tick
from everloop.store.alerts import open_alerts
from everloop.store.deployments import deploy, find_release, in_role, list_releases
from everloop.store.events import list_events
from everloop.store.evidence import list_evidence

CHANGE = TRAINED + 20
ON = ("monitor.drift=true", 'retrain.on=["drift"]')


def dearer(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.when(from_day(CHANGE)).then(pl.col("price") * 1.5).otherwise("price").alias("price"))


def test_drift_raises_an_alert_and_starts_one_retraining_whose_release_is_at_ease(tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", dearer, *ON)
    context = LoopContext(world.project, world.store, world.clock, "test", data_until=known_at)
    found = []
    for day in [*range(TRAINED + 1, CHANGE + 1, 5), *range(CHANGE + 1, CHANGE + 40, 2)]:
        world.clock.set(morning(day))
        report = tick(context)
        assert report.failures == []
        assert report.drift is not None
        found.append((day, report.drift.evidence.verdict, report.retraining is not None))
    assert all(verdict != "drift" for day, verdict, _ in found if day <= CHANGE)
    assert [verdict for _, verdict, _ in found][-1] == "drift"
    trained = [day for day, _, is_trained in found if is_trained]
    assert len(trained) == 1, "one retraining, not one for each look"
    with world.store.read() as tx:
        assert [alert.code for alert in open_alerts(tx)] == ["drift"]
        evidence = list_evidence(tx, kinds=("drift",))
        begun = [each for each in list_events(tx, kinds=("training",)) if "drift" in str(each.evidence) + each.message]
        champion = in_role(tx, "champion")
        newest = list_releases(tx)[0].digest
    assert [each.verdict for each in evidence] == ["drift"]
    assert begun
    assert newest != champion, "a release that was trained since"
    with world.store.write() as tx:
        deploy(tx, "champion", newest, at=world.clock.now(), reason="test")
        assert find_release(tx, newest).cutoff > morning(CHANGE)
    report = tick(context)
    assert report.drift is not None
    assert report.drift.release.digest == newest
    world.store.close()


@pytest.mark.parametrize("is_on", [True, False])
def test_drift_can_be_switched_off(tmp_path: Path, is_on: bool) -> None:
    world = make_world(tmp_path / "world", lambda frame: frame, f"monitor.drift={str(is_on).lower()}")
    world.clock.set(morning(TRAINED + 1))
    report = tick(LoopContext(world.project, world.store, world.clock, "test", data_until=known_at))
    assert (report.drift is not None) == is_on
    world.store.close()
