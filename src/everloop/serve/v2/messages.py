"""The protocol's inference request as records, with its tensors decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from numpy.typing import NDArray

from everloop.core.errors import RequestError
from everloop.serve.bodies import decode
from everloop.serve.v2.tensors import from_binary, from_json

__all__ = [
    "InferBody",
    "InferInput",
    "InferOutput",
    "InputTensor",
    "Wishes",
    "parse_header_length",
    "read_message",
    "read_tensors",
    "read_wishes",
]


class InferInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input tensor; ``data`` is flat in row order, or nested, or left out where it follows as binary data."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] = {}


class InferOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inference request; some clients repeat what the path says, the model and its version."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[InferOutput] | None = None
    model_name: str | None = None
    model_version: str | None = None


@dataclass(frozen=True, slots=True)
class InputTensor:
    """A decoded input tensor.

    Attributes:
        name: its name.
        datatype: the protocol's datatype that it was sent as.
        array: its elements in its shape.
        path: where it stands in the request.
        is_text: whether elements of BYTES came as texts, as in JSON, rather than as bytes.
    """

    name: str
    datatype: str
    array: NDArray[Any]
    path: str
    is_text: bool = False


class Wishes(msgspec.Struct, frozen=True):
    """What a caller wants beside the answer itself.

    Attributes:
        outputs: the names of the outputs wanted, in order; all of them where it is empty.
        binary: outputs by name that were asked for in a form of their own, and whether that is binary.
        is_binary: the form of all others.
        parameters: the request's parameters that are the model's own business.
    """

    outputs: tuple[str, ...] = ()
    binary: dict[str, bool] = {}
    is_binary: bool = False
    parameters: dict[str, Any] = {}


_INFER = msgspec.json.Decoder(InferBody)
_TRANSPORT = ("timeout", "priority")  # sent by clients on their own; the server has its own bounds


def parse_header_length(text: str) -> int:
    """The value of the header ``Inference-Header-Content-Length``.

    Raises:
        RequestError: it is no number.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise RequestError(
            "header_length",
            f"expected a number of bytes, got {text[:40]!r}",
            hint="Inference-Header-Content-Length is the length of the JSON before the binary data",
            path="inference-header-content-length",
        )
    return int(text)


def read_message(body: bytes | bytearray, header_length: int | None = None) -> tuple[InferBody, memoryview]:
    """The JSON of a request as a record, and the binary data after it.

    Raises:
        RequestError: it is no JSON or another record, or shorter than the header says.
    """
    content = memoryview(body)  # parts of it are read without copies
    end = len(content) if header_length is None else header_length
    if end > len(content):
        raise RequestError(
            "header_length",
            f"the body has {len(content)} bytes, its JSON alone should have {end}",
            hint="Inference-Header-Content-Length is the length of the JSON before the binary data",
            path="inference-header-content-length",
        )
    return decode(content[:end], _INFER), content[end:]


def read_tensors(message: InferBody, binary: memoryview) -> list[InputTensor]:
    """The input tensors of a request.

    Raises:
        RequestError: a tensor is not what it says, is given twice, or the binary data do not add up.
    """
    tensors: list[InputTensor] = []
    names: set[str] = set()
    start = 0
    for place, each in enumerate(message.inputs):
        path = f"inputs[{place}]"
        name = each.name[:200]
        if each.name in names:
            raise RequestError("input_twice", f"{name!r} is given twice", hint="give it once", path=path)
        names.add(each.name)
        size = _binary_size(each, path)
        if size is None:
            array = from_json(name, each.datatype, each.shape, each.data, path)
        else:
            if size > len(binary) - start:
                raise RequestError(
                    "input_size",
                    f"{name!r} should have {size} bytes of binary data; {len(binary) - start} are left",
                    hint="binary data follow the JSON in the order of the inputs",
                    path=path,
                )
            array = from_binary(name, each.datatype, each.shape, binary[start : start + size], path)
            start += size
        tensors.append(InputTensor(each.name, each.datatype, array, path, is_text=size is None))
    if start != len(binary):
        raise RequestError(
            "input_size",
            f"{len(binary) - start} bytes of binary data belong to no input",
            hint="each input with binary data says binary_data_size in its parameters",
            path="inputs",
        )
    return tensors


def _binary_size(tensor: InferInput, path: str) -> int | None:
    """The bytes of binary data of a tensor, ``None`` where its data stand in the JSON."""
    size = tensor.parameters.get("binary_data_size")
    if (size is None) == (not tensor.data):
        raise RequestError(
            "input_data",
            f"{tensor.name[:200]!r} needs either data or binary_data_size",
            hint="shared memory is not served: send the data in the request",
            path=path,
        )
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise RequestError(
            "field",
            f"expected a number of bytes, got {size!r:.40}",
            hint="how many bytes of binary data this input has",
            path=f"{path}.parameters.binary_data_size",
        )
    return size


def read_wishes(parameters: Mapping[str, Any], outputs: list[InferOutput] | None) -> Wishes:
    """What a request wants beside the answer.

    Raises:
        RequestError: a field of it is of another form, or not served.
    """
    rest = {name: value for name, value in parameters.items() if name not in _TRANSPORT}
    is_binary = _flag(rest.pop("binary_data_output", False), "parameters.binary_data_output")
    binary: dict[str, bool] = {}
    for place, each in enumerate(outputs or ()):
        path = f"outputs[{place}].parameters"
        if each.parameters.get("classification"):
            raise RequestError(
                "output_parameter",
                "the classification extension is not served",
                hint="ask for the output itself, and sort its values",
                path=f"{path}.classification",
            )
        if "binary_data" in each.parameters:
            binary[each.name] = _flag(each.parameters["binary_data"], f"{path}.binary_data")
    return Wishes(tuple(dict.fromkeys(each.name for each in outputs or ())), binary, is_binary, rest)


def _flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise RequestError("field", f"expected true or false, got {value!r:.40}", hint="true or false", path=path)
    return value
