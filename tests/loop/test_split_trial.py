"""The loop judges a trial by its split, and gives the traffic back when it is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from everloop.core.clock import ManualClock
from everloop.core.ids import new_id
from everloop.core.project import Project
from everloop.improve.trial import begin_trial
from everloop.loop.context import LoopContext
from everloop.loop.replay import known_at
from everloop.loop.tick import TickReport, tick
from everloop.release.rollout import begin_rollout
from everloop.serve.traffic import Split
from everloop.store.deployments import deploy, in_role
from everloop.store.engine import open_store
from everloop.store.evidence import list_evidence
from everloop.store.facts import Prediction, add_predictions
from everloop.store.splits import split_in_force
from everloop.store.trials import open_trial
from kiosk import at

B = "b" * 64


def walk(
    make_kiosk: Callable[..., Project], days: int, *, failing: bool, by_hand: bool = False
) -> tuple[list[TickReport], LoopContext, str]:
    """A champion, a challenger on half of sixty units that ask once a day, and a step of the loop on each day."""
    project = make_kiosk(
        "release.rollout=ab", "release.min_days=3", "release.max_days=5", "retrain.schedule=", "retrain.on=[]"
    )
    clock = ManualClock(at(100))
    store = open_store(project.store_url, fsync=False)
    context = LoopContext(project, store, clock, "test", data_until=known_at)
    tick(context)
    with store.read() as tx:
        champion = in_role(tx, "champion") or ""
    if by_hand:
        with store.write() as tx:
            deploy(tx, "challenger", B, at=clock.now(), reason="by hand")
            begin_rollout(tx, project.settings.release, B, at=clock.now(), reason="by hand", actor="test")
    else:
        begin_trial(store, project.settings.release, B, at=clock.now(), reason="passed its gates", actor="test")
    with store.read() as tx:
        split = split_in_force(tx)
    assert split is not None
    drawn = Split.compile(split)
    reports = []
    for _ in range(days):
        now = clock.now()
        said = []
        for number in range(60):
            by_b = drawn.assign(f"unit {number}") == B
            role = "champion" if not by_b else "fallback" if failing else "challenger"
            about = (B if role == "challenger" else champion, "", role, "forecast", None, now, now)
            said.append(Prediction(new_id(now), now, *about, b"", b"", f"unit {number}", split.label))
        with store.write() as tx:
            add_predictions(tx, said)
        clock.advance(timedelta(days=1))
        reports.append(tick(context))
    return reports, context, champion


def kinds(reports: list[TickReport]) -> list[str]:
    return [event.kind for report in reports for event in report.events]


def test_a_trial_that_shows_nothing_ends_in_time(make_kiosk: Callable[..., Project]) -> None:
    reports, context, champion = walk(make_kiosk, 8, failing=False)
    assert kinds(reports).count("kept") == 1
    with context.store.read() as tx:
        assert (in_role(tx, "champion"), open_trial(tx), split_in_force(tx)) == (champion, None, None)
        assert list_evidence(tx, kinds=("split",))[-1].verdict
    context.store.close()


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_failing_challenger_is_stopped_within_days(make_kiosk: Callable[..., Project], by_hand: bool) -> None:
    reports, context, champion = walk(make_kiosk, 4, failing=True, by_hand=by_hand)
    assert kinds(reports).count("stopped") == 1
    with context.store.read() as tx:
        assert (in_role(tx, "champion"), open_trial(tx), split_in_force(tx)) == (champion, None, None)
    context.store.close()
