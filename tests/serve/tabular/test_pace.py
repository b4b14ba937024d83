"""How fast a model is, and whether batches are for it, is measured when it is loaded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from everloop.core.errors import ModelError
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Column, Output, Signature, Tensor
from everloop.serve.tabular.served import ServedRows, made_up_rows, measure_pace
from serve.tabular.toys import Doubler

ROWS = Rows(3, np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))


def test_a_model_with_a_fixed_cost_is_asked_in_batches() -> None:
    pace = measure_pace(Doubler(cost=0.002), ROWS, is_real=True)
    assert pace.batch == 64
    assert pace.row_seconds < pace.call_seconds / 20
    assert pace.seconds(1) == pace.call_seconds


def test_a_batch_that_gives_other_bits_is_never_made() -> None:
    pace = measure_pace(Doubler(cost=0.002, error=1e-15), ROWS, is_real=True)
    assert pace.batch == 1
    assert "other bits" in pace.note
    assert measure_pace(Doubler(cost=0.002, is_exact_in_batch=False), ROWS, is_real=True).batch == 1


def test_a_model_that_fails_on_its_own_example_is_not_served() -> None:
    bad = Rows(1, np.array([[13.0, 0.0]]))
    with pytest.raises(ModelError, match="thirteen") as caught:
        measure_pace(Doubler(), bad, is_real=True)
    assert caught.value.code == "model_warm"
    assert "not measured" in measure_pace(Doubler(), bad, is_real=False).note


def test_rows_are_made_up_for_every_type() -> None:
    types = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
    columns = tuple(Column(kind, kind) for kind in types)
    mixed = made_up_rows(Signature(columns=columns, outputs=(Output("y"),)))
    assert list(mixed.columns) == list(types)
    assert made_up_rows(Signature(columns=columns[:5])).matrix is not None
    tensors = made_up_rows(Signature(tensors=(Tensor("x", "float32", (-1, -1, 4)),)))
    assert tensors.tensors["x"].shape == (8, 1, 4)


def test_the_unit_of_rows_is_a_text() -> None:
    signature = Signature(columns=(Column("store", "long"), Column("x", "double")), outputs=(Output("y"),))
    release: Any = SimpleNamespace(digest="d" * 64, manifest=SimpleNamespace(flavor="lightgbm"))
    model: Any = Doubler()
    model.signature = signature
    served = ServedRows.of(release, model)
    rows = Rows(2, np.array([[5.0, 0.25], [6.0, 1.0]]))
    assert [served.unit_of(rows, name) for name in ("store", "x", "header")] == ["5", "0.25", None]
    assert served.unit_of(Rows(0, np.empty((0, 2))), "store") is None
    texts = Rows(1, columns={"user": np.array(["ann"], dtype=object), "gone": np.array([None], dtype=object)})
    assert [served.unit_of(texts, name) for name in ("user", "gone", "other")] == ["ann", None, None]


def test_a_model_that_became_faster_is_measured_again() -> None:
    class Sloth(Doubler):
        def hasten(self, examples: Rows | None) -> str:
            assert examples is ROWS
            self._cost = 0.0
            return "rested"

    release: Any = SimpleNamespace(digest="d" * 64, manifest=SimpleNamespace(flavor="lightgbm"))
    served = ServedRows.of(release, Sloth(cost=0.004), ROWS)
    before = served.pace
    assert served.way == ""
    served.hasten(ROWS)
    assert served.way == "rested"
    assert served.pace.call_seconds < before.call_seconds
    plain = ServedRows.of(release, Doubler(), ROWS)
    pace = plain.pace
    plain.hasten(ROWS)
    assert (plain.way, plain.pace) == ("", pace)
