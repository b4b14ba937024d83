"""gRPC's inference messages to decoded tensors, and replies to messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from numpy.typing import NDArray

from everloop.core.errors import RequestError
from everloop.serve.v2.core import Question, Reply
from everloop.serve.v2.datatypes import datatype_of, find_datatype
from everloop.serve.v2.grpc_messages import grpc_messages
from everloop.serve.v2.messages import InferOutput, InputTensor, read_wishes
from everloop.serve.v2.tensors import binary_of, from_binary, from_contents, texts_of

__all__ = ["question_of", "response_of"]

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}  # fmt: skip


def question_of(request: Any) -> Question:
    """The question that a ``ModelInferRequest`` asks.

    Raises:
        RequestError: a tensor is not what it says, is given twice, or has no data.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise RequestError(
            "input_size",
            f"{len(raw)} raw contents are given for {len(request.inputs)} inputs",
            hint="one for each input, in their order; or contents in each input, and no raw ones",
            path="raw_input_contents",
        )
    tensors: list[InputTensor] = []
    names: set[str] = set()
    for place, each in enumerate(request.inputs):
        path = f"inputs[{place}]"
        name = each.name[:200]
        if each.name in names:
            raise RequestError("input_twice", f"{name!r} is given twice", hint="give it once", path=path)
        names.add(each.name)
        if raw:
            array = from_binary(name, each.datatype, tuple(each.shape), memoryview(raw[place]), path)
        else:
            array = _from_contents(each, name, path)
        tensors.append(InputTensor(each.name, each.datatype, array, path))
    outputs = [InferOutput(each.name, _parameters(each.parameters)) for each in request.outputs]
    wishes = read_wishes(_parameters(request.parameters), outputs)
    return Question(request.model_name, request.model_version or None, tensors, wishes)


def _from_contents(tensor: Any, name: str, path: str) -> NDArray[Any]:
    kind = find_datatype(tensor.datatype, path)
    field = _CONTENTS.get(kind.name)
    if field is None:
        raise RequestError(
            "input_datatype",
            f"{name!r}: {kind.name} goes in raw_input_contents only",
            hint="send it raw, or as FP32",
            path=f"{path}.datatype",
        )
    elements = getattr(tensor.contents, field)
    return from_contents(name, kind.name, tuple(tensor.shape), elements, f"{path}.contents.{field}")


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as plain values; one that says nothing is left out."""
    out = {}
    for name, parameter in given.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            out[name] = getattr(parameter, choice)
    return out


def response_of(request: Any, reply: Reply) -> Any:
    """The ``ModelInferResponse`` of a reply: raw where the request was, or where no typed contents can hold it."""
    messages = grpc_messages()
    datatypes = {name: datatype_of(array.dtype) for name, array in reply.outputs.items()}
    is_raw = bool(request.raw_input_contents) or any(each not in _CONTENTS for each in datatypes.values())
    response = messages.ModelInferResponse(model_name=reply.model, model_version=reply.version, id=request.id)
    for name, value in reply.parameters.items():
        _set(response.parameters[name], value)
    for name, array in reply.outputs.items():
        output = response.outputs.add(name=name, datatype=datatypes[name], shape=array.shape)
        if is_raw:
            response.raw_output_contents.append(binary_of(array))
        else:
            getattr(output.contents, _CONTENTS[datatypes[name]]).extend(_elements(array))
    return response


def _elements(array: NDArray[Any]) -> list[Any]:
    flat = array.ravel()
    if flat.dtype.kind not in "OSUM":
        return list(flat.tolist())
    values = texts_of(flat) if flat.dtype.kind == "M" else flat.tolist()
    return [each if isinstance(each, bytes) else str(each or "").encode() for each in values]


def _set(parameter: Any, value: Any) -> None:
    """A parameter of its kind; what gRPC has no kind for is JSON."""
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    elif isinstance(value, str):
        parameter.string_param = value
    else:
        parameter.string_param = msgspec.json.encode(value).decode()
