"""A request that is kept gives the same rows again, in whatever form it came."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from everloop.core.errors import IntegrityError, RequestError
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Column, Signature, Tensor
from everloop.serve.recording import decode_request, encode_request
from everloop.serve.v2.signature import RowsDecoder, compile_signature

NUMBERS = compile_signature(Signature(columns=(Column("a", "double"), Column("b", "long"))))
PEOPLE = compile_signature(
    Signature(
        columns=(
            Column("name", "string", required=False),
            Column("photo", "binary"),
            Column("since", "datetime"),
            Column("age", "long", required=False),
            Column("is_new", "boolean", required=False),
        )
    )
)
IMAGES = compile_signature(Signature(tensors=(Tensor("x", "float32", (-1, 2)),)))
PERSON = {
    "name": [None, "Ann"],
    "photo": ["/w==", ""],
    "since": ["2026-03-01", "1969-01-01T00:00:00.000001"],
    "age": [None, 3],
    "is_new": [True, None],
}


@pytest.mark.parametrize(
    ("decoder", "rows"),
    [
        (NUMBERS, Rows(2, matrix=np.array([[0.1, np.nan], [np.inf, -0.0]]))),
        (NUMBERS, Rows(1, matrix=np.array([[1e-300, 2.0]]))),
        (PEOPLE, PEOPLE.from_columns(PERSON, "inputs")),
        (IMAGES, Rows(1, tensors={"x": np.array([[0.1, -np.inf]], np.float32)})),
    ],
)
def test_a_record_gives_the_same_bits(decoder: RowsDecoder, rows: Rows) -> None:
    call = decode_request(encode_request(rows, {"p": 1}, ("prediction",)), "infer", decoder)
    assert (call.parameters, call.outputs) == ({"p": 1}, ("prediction",))
    assert call.rows.n == rows.n
    pairs: list[tuple[Any, Any]] = [(call.rows.matrix, rows.matrix)] if rows.matrix is not None else []
    pairs += [(call.rows.columns[name], array) for name, array in rows.columns.items()]
    pairs += [(call.rows.tensors[name], array) for name, array in rows.tensors.items()]
    assert pairs
    for again, array in pairs:
        assert (again.dtype, again.shape) == (array.dtype, array.shape)
        assert again.tolist() == array.tolist() if array.dtype == object else again.tobytes() == array.tobytes()


def test_bodies_are_read_by_their_doors() -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
    for kind, body in (("infer", {"inputs": [tensor]}), ("invocations", {"inputs": [[1, 2]]})):
        assert decode_request(json.dumps(body).encode(), kind, NUMBERS).rows.matrix.tolist() == [[1, 2]]  # type: ignore[union-attr]


def test_what_does_not_fit() -> None:
    kept = encode_request(Rows(1, matrix=np.zeros((1, 3))), {})
    for decoder in (NUMBERS, PEOPLE, IMAGES):
        with pytest.raises(RequestError):
            decode_request(kept, "infer", decoder)
    for content in (b'{"rows":', b'{"rows":{"n":1,"matrix":{"dtype":"?!","shape":[1],"data":[1]}}}'):
        with pytest.raises(IntegrityError):
            decode_request(content, "infer", NUMBERS)
