"""Measurements of units: checked, and stored all or none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import RequestError
from everloop.serve.measurements import ToldMeasurements, tell_measurements
from everloop.serve.traffic import kept_unit
from everloop.store.engine import Store, open_store
from everloop.store.measurements import Measurement, measurements_between

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
GOOD = {"unit": "S0/item%2F1", "metric": "revenue", "value": 3, "at": "2026-02-28"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", fsync=False)
    yield opened
    opened.close()


def tell(store: Store, *entries: dict[str, Any]) -> ToldMeasurements:
    return tell_measurements(store, ManualClock(NOW), entries)


def known(store: Store) -> list[Measurement]:
    with store.read() as tx:
        return measurements_between(tx, NOW - timedelta(days=9), NOW + timedelta(days=9))


def test_a_measurement_is_stored_once_and_may_be_corrected_and_back(store: Store) -> None:
    assert tell(store, GOOD, GOOD | {"at": "2026-02-28T12:00:00Z", "value": 1}) == ToldMeasurements(2, 0)
    assert tell(store, GOOD, GOOD | {"unit": 5}) == ToldMeasurements(1, 1)
    assert tell(store, GOOD | {"value": 4}) == ToldMeasurements(1, 0)
    assert tell(store, GOOD) == ToldMeasurements(1, 0)
    assert [(each.unit, each.value) for each in known(store)] == [("5", 3), ("S0/item%2F1", 3), ("S0/item%2F1", 1)]


def test_an_id_of_the_callers_own_makes_a_late_repeat_harmless(store: Store) -> None:
    assert tell(store, GOOD | {"id": "a"}, GOOD | {"id": "b", "value": 4}).stored == 2
    assert tell(store, GOOD | {"id": "a"}) == ToldMeasurements(0, 1)
    assert [each.value for each in known(store)] == [4]


def test_a_unit_is_kept_as_predictions_keep_it(store: Store) -> None:
    tell(store, GOOD | {"unit": "x" * 300}, GOOD | {"unit": "a\x00"})
    assert {each.unit for each in known(store)} == {kept_unit("x" * 300), kept_unit("a\x00")}


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"unit": None}, "field", "unit"),
        ({"at": None}, "field", "at"),
        ({"unit": ""}, "measurement_unit", "unit"),
        ({"unit": True}, "measurement_unit", "unit"),
        ({"unit": {"store": 1}}, "measurement_unit", "unit"),
        ({"metric": "a:b"}, "measurement_metric", "metric"),
        ({"metric": "x" * 129}, "measurement_metric", "metric"),
        ({"metric": 3}, "measurement_metric", "metric"),
        ({"value": "3"}, "measurement_value", "value"),
        ({"value": True}, "measurement_value", "value"),
        ({"value": float("nan")}, "measurement_value", "value"),
        ({"at": "yesterday"}, "measurement_time", "at"),
        ({"at": "0001-01-01T00:00+05:00"}, "measurement_time", "at"),
        ({"at": "2026-03-09"}, "measurement_time", "at"),
        ({"id": ""}, "measurement_id", "id"),
        ({"units": 3}, "field_unknown", "units"),
    ],
)
def test_one_bad_measurement_refuses_all_with_its_place(
    store: Store, change: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(RequestError) as caught:
        tell(store, GOOD, GOOD | change)
    assert (caught.value.code, caught.value.path) == (code, f"measurements[1].{field}")
    assert caught.value.hint
    assert known(store) == []
