"""Requests and answers as bytes: what another client writes is read, what is written another client reads."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.core.errors import RequestError
from everloop.models.tabular.signature import Column, Output, Parameter, Signature
from everloop.serve.v2.infer import InferCall, decode_infer, encode_infer, parse_header_length
from everloop.serve.v2.signature import compile_signature

SIGNATURE = Signature(
    columns=tuple(Column(name, "double") for name in "abc"),
    outputs=(Output("prediction"), Output("label", "object")),
    parameters=(Parameter("threshold", "double", 0.5),),
)
DECODER = compile_signature(SIGNATURE)
MATRIX = {"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3]}
OUTPUTS = {"prediction": np.array([1.5, np.nan]), "label": np.array(["a", "grün"], dtype=object)}


def call(**fields: Any) -> InferCall:
    return decode_infer(json.dumps({"inputs": [MATRIX]} | fields).encode(), DECODER)


def split(reply: tuple[bytes, bytes]) -> tuple[dict[str, str], bytes]:
    lines, body = reply
    assert lines.endswith(b"\r\n")
    return dict(line.split(": ", 1) for line in lines.decode().split("\r\n") if line), body  # type: ignore[misc]


def test_a_plain_call() -> None:
    plain = call()
    assert plain.id is None
    assert plain.parameters == {"threshold": 0.5}
    assert (plain.outputs, plain.is_binary, plain.binary) == ((), False, {})
    wanted = call(
        id="7",
        parameters={"threshold": 1, "binary_data_output": True, "timeout": 5},
        outputs=[{"name": "label", "parameters": {"binary_data": False}}, {"name": "prediction"}],
    )
    assert wanted.id == "7"
    assert wanted.parameters == {"threshold": 1.0}
    assert (wanted.outputs, wanted.is_binary, wanted.binary) == (("label", "prediction"), True, {"label": False})


def test_the_answer_in_json() -> None:
    headers, body = split(encode_infer(call(id="7"), OUTPUTS, "demand", "abc", "P1", notes=("rounded",)))
    assert headers == {"content-type": "application/json"}
    assert json.loads(body) == {
        "model_name": "demand",
        "model_version": "abc",
        "id": "7",
        "parameters": {"prediction_id": "P1", "notes": ["rounded"]},
        "outputs": [
            {"name": "prediction", "datatype": "FP64", "shape": [2], "data": [1.5, None]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["a", "grün"]},
        ],
    }


def test_the_answer_in_bytes() -> None:
    wanted = call(parameters={"binary_data_output": True}, outputs=[{"name": "label"}, {"name": "prediction"}])
    headers, body = split(encode_infer(wanted, OUTPUTS, "demand", "abc", "P1"))
    length = int(headers["inference-header-content-length"])
    assert headers["content-type"] == "application/octet-stream"
    tensors = json.loads(body[:length])["outputs"]
    assert [each["name"] for each in tensors] == ["label", "prediction"]
    assert body[length:] == b"\x01\x00\x00\x00a\x05\x00\x00\x00gr\xc3\xbcn" + OUTPUTS["prediction"].tobytes()
    assert [each["parameters"]["binary_data_size"] for each in tensors] == [14, 16]


def test_another_client_writes_and_reads() -> None:
    http = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
    values = np.array([[1.0, np.nan, 3.0]])
    matrix = http.InferInput("x", [1, 3], "FP64").set_data_from_numpy(values)
    outputs = [http.InferRequestedOutput("label", binary_data=False), http.InferRequestedOutput("prediction")]
    body, length = http.InferenceServerClient.generate_request_body([matrix], outputs=outputs, request_id="7")
    read = decode_infer(body, DECODER, length)
    np.testing.assert_array_equal(read.rows.matrix, values)  # type: ignore[arg-type]
    headers, answer = split(encode_infer(read, OUTPUTS, "demand", "abc", "P1"))
    length = int(headers["inference-header-content-length"])
    result = http.InferenceServerClient.parse_response_body(answer, header_length=length)
    np.testing.assert_array_equal(result.as_numpy("prediction"), OUTPUTS["prediction"])
    assert result.as_numpy("label").tolist() == ["a", "grün"]
    assert result.get_response()["id"] == "7"


def test_binary_data_that_do_not_add_up() -> None:
    def refused(size: Any, content: bytes, *, length: int | None = -1) -> str:
        tensor = {"name": "x", "shape": [1, 3], "datatype": "FP64", "parameters": {"binary_data_size": size}}
        head = json.dumps({"inputs": [tensor]}).encode()
        with pytest.raises(RequestError) as caught:
            decode_infer(head + content, DECODER, len(head) if length == -1 else length)
        return caught.value.code

    assert refused(24, bytes(23)) == "input_size"
    assert refused(23, bytes(23)) == "input_size"
    assert refused(24, bytes(25)) == "input_size"
    assert refused(-1, b"") == "field"
    assert refused(True, b"") == "field"
    assert refused("24", bytes(24)) == "field"
    assert refused(24, bytes(24), length=10**6) == "header_length"
    assert refused(24, bytes(24), length=None) == "json"
    with pytest.raises(RequestError, match="either"):
        decode_infer(b'{"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP64"}]}', DECODER)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "x", "9" * 30, "٣"])
def test_a_header_length_that_is_none(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_header_length(text)
    assert caught.value.code == "header_length"


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"outputs": [{"name": "predicton"}]}, "output_unknown", "outputs[0]"),
        ({"outputs": [{"name": "label", "parameters": {"classification": 3}}]}, "output_parameter", "outputs[0]"),
        ({"outputs": [{"name": "label", "parameters": {"binary_data": 1}}]}, "field", "outputs[0]"),
        ({"parameters": {"binary_data_output": "yes"}}, "field", "parameters.binary_data_output"),
        ({"parameters": {"treshold": 1}}, "field_unknown", "parameters.treshold"),
        ({"parametres": {}}, "field_unknown", "parametres"),
        ({"inputs": {}}, "field", "inputs"),
    ],
)
def test_refused(fields: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(RequestError) as caught:
        call(**fields)
    assert caught.value.code == code
    assert caught.value.path.startswith(path)


leaves = st.none() | st.booleans() | st.integers(-3, 4) | st.floats(allow_nan=False) | st.sampled_from(["FP64", "a"])
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2))


def nearly(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={name: right | trees for name, right in fields.items()})


tensors = nearly(
    {
        "name": st.sampled_from(["a", "b", "c", "x"]),
        "shape": st.lists(st.integers(0, 3), max_size=3),
        "datatype": st.sampled_from(["FP64", "INT8", "BYTES", "BOOL", "BF16"]),
        "data": st.lists(leaves, max_size=4),
        "parameters": nearly({"binary_data_size": st.integers(-1, 30)}),
    }
)
bodies = nearly(
    {"inputs": st.lists(tensors, max_size=3), "outputs": trees, "parameters": trees, "id": st.text(max_size=3)}
)


@given(bodies, st.binary(max_size=30), st.none() | st.integers(-5, 5))
@settings(deadline=None)
def test_any_body_is_read_or_refused(body: Any, binary: bytes, off: int | None) -> None:
    head = json.dumps(body).encode()
    length = None if off is None else max(0, len(head) + off)
    try:
        read = decode_infer(head + binary, DECODER, length)
    except RequestError:
        return
    assert read.rows.matrix is not None
    assert read.rows.matrix.shape == (read.rows.n, 3)


@given(st.binary(max_size=80), st.none() | st.integers(0, 100))
@settings(deadline=None)
def test_any_bytes_are_refused(content: bytes, length: int | None) -> None:
    with pytest.raises(RequestError):
        decode_infer(content, DECODER, length)


def test_deep_nesting_is_refused() -> None:
    for body in (b"[" * 100_000, b'{"inputs":' + b"[" * 100_000, b'{"parameters":' + b'{"a":' * 100_000):
        with pytest.raises(RequestError):
            decode_infer(body, DECODER)
