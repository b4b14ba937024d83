"""Outcomes of models of rows: checked, stored all or none, whichever comes first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adopting import project_at
from everloop.core.clock import ManualClock
from everloop.core.errors import RequestError
from everloop.serve.row_outcomes import ToldRows, tell_row_outcomes
from everloop.store.engine import Store, open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.row_outcomes import ONLY_ROW, RowOutcome, row_outcomes_after
from everloop.store.row_values import pack_rows

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
GOOD = {"prediction_id": "three", "row": 1, "value": 3}


def answer(identifier: str, rows: int) -> Prediction:
    packed = pack_rows({"prediction": np.arange(float(rows))})
    return Prediction(identifier, NOW, "a" * 64, "", "champion", "infer", None, NOW, NOW, b"{}", packed)


class Shop:
    """A project of a model of rows, whose store holds an answer of one row and one of three."""

    def __init__(self, root: Path, task: str) -> None:
        self.project = project_at(root, task=task)
        self.store: Store = open_store(f"sqlite:///{root / 'store.db'}", fsync=False)
        with self.store.write() as tx:
            add_predictions(tx, [answer("one", 1), answer("three", 3)])

    def tell(self, *entries: dict[str, Any]) -> ToldRows:
        return tell_row_outcomes(self.project, self.store, ManualClock(NOW), entries)

    def stored(self) -> list[RowOutcome]:
        with self.store.read() as tx:
            return row_outcomes_after(tx, 0)


@pytest.fixture(params=["regression", "classification"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, request.param)
    yield made
    made.store.close()


def test_a_value_is_stored_once_and_may_be_corrected(shop: Shop) -> None:
    assert shop.tell(GOOD, {"prediction_id": "one", "value": 2.5, "at": "2026-02-28T12:00:00+02:00"}) == ToldRows(2, 0)
    assert shop.tell(GOOD) == ToldRows(0, 1)
    assert shop.tell(GOOD | {"value": 4}) == ToldRows(1, 0)
    assert [(each.row, each.value, each.label) for each in shop.stored()] == [
        (1, 3, None),
        (0, 2.5, None),
        (1, 4, None),
    ]
    assert shop.stored()[1].at == datetime(2026, 2, 28, 10, tzinfo=UTC)


def test_an_outcome_before_its_answer_is_kept_and_said(shop: Shop) -> None:
    early = {"prediction_id": "late", "value": 1}
    assert shop.tell(early, early | {"row": 2}, GOOD) == ToldRows(3, 0, ("late",))
    assert [each.row for each in shop.stored()] == [ONLY_ROW, 2, 1]


@pytest.mark.parametrize("shop", ["classification"], indirect=True)
def test_a_label(shop: Shop) -> None:
    assert shop.tell({"prediction_id": "one", "label": "stays"}, GOOD | {"value": True}).stored == 2
    assert [(each.value, each.label) for each in shop.stored()] == [(None, "stays"), (1.0, None)]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"prediction_id": None}, "field", "prediction_id"),
        ({"prediction_id": ""}, "outcome_id", "prediction_id"),
        ({"prediction_id": "x" * 37}, "outcome_id", "prediction_id"),
        ({"prediction_id": "a\x00"}, "outcome_id", "prediction_id"),
        ({"prediction_id": 7}, "outcome_id", "prediction_id"),
        ({"row": None}, "outcome_row", "row"),
        ({"row": 3}, "outcome_row", "row"),
        ({"row": -1}, "outcome_row", "row"),
        ({"row": 1.0}, "outcome_row", "row"),
        ({"row": 2**31}, "outcome_row", "row"),
        ({"value": None}, "field", "value"),
        ({"label": "a"}, "field", "value"),
        ({"value": None, "label": 3}, "outcome_label", "label"),
        ({"value": None, "label": ""}, "outcome_label", "label"),
        ({"value": "3"}, "outcome_value", "value"),
        ({"value": float("inf")}, "outcome_value", "value"),
        ({"value": 10**400}, "outcome_value", "value"),
        ({"at": "yesterday"}, "outcome_time", "at"),
        ({"at": (NOW + timedelta(days=2)).isoformat()}, "outcome_future", "at"),
        ({"id": "x" * 65}, "outcome_id", "id"),
        ({"series": "a"}, "field_unknown", "series"),
    ],
)
def test_one_bad_outcome_refuses_all_with_its_place(shop: Shop, change: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        shop.tell(GOOD, {"prediction_id": "unknown", "value": 1}, GOOD | change)
    assert (caught.value.code, caught.value.path) == (code, f"outcomes[2].{field}")
    assert caught.value.hint
    assert shop.stored() == []


@pytest.mark.parametrize("shop", ["regression"], indirect=True)
@pytest.mark.parametrize(("change", "code"), [({"label": "a"}, "outcome_label"), ({"value": True}, "outcome_value")])
def test_a_regression_has_numbers_only(shop: Shop, change: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestError) as caught:
        shop.tell({"prediction_id": "one"} | change)
    assert caught.value.code == code
