"""Promotion begins and ends a split in the transaction that changes the roles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from everloop.core.clock import ManualClock
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.release import promotion
from everloop.release.bundle import Release
from everloop.release.promotion import promote, rollback, withdraw_challenger
from everloop.store.engine import open_store
from everloop.store.events import list_events
from everloop.store.splits import split_in_force
from releasing import NOW


def test_promotion_rollback_and_withdrawal_begin_and_end_it(
    make_project: Callable[..., Project],
    make_panel: Callable[..., Panel],
    release_of: Callable[..., Release],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = make_project("release.rollout=ab")
    one, two = (release_of(project, make_panel(seed=seed)).digest for seed in (1, 2))
    monkeypatch.setattr(promotion, "sync_aliases", lambda *_, **__: "")  # MLflow's mirror has tests of its own
    clock = ManualClock(NOW)
    store = open_store(project.store_url, fsync=False)
    shared: dict[str, Any] = {"reason": "because", "actor": "test"}

    def weights() -> dict[str, float] | None:
        clock.advance(timedelta(hours=1))
        with store.read() as tx:
            split = split_in_force(tx)
        return None if split is None else split.weights

    promote(project, store, clock, one, **shared)
    assert weights() is None  # nobody is tried
    promote(project, store, clock, two, role="challenger", **shared)
    assert weights() == {one: 0.5, two: 0.5}
    withdraw_challenger(project, store, clock, **shared)
    assert weights() is None
    promote(project, store, clock, two, role="challenger", **shared)
    promote(project, store, clock, two, **shared)
    assert weights() is None
    promote(project, store, clock, one, role="challenger", **shared)
    assert weights() == {one: 0.5, two: 0.5}
    rollback(project, store, clock, **shared)
    assert weights() is None
    with store.read() as tx:
        events = [event.kind for event in list_events(tx, kinds=("split_started", "split_ended"))]
    store.close()
    assert events == ["split_started", "split_ended"] * 3
