"""An inference request for a model of rows, from bytes to rows, and its answer back to bytes.

Nothing here knows of HTTP, Starlette or gRPC; the direct route, REST and gRPC call the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from numpy.typing import NDArray

from everloop.core.errors import RequestError, nearest
from everloop.models.tabular.predictor import Rows
from everloop.serve.v2.datatypes import datatype_of
from everloop.serve.v2.messages import InferOutput, Wishes, parse_header_length, read_message, read_tensors, read_wishes
from everloop.serve.v2.signature import RowsDecoder
from everloop.serve.v2.tensors import binary_of, json_of

__all__ = ["InferCall", "chosen_outputs", "decode_infer", "encode_infer", "encode_tensors", "parse_header_length"]

Outputs = Mapping[str, NDArray[Any]]

_JSON = b"content-type: application/json\r\n"
_NOTHING: Mapping[str, Any] = {}


class InferCall(msgspec.Struct, frozen=True, gc=False):
    """A decoded request.

    Attributes:
        id: the caller's own id of it, given back in the answer.
        rows: what is asked.
        parameters: beside the rows, with the signature's defaults.
        outputs: the names of the outputs wanted; all of them where it is empty.
        is_binary: whether outputs are given as binary data.
        binary: outputs by name whose form differs from that.
    """

    id: str | None
    rows: Rows
    parameters: Mapping[str, Any]
    outputs: tuple[str, ...] = ()
    is_binary: bool = False
    binary: Mapping[str, bool] = _NOTHING


class _PlainInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[float | None]


class _PlainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The usual request: numbers only, in flat lists."""

    inputs: list[_PlainInput]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[InferOutput] | None = None


_PLAIN = msgspec.json.Decoder(_PlainBody)
_ENCODER = msgspec.json.Encoder()


def decode_infer(body: bytes | bytearray, decoder: RowsDecoder, header_length: int | None = None) -> InferCall:
    """A request for a model of rows.

    Args:
        body: the body as it came.
        decoder: the model's signature, compiled.
        header_length: how many bytes of it are JSON where binary data follow; ``None``: all.

    Raises:
        RequestError: it cannot be read, or does not fit the signature.
    """
    if header_length is None and decoder.is_matrix:
        call = _quick(body, decoder)
        if call is not None:
            return call
    message, binary = read_message(body, header_length)
    wishes = read_wishes(message.parameters, message.outputs)
    decoder.check_outputs(wishes)
    rows = decoder.from_tensors(read_tensors(message, binary))
    parameters = decoder.parameters.read(wishes.parameters, "parameters")
    return InferCall(message.id, rows, parameters, wishes.outputs, wishes.is_binary, wishes.binary)


def _quick(body: bytes | bytearray, decoder: RowsDecoder) -> InferCall | None:
    """A request that fits exactly; ``None`` for all others, which the full way reads or refuses."""
    try:
        plain = _PLAIN.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    inputs = plain.inputs
    if len(inputs) == 1:
        only = inputs[0]
        rows = decoder.quick_matrix(only.datatype, only.shape, only.data)
    else:
        rows = decoder.quick_row(inputs)
    if rows is None:
        return None
    if not plain.parameters and not plain.outputs:
        return InferCall(plain.id, rows, decoder.parameters.defaults)
    wishes = read_wishes(plain.parameters, plain.outputs)
    decoder.check_outputs(wishes)
    parameters = decoder.parameters.read(wishes.parameters, "parameters")
    return InferCall(plain.id, rows, parameters, wishes.outputs, wishes.is_binary, wishes.binary)


def encode_infer(
    call: InferCall,
    outputs: Outputs,
    model_name: str,
    version: str,
    prediction_id: str,
    *,
    notes: Sequence[str] = (),
) -> tuple[bytes, bytes]:
    """An answer as header lines, each ended by CR LF, and a body.

    Args:
        call: what was asked.
        outputs: the outputs by name, rows first; more than asked for may be among them.
        model_name: the model's name.
        version: the digest of the release that answered.
        prediction_id: the id that the answer is stored under.
        notes: what the reader must know beside the numbers.

    Raises:
        RequestError: an output was asked for that there is not.
    """
    tree: dict[str, Any] = {"model_name": model_name, "model_version": version}
    if call.id is not None:
        tree["id"] = call.id
    tree["parameters"] = {"prediction_id": prediction_id, "notes": notes} if notes else {"prediction_id": prediction_id}
    return encode_tensors(chosen_outputs(call.outputs, outputs), call, tree)


def encode_tensors(outputs: Outputs, form: InferCall | Wishes, tree: dict[str, Any]) -> tuple[bytes, bytes]:
    """Outputs as JSON or binary data, as a call wants them, put into an answer's tree; as :func:`encode_infer`."""
    chunks: list[bytes] = []
    tensors: list[dict[str, Any]] = []
    for name, array in outputs.items():
        tensor: dict[str, Any] = {"name": name, "datatype": datatype_of(array.dtype), "shape": array.shape}
        if form.binary.get(name, form.is_binary):
            chunk = binary_of(array)
            chunks.append(chunk)
            tensor["parameters"] = {"binary_data_size": len(chunk)}
        else:
            tensor["data"] = json_of(array)
        tensors.append(tensor)
    tree["outputs"] = tensors
    head = _ENCODER.encode(tree)
    if not chunks:
        return _JSON, head
    lines = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % len(head)
    return lines, b"".join([head, *chunks])


def chosen_outputs(names: tuple[str, ...], outputs: Outputs) -> Outputs:
    """The outputs asked for, in the order asked; all of them where none is named.

    Raises:
        RequestError: there is no such output.
    """
    if not names:
        return outputs
    for name in names:
        if name not in outputs:
            short = name[:80]
            raise RequestError(
                "output_unknown", f"{short!r} is no output", hint=nearest(short, outputs), path="outputs"
            )
    return {name: outputs[name] for name in names}
