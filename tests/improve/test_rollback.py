"""A champion whose errors leave their range is rolled back once; one that stays within is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta

import numpy as np
import pytest

from everloop.cli.monitor_live import draw_live
from everloop.core.clock import ManualClock
from everloop.core.project import Project
from everloop.improve.retraining import retrain
from everloop.improve.triggers import Trigger
from everloop.loop.context import LoopContext
from everloop.loop.replay import known_at
from everloop.loop.tick import TickReport, tick
from everloop.monitor.ranges import LiveWatch, watch_live
from everloop.store.alerts import open_alerts
from everloop.store.deployments import in_role
from everloop.store.engine import Store, open_store
from everloop.store.events import list_events
from everloop.store.evidence import list_evidence
from everloop.store.schema import drift_summaries
from kiosk import TOY, at

_PROMOTED, _ROTS, _ALARMED, _END = 62, 84, 108, 112
_EPOCH_DAY = 19_723  # 2024-01-01

ROTTING = f'''

class Rotting(MeanOfWeeks):
    """The mean of weeks, until a day; from then on twice of it."""

    def forecast(self, request):
        told = super().forecast(request)
        factor = 2.0 if told.cutoff >= {_EPOCH_DAY + _ROTS} else 1.0
        return Forecast(
            series=told.series,
            cutoff=told.cutoff,
            mean=told.mean * factor,
            lower={{level: each * factor for level, each in told.lower.items()}},
            upper={{level: each * factor for level, each in told.upper.items()}},
        )
'''
QUIET = ("retrain.schedule=", "retrain.on=[]", "monitor.drift=false", "validate.windows=6")


class World:
    """A project that is walked through day by day: the naive first, then the toy that goes bad."""

    def __init__(self, make: Callable[..., Project]) -> None:
        self.automatic = make(*QUIET, "train.candidates=['seasonal_naive']")
        self.project = make(*QUIET, "train.candidates=['seasonal_naive']", "release.rollback=off")
        later = make(*QUIET, "train.candidates=['rotting:Rotting']", "release.rollout=direct")
        (self.project.root / "rotting.py").write_text(TOY + ROTTING, encoding="utf-8")
        self.store: Store = open_store(self.project.store_url, fsync=False)
        self.clock = ManualClock(at(_PROMOTED - 1))
        self.context = LoopContext(self.project, self.store, self.clock, "test", data_until=known_at)
        self.reports: list[TickReport] = [tick(self.context)]
        self.first = self.champion
        self.clock.advance(timedelta(days=1))
        tick(self.context)
        retrain(later, self.store, self.clock, Trigger("person", "try the toy"), actor="test")
        self.second = self.champion

    @property
    def champion(self) -> str:
        with self.store.read() as tx:
            return in_role(tx, "champion") or ""

    def walk(self, until: int) -> None:
        """Tick every morning up to the one after ``until`` days."""
        while self.clock.now() < at(until):
            self.clock.advance(timedelta(days=1))
            self.reports.append(tick(self.context))

    def watch(self) -> LiveWatch:
        return watch_live(self.project, self.store, release="champion", now=self.clock.now())


@pytest.fixture
def world(make_kiosk: Callable[..., Project]) -> Iterator[World]:
    made = World(make_kiosk)
    yield made
    made.store.close()


def test_a_model_that_goes_bad_weeks_after_it_came_is_rolled_back_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.first != world.second
    world.walk(_ROTS)
    assert world.champion == world.second, "it is healthy so far"
    watch = world.watch()
    assert watch.evidence.verdict == "within", watch.evidence.reason
    assert watch.estimate is not None
    assert watch.estimate.evidence.is_estimate
    world.walk(_ALARMED)
    with world.store.read() as tx:
        assert "live_range" in [alert.code for alert in open_alerts(tx)]
    assert world.champion == world.second, "release.rollback is off"
    bias = next(row for row in world.watch().rows if row.kind == "bias")
    assert bias.verdict == "above"
    assert bias.since is not None
    draw_live(world.watch(), [])
    shown = capsys.readouterr().out
    assert f"above since {bias.since}" in shown
    assert "estimated WAPE" in shown
    assert abs((date.fromisoformat(bias.since) - at(_ROTS).date()).days) <= 7
    world.context.project = world.automatic
    world.walk(_END)
    assert [failure for report in world.reports for failure in report.failures] == []
    assert world.champion == world.first
    with world.store.read() as tx:
        rolled = list_events(tx, kinds=("rolled_back",))
        kept = list_evidence(tx, kinds=("rollback", "live"), subject=world.second)
        alerts = [alert.code for alert in open_alerts(tx)]
    assert len(rolled) == 1
    assert rolled[0].at == at(_ALARMED + 1)
    assert [row.verdict for row in kept] == ["left", "roll back"]
    assert kept[1].record["effect"] < -0.3, "the previous one would have made less than 0.7 of the error"
    assert "live_range" not in alerts, "who is in charge now is within its range"

    # what was summed day by day says the same as all of it summed at once
    before = world.watch()
    with world.store.write() as tx:
        tx.execute(drift_summaries.delete())
    at_once = world.watch()
    assert before.days is not None
    assert at_once.days is not None
    np.testing.assert_allclose(before.days.sums, at_once.days.sums, rtol=1e-12)
    assert before.rows == at_once.rows
