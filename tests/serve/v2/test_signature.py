"""A signature compiled: what fits becomes rows, what does not is refused by name; the short way equals the full one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.core.errors import RequestError
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Column, Output, Parameter, Signature, Tensor
from everloop.serve.v2.infer import decode_infer
from everloop.serve.v2.messages import read_message, read_tensors
from everloop.serve.v2.signature import RowsDecoder, compile_signature

NUMBERS = Signature(columns=tuple(Column(name, "double") for name in "abc"), outputs=(Output("prediction"),))
MIXED_NUMBERS = Signature(
    columns=(
        Column("a", "double"),
        Column("b", "long"),
        Column("c", "boolean"),
        Column("d", "integer", required=False),
        Column("e", "float"),
    )
)
PEOPLE = Signature(
    columns=(
        Column("age", "long"),
        Column("name", "string"),
        Column("since", "datetime"),
        Column("photo", "binary", required=False),
        Column("income", "double", required=False),
        Column("is_new", "boolean"),
        Column("visits", "integer", required=False),
    ),
    parameters=(Parameter("threshold", "double", 0.5), Parameter("tags", "string", ["x"])),
)


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def decoded(decoder: RowsDecoder, *inputs: dict[str, Any], **more: Any) -> Rows:
    return decode_infer(json.dumps({"inputs": inputs} | more).encode(), decoder).rows


def refusal(decoder: RowsDecoder, *inputs: dict[str, Any]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decoded(decoder, *inputs)
    assert caught.value.path
    return caught.value


def test_numbers_in_every_form_are_one_matrix() -> None:
    decoder = compile_signature(NUMBERS)
    expected = np.array([[1.0, 2.0, 3.0], [4.0, np.nan, 6.0]])
    flat = [1, 2, 3, 4, None, 6]
    forms = [
        [tensor("x", "FP64", [2, 3], flat)],
        [tensor("x", "FP32", [2, 3], flat)],
        [tensor("x", "FP64", [2, 3], [flat[:3], flat[3:]])],
        [tensor(name, "FP64", [2], flat[place::3]) for place, name in enumerate("abc")],
        [tensor(name, "FP64", [2, 1], flat[place::3]) for place, name in zip((2, 0, 1), "cab", strict=True)],
    ]
    for inputs in forms:
        rows = decoded(decoder, *inputs)
        assert rows.n == 2
        assert rows.matrix is not None
        np.testing.assert_array_equal(rows.matrix, expected)
        assert rows.matrix.dtype == np.float64
        assert rows.matrix.flags.c_contiguous
    columns = decoder.from_columns({"a": [1, 4], "c": [3, 6], "b": [2, None]}, "inputs")
    np.testing.assert_array_equal(columns.matrix, expected)  # type: ignore[arg-type]


def test_columns_of_all_types() -> None:
    rows = decoded(
        compile_signature(PEOPLE),
        tensor("age", "INT32", [2], [30, 40]),
        tensor("name", "BYTES", [2, 1], ["Ann", "Bo"]),
        tensor("since", "BYTES", [2], ["2026-03-01T08:00:00+02:00", "2026-03-01"]),
        tensor("photo", "BYTES", [2], ["/w==", ""]),
        tensor("is_new", "BOOL", [2], [True, False]),
    )
    columns = rows.columns
    assert rows.matrix is None
    assert columns["age"].dtype == np.int64
    assert columns["age"].tolist() == [30, 40]
    assert columns["name"].tolist() == ["Ann", "Bo"]
    assert columns["since"].tolist() == np.array(["2026-03-01T06:00", "2026-03-01"], "M8[us]").tolist()
    assert columns["photo"].tolist() == [b"\xff", b""]
    assert columns["is_new"].dtype == bool
    assert np.isnan(columns["income"]).all()
    assert columns["income"].dtype == columns["visits"].dtype == np.float64
    values = {"age": [3.0], "name": ["Ann"], "since": [1_772_323_200_000], "is_new": [True], "visits": [None]}
    row = compile_signature(PEOPLE).from_columns(values, "inputs").columns
    assert row["age"].tolist() == [3]
    assert row["since"].tolist() == np.array(["2026-03-01"], "M8[us]").tolist()


@pytest.mark.parametrize(
    ("name", "datatype", "data", "code"),
    [
        ("age", "FP64", [1.0], "column_type"),
        ("age", "BYTES", ["1"], "column_type"),
        ("age", "UINT64", [2**63], "column_value"),
        ("name", "INT64", [1], "column_type"),
        ("since", "BYTES", ["yesterday"], "column_value"),
        ("since", "INT64", [10**17], "column_value"),
        ("since", "FP64", [1.0], "column_type"),
        ("photo", "BYTES", ["?"], "column_value"),
        ("is_new", "INT64", [1], "column_type"),
        ("visits", "INT64", [2**31], "column_value"),
        ("income", "BYTES", ["1"], "column_type"),
        ("income", "BOOL", [True], "column_type"),
        ("incme", "FP64", [1.0], "column_unknown"),
    ],
)
def test_wrong_types_are_refused_by_name(name: str, datatype: str, data: list[Any], code: str) -> None:
    good = {
        "age": tensor("age", "INT64", [1], [1]),
        "name": tensor("name", "BYTES", [1], ["x"]),
        "since": tensor("since", "BYTES", [1], ["2026-01-01"]),
        "is_new": tensor("is_new", "BOOL", [1], [True]),
    }
    inputs = good | {name: tensor(name, datatype, [1], data)}
    error = refusal(compile_signature(PEOPLE), *inputs.values())
    assert error.code == code
    assert repr(name) in error.message
    if code == "column_unknown":
        assert "'income'" in error.hint


def test_values_of_other_types_are_refused() -> None:
    decoder = compile_signature(PEOPLE)
    good = {"age": [1], "name": ["x"], "since": ["2026-01-01"], "is_new": [True]}
    decoder.from_columns(good, "inputs")
    for name, values in [
        ("age", [1.5]), ("age", [None]), ("age", ["1"]), ("age", [True]), ("age", [2**63]), ("age", [[1]]),
        ("income", ["1"]), ("income", [True]), ("income", [10**400]), ("is_new", [1]), ("is_new", [None]),
        ("name", [1]), ("name", [None]), ("since", [None]), ("since", [1.5]), ("visits", [0.5]),
    ]:  # fmt: skip
        with pytest.raises(RequestError, match=name) as caught:
            decoder.from_columns(good | {name: values}, "inputs")
        assert caught.value.code == "column_value", (name, values)


def test_what_is_missing_or_of_another_size() -> None:
    decoder = compile_signature(NUMBERS, max_rows=3)
    a, b, c = (tensor(name, "FP64", [1], [1.0]) for name in "abc")
    assert refusal(decoder, a, b).message == "the column 'c' is missing"
    assert refusal(decoder).code == "column_missing"
    assert refusal(decoder, a, b, c, a).code == "input_twice"
    assert refusal(decoder, a, b, tensor("c", "FP64", [2], [1, 2])).code == "input_shape"
    assert refusal(decoder, a, b, tensor("c", "FP64", [1, 2], [1, 2])).code == "input_shape"
    assert refusal(decoder, tensor("x", "FP64", [1, 2], [1, 2])).code == "input_shape"
    assert refusal(decoder, tensor("x", "FP64", [0, 3], [])).code == "rows_empty"
    assert refusal(decoder, tensor("x", "FP64", [4, 3], [0.0] * 12)).code == "rows_many"
    assert refusal(compile_signature(PEOPLE), tensor("x", "FP64", [1, 7], [0.0] * 7)).code == "input_shape"


def test_whole_numbers_in_a_matrix_stay_whole() -> None:
    decoder = compile_signature(MIXED_NUMBERS)
    rows = decoded(decoder, tensor("x", "FP64", [1, 5], [0.5, 7, 1, None, 2.5]))
    np.testing.assert_array_equal(rows.matrix, [[0.5, 7, 1, np.nan, 2.5]])  # type: ignore[arg-type]
    for place, value in [(1, 1.5), (1, None), (2, 2), (3, 2**31), (4, 1e39)]:
        data: list[Any] = [0.5, 7, 1, None, 2.5]
        data[place] = value
        assert refusal(decoder, tensor("x", "FP64", [1, 5], data)).message.startswith(repr("abcde"[place]))


numbers = st.none() | st.integers(-5, 300) | st.sampled_from([0.5, 1.0, 2**31, -(2**63), 2**53 + 1, 1e39])
kinds = st.sampled_from(["FP64", "FP32", "INT8", "INT32", "INT64", "UINT64", "BOOL"])


@st.composite
def requests(draw: st.DrawFn) -> list[dict[str, Any]]:
    if draw(st.booleans()):
        shape = [draw(st.integers(0, 2)), draw(st.sampled_from([3, 5]))]
        count = shape[0] * shape[1]
        return [tensor("x", draw(kinds), shape, draw(st.lists(numbers, min_size=count, max_size=count)))]
    names = draw(st.permutations("abcde"))[: draw(st.sampled_from([3, 4, 5, 5]))]
    return [
        tensor(name, draw(kinds), draw(st.sampled_from([[1], [1, 1], [2]])), [draw(numbers)])
        for name in draw(st.sampled_from([names, sorted(names), "abc"]))
    ]


@given(requests(), st.sampled_from([NUMBERS, MIXED_NUMBERS]))
@settings(deadline=None)
def test_the_short_way_equals_the_full_one(inputs: list[dict[str, Any]], signature: Signature) -> None:
    decoder = compile_signature(signature)
    body = json.dumps({"inputs": inputs}).encode()
    try:
        full: Any = decoder.from_tensors(read_tensors(*read_message(body)))
    except RequestError as error:
        full = error
    try:
        short: Any = decode_infer(body, decoder).rows
    except RequestError as error:
        short = error
    assert type(short) is type(full), (short, full)
    if isinstance(full, Rows):
        np.testing.assert_array_equal(short.matrix, full.matrix)
    else:
        assert (short.code, short.message) == (full.code, full.message)


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        (
            [tensor("a", "INT64", [1], [0.5]), tensor("b", "FP64", [1], [1]), tensor("c", "FP64", [1], [1])],
            "input_data",
        ),
        ([tensor("a", "INT8", [1], [300]), tensor("b", "FP64", [1], [1]), tensor("c", "FP64", [1], [1])], "input_data"),
        (
            [tensor("a", "INT8", [1], [None]), tensor("b", "FP64", [1], [1]), tensor("c", "FP64", [1], [1])],
            "input_data",
        ),
        ([tensor("a", "FP64", [1], [1]), tensor("a", "FP64", [1], [1]), tensor("b", "FP64", [1], [1])], "input_twice"),
    ],
)
def test_the_short_way_lets_nothing_wrong_through(inputs: list[dict[str, Any]], code: str) -> None:
    assert refusal(compile_signature(NUMBERS), *inputs).code == code


def test_a_whole_number_may_be_written_with_a_point() -> None:
    for name, signature in (("a", NUMBERS), ("b", MIXED_NUMBERS)):
        values = [[tensor("x", "INT64", [1], [number])] for number in (3, 3.0)]
        single = compile_signature(Signature(columns=tuple(each for each in signature.columns if each.name == name)))
        first, second = (
            decoded(single, *inputs).matrix for inputs in [[each | {"name": name} for each in row] for row in values]
        )
        np.testing.assert_array_equal(first, second)  # type: ignore[arg-type]


def test_tensor_signatures() -> None:
    one = compile_signature(Signature(tensors=(Tensor("image", "float32", (-1, 2, 2)),)))
    rows = decoded(one, tensor("whatever", "FP32", [1, 2, 2], [[[1, 2], [3, 4]]]))
    assert rows.n == 1
    assert rows.tensors["image"].dtype == np.float32
    assert refusal(one, tensor("image", "FP64", [1, 2, 2], [1, 2, 3, 4])).code == "input_datatype"
    assert refusal(one, tensor("image", "FP32", [1, 4], [1, 2, 3, 4])).code == "input_shape"
    assert one.from_grid([[[1, 2], [3, 4]]], "inputs").tensors["image"].shape == (1, 2, 2)
    two = compile_signature(Signature(tensors=(Tensor("x", "float64", (-1, 2)), Tensor("t", "str", (-1,)))))
    x, t = tensor("x", "FP32", [1, 2], [1, 2]), tensor("t", "BYTES", [1], ["a"])
    assert decoded(two, x, t).tensors["t"].tolist() == ["a"]
    assert refusal(two, x).message == "the input 't' is missing"
    assert refusal(two, x, tensor("t", "BYTES", [2], ["a", "b"])).code == "input_shape"
    assert refusal(two, x, tensor("u", "BYTES", [1], ["a"])).code == "input_unknown"
    assert two.from_columns({"x": [[1, 2]], "t": ["a"]}, "inputs").n == 1
    with pytest.raises(RequestError, match="several"):
        two.from_grid([[1, 2]], "inputs")


def test_parameters() -> None:
    read = compile_signature(PEOPLE).parameters.read
    assert read({}, "params") == {"threshold": 0.5, "tags": ["x"]}
    assert read({"threshold": 1, "tags": ["a", "b"]}, "params") == {"threshold": 1.0, "tags": ["a", "b"]}
    for wrong in ({"threshold": "1"}, {"threshold": True}, {"threshold": 10**400}, {"tags": [1]}, {"treshold": 1}):
        with pytest.raises(RequestError) as caught:
            read(wrong, "params")
        assert caught.value.path == f"params.{next(iter(wrong))}"
    with pytest.raises(RequestError, match="no parameter"):
        compile_signature(NUMBERS).parameters.read({"a": 1}, "params")


def test_metadata() -> None:
    decoder = compile_signature(PEOPLE)
    assert decoder.inputs()[2] == {"name": "since", "datatype": "BYTES", "shape": [-1]}
    images = compile_signature(
        Signature(tensors=(Tensor("image", "uint8", (-1, 2)),), outputs=(Output("p", "float32", (3,)),))
    )
    assert images.inputs() == [{"name": "image", "datatype": "UINT8", "shape": [-1, 2]}]
    assert images.outputs() == [{"name": "p", "datatype": "FP32", "shape": [-1, 3]}]
    assert msgspec.json.encode(images.outputs())
