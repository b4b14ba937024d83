"""Splits are appended, never changed, and what they drew can be counted afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from everloop.core.errors import NotFoundError, UsageError
from everloop.core.ids import new_id
from everloop.store.engine import Store, open_store
from everloop.store.events import list_events
from everloop.store.facts import Prediction, add_predictions
from everloop.store.recorded import recent_requests
from everloop.store.splits import (
    MILLION,
    ArmCount,
    TrafficSplit,
    change_split,
    count_arms,
    end_split,
    fitting_weights,
    latest_split,
    split_in_force,
    start_split,
)

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, on each database."""
    url = f"sqlite:///{tmp_path}/store.db"
    if request.param == "postgresql":
        server = make_url(request.getfixturevalue("postgres_url"))
        name = f"splits_{new_id(NOW)[-12:]}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = server.set(database=name).render_as_string(hide_password=False)
    opened = open_store(url, fsync=False)
    yield opened
    opened.close()


def begun(tx: Connection, **weights: float) -> TrafficSplit:
    names = {"a": A, "b": B, "c": C}
    return start_split(
        tx, {names[name]: share for name, share in weights.items()}, unit="series", at=NOW, reason="try b", actor="t"
    )


def answered(
    tx: Connection, split: str, release: str, unit: str | None, *, role: str = "challenger", kind: str = "forecast"
) -> None:
    answered.count += 1  # type: ignore[attr-defined]
    at = NOW + timedelta(seconds=answered.count)  # type: ignore[attr-defined]
    row = Prediction(new_id(at), at, release, "", role, kind, None, at, at, b"{}", b"", unit, split)
    add_predictions(tx, [row])


answered.count = 0  # type: ignore[attr-defined]


def test_a_split_begins_changes_and_ends(store: Store) -> None:
    with store.write() as tx:
        assert split_in_force(tx) is None
        first = begun(tx, a=0.9, b=0.1)
        assert split_in_force(tx) == first
    with store.write() as tx:
        changed = change_split(tx, {A: 0.5, C: 0.5}, at=NOW, reason="and c", actor="t")
        assert split_in_force(tx) == changed
        assert (changed.experiment, changed.salt) == (first.experiment, first.salt)
        assert changed.weights == {A: 0.5, B: 0.0, C: 0.5}  # who took part is not forgotten
        assert (first.label, changed.label) == (f"{first.experiment}.0", f"{first.experiment}.1")
        assert len(changed.label_of(10**9)) <= 36
        assert change_split(tx, {A: 0.5, C: 0.5}, at=NOW, reason="again", actor="t") == changed
    with store.write() as tx:
        assert end_split(tx, at=NOW, reason="enough", actor="t") == changed
        assert split_in_force(tx) is None
        assert end_split(tx, at=NOW, reason="again", actor="t") is None
        ended = latest_split(tx)
        assert ended is not None
        assert (ended.ended_at, ended.weights) == (NOW, changed.weights)
        with pytest.raises(NotFoundError, match="not split"):
            change_split(tx, {A: 1.0}, at=NOW, reason="", actor="t")
        events = list_events(tx)
    assert [event.kind for event in events] == ["split_started", "split_changed", "split_ended"]
    assert [event.evidence["reason"] for event in events] == ["try b", "and c", "enough"]
    assert all(first.salt not in str(event) for event in events)


def test_a_new_split_ends_the_one_before_and_draws_anew(store: Store) -> None:
    with store.write() as tx:
        first, second = begun(tx, a=0.5, b=0.5), begun(tx, a=0.5, c=0.5)
        assert split_in_force(tx) == second
        assert [event.kind for event in list_events(tx)] == ["split_started", "split_ended", "split_started"]
    assert first.salt != second.salt
    assert first.experiment != second.experiment


@pytest.mark.parametrize(
    "weights", [{}, {A: 1.2, B: -0.2}, {A: 0.5}, {A: 0.5, B: 0.6}, {A: float("nan"), B: 0.5}, {A: float("inf")}]
)
def test_weights_that_do_not_fit_change_nothing(tmp_path: Path, weights: dict[str, float]) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db", fsync=False)
    with store.write() as tx:
        before = begun(tx, a=0.5, b=0.5)
        for attempt in (start_split, change_split):
            options = {"unit": "series"} if attempt is start_split else {}
            with pytest.raises(UsageError):
                attempt(tx, weights, at=NOW, reason="", actor="t", **options)  # type: ignore[operator]
        assert split_in_force(tx) == before
    store.close()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=7).filter(any))
def test_weights_are_whole_millionths_near_to_what_was_asked(shares: list[int]) -> None:
    asked = {f"{number:064d}": share / sum(shares) for number, share in enumerate(shares)}
    kept = fitting_weights(asked)
    assert sum(round(share * MILLION) for share in kept.values()) == MILLION
    assert list(kept) == sorted(asked)
    assert all(abs(kept[each] - asked[each]) <= 1.001 / MILLION for each in asked)
    assert fitting_weights(kept) == kept


def test_a_unit_counts_once_where_it_was_answered_first(store: Store) -> None:
    with store.write() as tx:
        split = begun(tx, a=0.5, b=0.5)
        zero = split.label
        for unit in ("x", "x", "y"):
            answered(tx, zero, A, unit, role="champion")
        answered(tx, zero, B, "z")
        answered(tx, zero, B, None)
        answered(tx, zero, B, "shadowed", role="shadow")
        answered(tx, zero, A, "w", role="fallback")  # B was drawn and failed
        split = change_split(tx, {A: 0.2, B: 0.8}, at=NOW, reason="more", actor="t")
        one = split.label
        answered(tx, one, B, "x")  # moved with the weights
        answered(tx, one, B, "new")
        answered(tx, "another.0", B, "other")
        found = count_arms(tx, split)
    assert found == [
        ArmCount(0, A, requests=3, units=2, loose=0),
        ArmCount(0, B, requests=2, units=1, loose=1),
        ArmCount(1, B, requests=2, units=1, loose=0),
    ]


def test_recorded_requests_are_the_newest_of_a_release(store: Store) -> None:
    with store.write() as tx:
        for unit in ("1", "2", "3"):
            answered(tx, "e.0", A, unit, role="champion")
        answered(tx, "e.0", A, "4", role="shadow")
        answered(tx, "e.0", A, "5", role="champion", kind="batch")
        answered(tx, "e.0", B, "6")
        found = recent_requests(tx, A, limit=2)
        all_of_a = recent_requests(tx, A, limit=10)
    assert [each.id for each in found] == sorted((each.id for each in all_of_a), reverse=True)[:2]
    assert len(all_of_a) == 3
    assert {(each.kind, each.request) for each in all_of_a} == {("forecast", b"{}")}
