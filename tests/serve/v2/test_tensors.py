"""Tensors come back as they were, or are refused with a reason; nothing is wrapped, cut or allocated for nothing."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from everloop.core.errors import RequestError
from everloop.serve.v2.datatypes import DATATYPES, datatype_of
from everloop.serve.v2.tensors import binary_of, from_binary, from_contents, from_json, json_of

shapes = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
NUMBERS = [name for name in DATATYPES if name not in ("BYTES", "BF16")]


def read(datatype: str, shape: list[int], data: str | bytes) -> NDArray[Any]:
    return from_json("x", datatype, shape, msgspec.Raw(data), "inputs[0]")


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, NDArray[Any]]:
    datatype = draw(st.sampled_from([*NUMBERS, "BYTES"]))
    shape = draw(shapes)
    if datatype == "BYTES":
        out = np.empty(shape, dtype=object)
        out.ravel()[:] = draw(st.lists(st.text(max_size=5), min_size=out.size, max_size=out.size))
        return datatype, out
    elements = {"allow_infinity": False} if DATATYPES[datatype].kind == "f" else None
    return datatype, draw(arrays.arrays(DATATYPES[datatype].dtype, shape, elements=elements))


@given(tensors(), st.booleans())
@settings(deadline=None)
def test_json_round_trip(tensor: tuple[str, NDArray[Any]], is_nested: bool) -> None:
    datatype, array = tensor
    data = msgspec.json.encode(json_of(array) if not is_nested else array.tolist())
    again = read(datatype, list(array.shape), data)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    np.testing.assert_array_equal(again, array)


@given(tensors())
@settings(deadline=None)
def test_binary_round_trip(tensor: tuple[str, NDArray[Any]]) -> None:
    datatype, array = tensor
    content = binary_of(array)
    again = from_binary("x", datatype, array.shape, memoryview(content), "inputs[0]")
    assert again.shape == array.shape
    if datatype == "BYTES":
        assert [each.decode() for each in again.ravel()] == array.ravel().tolist()
    else:
        assert again.tobytes() == array.tobytes()
    assert binary_of(again) == content


def test_another_clients_bytes_are_the_same() -> None:
    client = pytest.importorskip("tritonclient.utils", reason="tritonclient is not installed")
    texts = np.array(["", "grün", "a\x00b"], dtype=object)
    assert client.serialize_byte_tensor(texts).item() == binary_of(texts)


def test_brain_floats_are_as_another_library_writes_them() -> None:
    library = pytest.importorskip("ml_dtypes", reason="ml-dtypes is not installed")
    values = np.array([1.0, -2.5, 3.140625, 1e38, np.inf, np.nan], dtype=library.bfloat16)
    again = from_binary("x", "BF16", [6], memoryview(values.tobytes()), "x")
    np.testing.assert_array_equal(again, values.astype(np.float32))


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "code"),
    [
        ("INT8", [1], "[300]", "input_data"),
        ("INT8", [2], "[0, -129]", "input_data"),
        ("UINT64", [1], "[-1]", "input_data"),
        ("UINT64", [1], "[18446744073709551616]", "input_data"),
        ("INT64", [1], "[1.5]", "input_data"),
        ("INT64", [2], "[1, 1e30]", "input_data"),
        ("INT64", [1], "[null]", "input_data"),
        ("INT64", [1], "[true]", "input_data"),
        ("BOOL", [1], "[1]", "input_data"),
        ("BOOL", [1], "[null]", "input_data"),
        ("BYTES", [1], "[1]", "input_data"),
        ("BYTES", [1], "[null]", "input_data"),
        ("FP64", [1], '["1"]', "input_data"),
        ("FP64", [1], "[1e400]", "input_data"),
        ("FP32", [1], "[1e39]", "input_data"),
        ("FP16", [1], "[70000]", "input_data"),
        ("FP64", [1], "1", "input_data"),
        ("FP64", [1], "{}", "input_data"),
        ("FP64", [2], "[1]", "input_shape"),
        ("FP64", [2, 2], "[[1, 2], [3]]", "input_shape"),
        ("FP64", [2, 2], "[[1, 2, 3], [4]]", "input_shape"),
        ("FP64", [-1], "[1]", "input_shape"),
        ("FP64", [1] * 9, "[1]", "input_shape"),
        ("FP64", [0, 2**40], "[]", "input_shape"),
        ("BF16", [1], "[1]", "input_datatype"),
        ("FP63", [1], "[1]", "input_datatype"),
    ],
)
def test_refused(datatype: str, shape: list[int], data: str, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(datatype, shape, data)
    assert caught.value.code == code
    assert caught.value.hint
    assert caught.value.path.startswith("inputs[0]")


def test_null_is_a_missing_float() -> None:
    np.testing.assert_array_equal(read("FP32", [2], "[null, 0.5]"), np.array([np.nan, 0.5], np.float32))


def test_a_huge_shape_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        for refuse in (
            lambda: read("FP64", [1_000_000, 1_000], "[1]"),
            lambda: read("FP64", [1_000_000, 1_000], "[[1], [2]]"),
            lambda: from_binary("x", "FP64", [1_000_000, 1_000], memoryview(b"12345678"), "x"),
            lambda: from_binary("x", "BYTES", [1_000_000_000], memoryview(b"\x00" * 8), "x"),
            lambda: from_binary("x", "BYTES", [1], memoryview(b"\xff\xff\xff\x7f"), "x"),
            lambda: from_contents("x", "INT8", [10**9], [1], "x"),
        ):
            with pytest.raises(RequestError):
                refuse()
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=2))


@given(st.sampled_from([*DATATYPES, "x"]), st.lists(st.integers(-2, 4) | st.integers(), max_size=4), trees)
@settings(deadline=None)
def test_any_json_is_a_tensor_or_refused(datatype: str, shape: list[int], tree: Any) -> None:
    try:
        array = read(datatype, shape, json.dumps(tree))
    except RequestError:
        return
    assert list(array.shape) == shape


@given(st.sampled_from(list(DATATYPES)), st.lists(st.integers(0, 4), max_size=3), st.binary(max_size=64))
@settings(deadline=None)
def test_any_bytes_are_a_tensor_or_refused(datatype: str, shape: list[int], content: bytes) -> None:
    try:
        array = from_binary("x", datatype, shape, memoryview(content), "x")
    except RequestError:
        return
    assert list(array.shape) == shape
    if datatype != "BF16":
        assert binary_of(array) == content


@pytest.mark.parametrize(
    "content", [b"\x01\x00\x00\x00ab", b"\x01\x00\x00\x00", b"\x01\x00\x00", b"", b"\x02\x00\x00\x00a"]
)
def test_texts_must_fill_their_bytes(content: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        from_binary("x", "BYTES", [1], memoryview(content), "x")
    assert caught.value.code == "input_size"


def test_outputs_that_are_no_numbers() -> None:
    assert json_of(np.array([b"\xff", "a", None], dtype=object)) == ["/w==", "a", None]
    assert json_of(np.array(["2026-03-01T06:00", "NaT"], "M8[us]")) == ["2026-03-01T06:00:00.000000Z", None]
    assert datatype_of(np.array(["2026"], "M8[us]").dtype) == datatype_of("U3") == "BYTES"
    assert msgspec.json.encode(json_of(np.array([np.nan, np.inf]))) == b"[null,null]"
