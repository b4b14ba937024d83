"""MLflow's scoring protocol: its forms are rows as MLflow itself reads them, or refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.core.errors import RequestError
from everloop.models.tabular.signature import Column, Output, Parameter, Signature, Tensor
from everloop.serve.invocations.decode import decode_invocations, encode_invocations
from everloop.serve.v2.signature import compile_signature

NUMBERS = Signature(columns=(Column("a", "double"), Column("b", "double")), outputs=(Output("prediction"),))
PEOPLE = Signature(
    columns=(
        Column("age", "long"),
        Column("name", "string"),
        Column("since", "datetime"),
        Column("is_new", "boolean", required=False),
        Column("income", "float", required=False),
    ),
    parameters=(Parameter("threshold", "double", 0.5),),
)
ROWS = [[1.5, 2.0], [None, 4.0]]
FORMS: list[dict[str, Any]] = [
    {"dataframe_split": {"columns": ["a", "b"], "data": ROWS}},
    {"dataframe_split": {"columns": ["b", "a"], "data": [[2, 1.5], [4, None]], "index": [7, 8]}},
    {"dataframe_records": [{"a": 1.5, "b": 2}, {"b": 4}]},
    {"instances": [{"a": 1.5, "b": 2}, {"a": None, "b": 4}]},
    {"instances": ROWS},
    {"inputs": ROWS},
    {"inputs": {"a": [1.5, None], "b": [2, 4]}},
    {"inputs": [{"b": 2, "a": 1.5}, {"b": 4}]},
]


def read(signature: Signature, body: Any, content_type: str = "application/json") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_invocations(content, compile_signature(signature), content_type)


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_the_same_rows(form: dict[str, Any]) -> None:
    np.testing.assert_array_equal(read(NUMBERS, form).rows.matrix, [[1.5, 2], [np.nan, 4]])


@pytest.mark.parametrize("text", ["a,b\n1.5,2\n,4\n", "b,a\r\n2,1.5\r\n4,NaN", '\ufeff"a","b"\n 1.5 ,2e0\n"","4"\n\n'])
def test_csv(text: str) -> None:
    rows = read(NUMBERS, text.encode(), "text/csv; charset=utf-8").rows
    np.testing.assert_array_equal(rows.matrix, [[1.5, 2], [np.nan, 4]])


def test_csv_of_all_types() -> None:
    text = "age,name,since,is_new,income\n30,Ann,2026-03-01,true,2.5\n40,,2026-03-01T06:00Z,,\n"
    columns = read(PEOPLE, text.encode().replace(b"40,,", b"40,12,"), "text/csv").rows.columns
    assert columns["age"].tolist() == [30, 40]
    assert columns["name"].tolist() == ["Ann", "12"]
    assert columns["is_new"].tolist() == [True, None]
    assert columns["since"].tolist() == np.array(["2026-03-01", "2026-03-01T06:00"], "M8[us]").tolist()
    with pytest.raises(RequestError, match="'name'"):
        read(PEOPLE, text.encode(), "text/csv")


@pytest.mark.filterwarnings("ignore::UserWarning:mlflow")
def test_forms_are_read_as_mlflow_reads_them() -> None:
    """The oracle is MLflow's own parsing and enforcement."""
    pd = pytest.importorskip("pandas")
    from mlflow.models.utils import _enforce_schema
    from mlflow.pyfunc.scoring_server import infer_and_parse_data
    from mlflow.types import ColSpec, Schema

    schema = Schema(
        [
            ColSpec("long", "age"), ColSpec("string", "name"), ColSpec("datetime", "since"),
            ColSpec("boolean", "is_new", required=False), ColSpec("float", "income", required=False),
        ]
    )  # fmt: skip
    rows: list[list[Any]] = [[30, "Ann", "2026-03-01T00:00:00", True, 1.5], [40, "Bo", "2026-03-01T06:30:00", False, 7]]
    names = ["age", "name", "since", "is_new", "income"]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    for form in ({"dataframe_split": {"columns": names, "data": rows}}, {"dataframe_records": records}):
        ours = read(PEOPLE, form).rows.columns
        theirs = _enforce_schema(infer_and_parse_data(form, schema), schema)
        for name in names:
            expected = theirs[name]
            if name == "since":
                assert ours[name].tolist() == [each.to_pydatetime() for each in expected]
            else:
                assert ours[name].tolist() == expected.tolist()
        assert isinstance(theirs, pd.DataFrame)


def test_parameters() -> None:
    good = {"inputs": {"age": [1], "name": ["x"], "since": ["2026-01-01"]}}
    assert read(PEOPLE, good).parameters == {"threshold": 0.5}
    assert read(PEOPLE, good | {"params": {"threshold": 1}}).parameters == {"threshold": 1.0}
    assert read(NUMBERS, {"inputs": ROWS, "params": {}}).parameters == {}
    for params in ({"treshold": 1}, {"threshold": "high"}):
        with pytest.raises(RequestError):
            read(PEOPLE, good | {"params": params})


