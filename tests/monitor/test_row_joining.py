"""Answers of models of rows beside the truth, in whatever order both come."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from everloop.monitor.row_joining import RowTruth, join_rows
from everloop.store.engine import Store, open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.row_outcomes import ONLY_ROW, RowOutcome, add_row_outcomes
from everloop.store.row_values import pack_rows

NOW = datetime(2026, 3, 1, tzinfo=UTC)
A, B = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.db'}", fsync=False)
    yield opened
    opened.close()


def answer(
    name: str, outputs: Mapping[str, Any], *, release: str = A, role: str = "champion", twin: str | None = None
) -> Prediction:
    packed = pack_rows({key: np.asarray(values) for key, values in outputs.items()})
    about = (release, "", role, "infer", twin, NOW, NOW, b"{}", packed, f"unit of {twin or name}", None)
    return Prediction(name, NOW, *about)


def outcome(prediction: str, value: float | str, row: int = ONLY_ROW, *, hours: int = 1) -> RowOutcome:
    number, label = (None, value) if isinstance(value, str) else (value, None)
    return RowOutcome(NOW + timedelta(hours=hours), prediction, row, number, label, None, "test")


def keep(store: Store, *facts: Prediction | RowOutcome) -> None:
    for fact in facts:
        with store.write() as tx:
            if isinstance(fact, Prediction):
                add_predictions(tx, [fact])
            else:
                add_row_outcomes(tx, [fact])


def joined(store: Store, **options: Any) -> RowTruth:
    with store.read() as tx:
        return join_rows(tx, since=NOW - timedelta(days=1), **options)


def test_rows_meet_their_truth(store: Store) -> None:
    facts = [answer("one", {"prediction": [1.0]}), answer("two", {"prediction": [2.0, 3.0]})]
    keep(store, *facts, outcome("one", 4), outcome("two", 5, 1), outcome("two", 6, 1), outcome("gone", 1))
    found = joined(store)
    frame = found.frame
    assert frame.select("prediction_id", "row", "predicted", "value", "told").rows() == [
        ("one", 0, 1.0, 4.0, 1),
        ("two", 0, 2.0, None, 0),
        ("two", 1, 3.0, 6.0, 2),
    ]
    assert (found.waiting, found.unmatched, found.unfit) == (1, 1, 0)
    assert frame["unit"].to_list() == ["unit of one", "unit of two", "unit of two"]


def test_any_order_gives_the_same(tmp_path: Path) -> None:
    said = [answer("one", {"prediction": [1.0]}), answer("two", {"prediction": [2.0, 3.0]})]
    told = [outcome("one", 4), outcome("two", 5, 0), outcome("two", 6, 1), outcome("two", 9, 7)]
    found = []
    for seed in range(4):
        store = open_store(f"sqlite:///{tmp_path / f'{seed}.db'}", fsync=False)
        facts = [*said, *told]
        random.Random(seed).shuffle(facts)
        keep(store, *facts)
        found.append(joined(store))
        store.close()
    assert all(each.frame.equals(found[0].frame) for each in found)
    assert {each.unfit for each in found} == {1}


def test_a_shadow_is_judged_by_the_truth_of_the_answer_that_was_given(store: Store) -> None:
    shadow = answer("s", {"prediction": [7.0, 8.0]}, release=B, role="shadow", twin="two")
    alone = answer("x", {"prediction": [0.0]}, release=B, role="challenger")
    keep(store, answer("two", {"prediction": [2.0, 3.0]}), shadow, alone, outcome("two", 5, 1), outcome("x", 1))
    frame = joined(store).frame
    assert frame.filter(release=B, row=1)["value"].to_list() == [5.0]
    assert frame.filter(case="two", row=1).select("release", "predicted").sort("release").rows() == [(A, 3.0), (B, 8.0)]
    # and the other way round, where the challenger gave the answer
    keep(store, answer("y", {"prediction": [0.5]}, role="shadow", twin="x"))
    told = joined(store).frame.filter(case="x").select("release", "predicted", "value").sort("release")
    assert told.rows() == [(A, 0.5, 1.0), (B, 0.0, 1.0)]
    assert joined(store, releases=(B,)).frame["release"].unique().to_list() == [B]


def test_labels_and_scores(store: Store) -> None:
    outputs = {"label": np.array(["stays", "1"], dtype=object), "p": [[0.9, 0.1], [0.2, 0.8]]}
    numbers = {"prediction": np.array([True, False])}
    keep(store, answer("t", outputs), outcome("t", "goes", 0), outcome("t", 1, 1))
    keep(store, answer("n", numbers), outcome("n", "True", 0), outcome("n", "0", 1))
    frame = joined(store).frame.sort("prediction_id", "row")
    assert frame.select("predicted", "predicted_label", "scores", "value", "label").rows() == [
        (1.0, None, None, 1.0, "True"),
        (0.0, None, None, 0.0, "0"),
        (None, "stays", [0.9, 0.1], None, "goes"),
        (None, "1", [0.2, 0.8], 1.0, "1"),
    ]
    assert joined(store, output="p").frame["predicted"].to_list() == [None, None]
    assert joined(store, output="other").frame.height == 0


def test_inputs_stand_beside_the_rows(store: Store) -> None:
    keep(store, answer("a", {"prediction": [1.0, 2.0]}), answer("b", {"prediction": [3.0]}))

    def inputs(prediction: Prediction) -> dict[str, NDArray[Any]]:
        if prediction.id == "b":
            return {}
        return {"price": np.array([1, 2]), "shop": np.array(["n", None], dtype=object)}

    frame = joined(store, inputs=inputs).frame.sort("prediction_id", "row")
    assert frame.select("input.price", "input.shop").rows() == [(1.0, "n"), (2.0, None), (None, None)]


def test_an_empty_store(store: Store) -> None:
    empty = joined(store)
    assert (empty.frame.height, empty.waiting, empty.unmatched) == (0, 0, 0)
