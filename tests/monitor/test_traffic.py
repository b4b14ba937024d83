"""A split is checked against what it really drew, with an alert that lasts until it ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from everloop.core.ids import new_id
from everloop.monitor.traffic import RATIO_ALERT, check_split, look_at_split
from everloop.store.alerts import open_alerts
from everloop.store.engine import Store, open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.splits import TrafficSplit, change_split, end_split, start_split

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
A, B = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db", fsync=False)
    yield opened
    opened.close()


def begin(store: Store, share: float) -> TrafficSplit:
    with store.write() as tx:
        return start_split(tx, {A: 1 - share, B: share}, unit="series", at=NOW, reason="try", actor="test")


def serve(store: Store, split: TrafficSplit, n: int, share: float, *, first: int = 0, named: bool = True) -> None:
    """Answer ``n`` units twice each, ``share`` of them by B."""
    is_b = np.random.default_rng(7).permutation(n) < n * share
    rows = []
    for repeat in range(2 if named else 1):
        at = NOW + timedelta(minutes=first + repeat)
        for number, by_b in enumerate(is_b):
            unit = f"unit {first + number}" if named else None
            about = (B if by_b else A, "", "challenger" if by_b else "champion", "forecast", None)
            rows.append(Prediction(new_id(at), at, *about, at, at, b"{}", b"", unit, split.label))
    with store.write() as tx:
        add_predictions(tx, rows)


def codes(store: Store) -> list[str]:
    with store.read() as tx:
        return [alert.code for alert in open_alerts(tx)]


def test_without_a_split_there_is_nothing_to_say(store: Store) -> None:
    assert look_at_split(store) is None
    assert check_split(store, at=NOW, actor="test") is None


def test_a_split_in_proportion_raises_no_alert(store: Store) -> None:
    split = begin(store, 0.2)
    empty = check_split(store, at=NOW, actor="test")
    assert empty is not None
    assert (empty.test.n, empty.arms[0].observed) == (0, None)
    serve(store, split, 1_000, 0.2)
    with store.write() as tx:
        split = change_split(tx, {A: 0.5, B: 0.5}, at=NOW, reason="more", actor="test")
    serve(store, split, 1_000, 0.5, first=5_000)
    serve(store, split, 100, 0.5, first=7_000, named=False)
    report = check_split(store, at=NOW, actor="test")
    assert report is not None
    assert (report.test.n, report.loose, report.test.is_mismatch) == (2_100, 100, False)
    assert [arm.requests for arm in report.arms] == [2_650, 1_450]  # repeats are answers, and no new units
    assert [arm.units for arm in report.arms] == [1_350, 750]
    assert [arm.observed for arm in report.arms] == [arm.expected for arm in report.arms]
    assert "in proportion" in report.verdict
    assert codes(store) == []


def test_a_mismatch_is_an_alert_until_the_split_ends(store: Store) -> None:
    split = begin(store, 0.5)
    serve(store, split, 2_000, 0.4)
    report = check_split(store, at=NOW, actor="test")
    assert report is not None
    assert report.test.is_mismatch
    assert "60.00% instead of 50.00%" in report.verdict
    assert codes(store) == [RATIO_ALERT]
    serve(store, split, 1_000, 1.0, first=5_000)  # makes the sums look better
    check_split(store, at=NOW, actor="test")
    assert codes(store) == [RATIO_ALERT]
    with store.write() as tx:
        end_split(tx, at=NOW, reason="broken", actor="test")
    check_split(store, at=NOW, actor="test")
    assert codes(store) == []
    ended = look_at_split(store)
    assert ended is not None
    assert ended.to_dict()["ended_at"] == NOW
    assert split.salt not in str(ended.to_dict())
