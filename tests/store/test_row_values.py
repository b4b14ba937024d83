"""Outputs of models of rows, packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from everloop.core.errors import IntegrityError
from everloop.store.row_values import are_row_values, pack_rows, unpack_rows
from everloop.store.values import ForecastValues

DTYPES = st.sampled_from([np.float64, np.float32, np.int64, np.uint8, np.bool_])


@given(
    st.dictionaries(st.text(max_size=5), DTYPES.flatmap(lambda d: arrays.arrays(d, arrays.array_shapes(max_dims=3))))
)
def test_packing_keeps_every_bit(outputs: dict[str, Any]) -> None:
    again = unpack_rows(pack_rows(outputs))
    assert list(again) == list(outputs)
    for name, values in outputs.items():
        assert again[name].dtype == values.dtype
        assert again[name].shape == values.shape
        assert again[name].tobytes() == values.tobytes()


def test_texts_and_large_answers() -> None:
    outputs = {"label": np.array(["a", "ü", None], dtype=object), "p": np.arange(30_000.0).reshape(3, -1)}
    stored = pack_rows(outputs)
    again = unpack_rows(stored)
    assert again["label"].tolist() == ["a", "ü", None]
    assert np.array_equal(again["p"], outputs["p"])
    assert len(stored) < outputs["p"].nbytes
    assert are_row_values(stored)
    assert not are_row_values(ForecastValues(("a",), np.array([0]), np.array([[1.0]])).pack())


@pytest.mark.parametrize("stored", [b"", b"\x02", b"\x03abc", b"\x02\x01", pack_rows({"p": np.arange(3.0)})[:-3]])
def test_what_is_no_packed_answer_is_said(stored: bytes) -> None:
    with pytest.raises(IntegrityError):
        unpack_rows(stored)
