"""Outcomes of rows and measurements of units: told late, twice, corrected, and corrected back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.store.engine import Store, open_store
from everloop.store.measurements import Measurement, add_measurements, measurements_between, metric_names
from everloop.store.row_outcomes import RowOutcome, add_row_outcomes, count_unmatched, row_outcomes_after
from everloop.store.telling import fresh_of, latest_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", fsync=False)
    yield opened
    opened.close()


def outcome(value: float, *, row: int = 0, prediction: str = "p", own: str = "") -> RowOutcome:
    return RowOutcome(NOW, prediction, row, value, None, None, "test", own)


def measured(value: float, *, unit: str = "u", day: int = 0, metric: str = "revenue", own: str = "") -> Measurement:
    return Measurement(NOW, unit, metric, NOW + timedelta(days=day), value, "test", own)


def tell(store: Store, *rows: RowOutcome) -> int:
    with store.write() as tx:
        return add_row_outcomes(tx, rows)


def values(store: Store) -> list[float | None]:
    with store.read() as tx:
        return [each.value for each in row_outcomes_after(tx, 0)]


def test_a_repeat_changes_nothing_and_a_correction_may_be_taken_back(store: Store) -> None:
    assert tell(store, outcome(3), outcome(4)) == 2
    assert tell(store, outcome(3), outcome(4)) == 0  # the same file again
    assert tell(store, outcome(4)) == 0
    assert tell(store, outcome(4), outcome(5)) == 1
    assert tell(store, outcome(3), outcome(3)) == 1  # back to what it was at first
    assert tell(store, outcome(3, row=1), outcome(3, prediction="q")) == 2
    assert values(store) == [3, 4, 5, 3, 3, 3]


def test_an_id_of_the_senders_own_is_taken_once(store: Store) -> None:
    assert tell(store, outcome(3, own="a"), outcome(4, own="b"), outcome(4, own="b")) == 2
    assert tell(store, outcome(3, own="a")) == 0  # delivered again, late: the correction stands
    assert values(store) == [3, 4]


def test_measurements_of_a_range_are_the_latest_told(store: Store) -> None:
    first = [measured(1), measured(2, day=1), measured(3, unit="v"), measured(9, day=2), measured(0, metric="clicks")]
    with store.write() as tx:
        assert add_measurements(tx, []) == 0
        assert add_measurements(tx, first) == 5
        assert add_measurements(tx, [*first, measured(7, day=1)]) == 1
    with store.read() as tx:
        found = measurements_between(tx, NOW, NOW + timedelta(days=2), ["revenue"])
        assert [(each.unit, each.value) for each in found] == [("u", 1), ("v", 3), ("u", 7)]
        assert len(measurements_between(tx, NOW, NOW + timedelta(days=3))) == 5
        assert metric_names(tx) == ("clicks", "revenue")


def test_outcomes_without_a_prediction_are_counted(store: Store) -> None:
    tell(store, outcome(1), outcome(2, row=1), outcome(3, prediction="q"))
    with store.read() as tx:
        assert count_unmatched(tx, NOW) == 2
        assert count_unmatched(tx, NOW + timedelta(days=1)) == 0


@given(st.lists(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), max_size=5), max_size=5))
def test_after_any_batches_the_last_told_holds_and_telling_each_twice_is_the_same(
    batches: list[list[tuple[int, int]]],
) -> None:
    once: list[RowOutcome] = []
    twice: list[RowOutcome] = []
    for batch in batches:
        rows = [outcome(value, row=row) for row, value in batch]
        once += fresh_of(rows, once, ())
        twice += fresh_of(rows, twice, ())
        assert fresh_of(rows, twice, ()) == []
    assert once == twice
    assert len({each.id for each in once}) == len(once)
    last = {row: value for batch in batches for row, value in batch}
    assert {each.row: each.value for each in latest_of(once)} == last