def test_one_column_and_one_row() -> None:
    single = Signature(columns=(Column("a", "double"),))
    assert read(single, {"inputs": [1, 2]}).rows.matrix.tolist() == [[1], [2]]
    assert read(NUMBERS, {"inputs": {"a": 1, "b": 2}}).rows.matrix.tolist() == [[1, 2]]


def test_tensors() -> None:
    signature = Signature(tensors=(Tensor("x", "float32", (-1, 2)),))
    for form in (
        {"inputs": [[1, 2]]},
        {"instances": [[1, 2]]},
        {"inputs": {"x": [[1, 2]]}},
        {"instances": [{"x": [1, 2]}]},
    ):
        tensor = read(signature, form).rows.tensors["x"]
        assert tensor.tolist() == [[1, 2]]
        assert tensor.dtype == np.float32
    with pytest.raises(RequestError, match="CSV"):
        read(signature, b"x\n1\n", "text/csv")


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ({}, "field", ""),
        ({"inputs": ROWS, "instances": ROWS}, "field", ""),
        ({"input": ROWS}, "field_unknown", "input"),
        ({"inputs": []}, "rows_empty", "inputs"),
        ({"inputs": [[1, 2, 3]]}, "columns", "inputs[0]"),
        ({"inputs": [[1, 2], 3]}, "columns", "inputs[1]"),
        ({"inputs": [[1, "2"]]}, "column_value", "inputs"),
        ({"inputs": [[1, True]]}, "column_value", "inputs"),
        ({"inputs": {"a": [1]}}, "column_missing", "inputs"),
        ({"inputs": {"a": [1], "b": [1, 2]}}, "input_shape", "inputs"),
        ({"inputs": {"a": [1], "b": 2}}, "columns", "inputs"),
        ({"inputs": {"a": [1], "b": [2], "c": [3]}}, "column_unknown", "inputs"),
        ({"instances": [{"a": 1}, 2]}, "columns", "instances[1]"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": ROWS}}, "columns", "dataframe_split.data"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}, "columns", "dataframe_split.data[0]"),
        (b"{", "json", ""),
    ],
)
def test_refused(body: Any, code: str, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(NUMBERS, body)
    assert caught.value.code == code
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "rows_empty"),
        (b"a,b\n", "rows_empty"),
        (b"a,a\n1,2\n", "columns"),
        (b"a,b\n1\n", "columns"),
        (b"a,b\n1,x\n", "column_value"),
        (b"a,b\n1,1_000\n", "column_value"),
        (b"a,b\n1,%s\n" % (b"9" * 5000), "column_value"),
        (b'a,b\n"1,2\n', "csv"),
        (b"a,b\n\xff,2\n", "csv"),
        (b"a,b\n%s,2\n" % (b"1" * 200_000), "csv"),
    ],
)
def test_refused_csv(content: bytes, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(NUMBERS, content, "text/csv")
    assert caught.value.code == code


leaves = st.none() | st.booleans() | st.integers(-3, 4) | st.floats(allow_nan=False) | st.sampled_from(["a", "b", "x"])
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "x"]), inner)
)
forms = st.dictionaries(
    st.sampled_from(["inputs", "instances", "dataframe_records"]), trees, max_size=2
) | st.fixed_dictionaries({"dataframe_split": st.fixed_dictionaries({"columns": trees, "data": trees})})


@given(forms | trees, st.sampled_from([NUMBERS, PEOPLE, Signature(tensors=(Tensor("a", "float64", (-1, 2)),))]))
@settings(deadline=None)
def test_any_body_is_read_or_refused(body: Any, signature: Signature) -> None:
    try:
        rows = read(signature, body).rows
    except RequestError:
        return
    assert rows.n > 0


@given(st.text(alphabet='ab,"\n\r1.\x00', max_size=30))
@settings(deadline=None)
def test_any_csv_is_read_or_refused(text: str) -> None:
    try:
        rows = read(NUMBERS, text.encode(), "text/csv").rows
    except RequestError:
        return
    assert rows.matrix.shape[1] == 2


def test_the_answer() -> None:
    def predictions(**outputs: Any) -> Any:
        tree = json.loads(encode_invocations(outputs, prediction_id="P", release="R"))
        assert (tree["prediction_id"], tree["release"]) == ("P", "R")
        return tree["predictions"]

    assert predictions(p=np.array([1.5, np.nan])) == [1.5, None]
    assert predictions(p=np.array([[0.25, 0.75]])) == [[0.25, 0.75]]
    assert predictions(p=np.array(["a", b"\xff"], dtype=object)) == ["a", "/w=="]
    assert predictions(label=np.array([1, 2]), p=np.array([0.5, 0.25])) == [
        {"label": 1, "p": 0.5},
        {"label": 2, "p": 0.25},
    ]
