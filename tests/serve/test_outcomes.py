from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import RequestError
from everloop.serve.outcomes import Told, tell_outcomes
from everloop.store.facts import Outcome, outcomes_since

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
GOOD = {"series": "S0/item%2F1", "time": "2026-02-28", "value": 3}


def tell(world, *entries: dict[str, Any], **options: Any) -> Told:  # type: ignore[no-untyped-def]
    return tell_outcomes(world.project, world.store, ManualClock(NOW), entries, **options)


def stored(world) -> list[Outcome]:  # type: ignore[no-untyped-def]
    with world.store.read() as tx:
        return outcomes_since(tx, datetime(2000, 1, 1, tzinfo=UTC))


def test_outcomes_are_stored_once(world) -> None:  # type: ignore[no-untyped-def]
    by_columns = {"series": {"store_id": "S0", "item_id": "item/1"}, "time": "2026-02-28T00:00:00Z", "value": 3.0}
    assert tell(world, GOOD, GOOD | {"time": "2026-02-27"}) == Told(2, 0, ())
    assert tell(world, GOOD, by_columns) == Told(0, 2, ())  # another spelling of the same content
    assert tell(world, GOOD | {"value": 4}) == Told(1, 0, ())  # a correction
    assert [each.value for each in stored(world)] == [3.0, 3.0, 4.0]


def test_the_callers_own_id_makes_a_repeat_harmless(world) -> None:  # type: ignore[no-untyped-def]
    assert tell(world, GOOD | {"id": "mine"}).stored == 1
    assert tell(world, GOOD | {"id": "mine", "value": 5}).duplicates == 1
    assert stored(world)[0].value == 3.0


def test_unknown_series_are_kept_and_named(world) -> None:  # type: ignore[no-untyped-def]
    told = tell(world, GOOD, GOOD | {"series": "S9/new"}, known={"S0/item%2F1"})
    assert told == Told(2, 0, ("S9/new",))


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"value": None}, "field", "value"),
        ({"value": "3"}, "outcome_value", "value"),
        ({"value": True}, "outcome_value", "value"),
        ({"value": float("nan")}, "outcome_value", "value"),
        ({"value": 10**400}, "outcome_value", "value"),
        ({"value": -1}, "outcome_value", "value"),
        ({"time": "yesterday"}, "outcome_time", "time"),
        ({"time": 5}, "outcome_time", "time"),
        ({"time": "2026-02-28T12:00"}, "outcome_time", "time"),
        ({"time": "2026-03-09"}, "outcome_future", "time"),
        ({"time": "0001-01-01T00:00+05:00"}, "outcome_time", "time"),
        ({"series": "S0"}, "outcome_series", "series"),
        ({"series": {"store_id": "S0"}}, "outcome_series", "series"),
        ({"series": ["S0", "item/1"]}, "outcome_series", "series"),
        ({"prediction_id": "none"}, "prediction_unknown", "prediction_id"),
        ({"id": ""}, "outcome_id", "id"),
        ({"id": "x" * 65}, "outcome_id", "id"),
        ({"valu": 3}, "field_unknown", "valu"),
    ],
)
def test_one_bad_outcome_refuses_all_with_its_place(world, change, code: str, field: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RequestError) as caught:
        tell(world, GOOD, GOOD | change)
    assert (caught.value.code, caught.value.path) == (code, f"outcomes[1].{field}")
    assert caught.value.hint
    assert stored(world) == []
