"""What the store keeps of a request for rows, and the way back: the same rows, bit for bit.

A body in JSON is kept as it came. Rows that came in another form, as binary data, CSV or over gRPC, are kept as a
record of their arrays.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import IntegrityError, RequestError
from everloop.models.tabular.predictor import Rows
from everloop.serve.invocations.decode import decode_invocations
from everloop.serve.v2.infer import InferCall, decode_infer
from everloop.serve.v2.signature import RowsDecoder

__all__ = ["decode_request", "encode_request"]

_BEGINNING = b'{"rows":'
_AS_BYTES_FROM = 256
"""So many numbers cost more to write as decimals than all the rest of a request's record."""


class _Array(msgspec.Struct, frozen=True, omit_defaults=True):
    """An array: its elements in row order as JSON values, or its bytes in base64.

    Bytes are taken where JSON cannot hold the elements, or where they are many.
    """

    dtype: str
    shape: tuple[int, ...]
    data: list[Any] | None = None
    base64: str = ""


class _Rows(msgspec.Struct, frozen=True, omit_defaults=True):
    n: int
    matrix: _Array | None = None
    columns: dict[str, _Array] = {}
    tensors: dict[str, _Array] = {}


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    rows: _Rows
    parameters: dict[str, Any] = {}
    outputs: tuple[str, ...] = ()


_RECORD = msgspec.json.Decoder(_Record)


def encode_request(rows: Rows, parameters: Mapping[str, Any], outputs: tuple[str, ...] = ()) -> bytes:
    """A record of rows in JSON, which :func:`decode_request` reads.

    Args:
        rows: the rows as the model takes them.
        parameters: beside the rows, with the signature's defaults.
        outputs: the names of the outputs wanted; empty for all.
    """
    record = _Record(
        _Rows(
            rows.n,
            None if rows.matrix is None else _packed(rows.matrix),
            {name: _packed(array) for name, array in rows.columns.items()},
            {name: _packed(array) for name, array in rows.tensors.items()},
        ),
        dict(parameters),
        outputs,
    )
    return msgspec.json.encode(record)


def decode_request(content: bytes, kind: str, decoder: RowsDecoder) -> InferCall:
    """A kept request: the rows, parameters and outputs that it asked for.

    Args:
        content: what the store keeps.
        kind: the door it came through, ``"invocations"`` or ``"infer"``.
        decoder: the signature of the model that is to answer it, compiled.

    Raises:
        RequestError: it does not fit the signature.
        IntegrityError: it is no record of a request.
    """
    if content.startswith(_BEGINNING):
        try:
            record = _RECORD.decode(content)
            rows = Rows(
                record.rows.n,
                None if record.rows.matrix is None else _unpacked(record.rows.matrix),
                {name: _unpacked(array) for name, array in record.rows.columns.items()},
                {name: _unpacked(array) for name, array in record.rows.tensors.items()},
            )
        except (msgspec.DecodeError, TypeError, ValueError, binascii.Error) as error:
            raise IntegrityError("prediction_request", f"the request cannot be read: {error}") from error
        _check_names(rows, decoder)
        return InferCall(None, rows, record.parameters, record.outputs)
    if kind == "invocations":
        call = decode_invocations(content, decoder)
        return InferCall(None, call.rows, call.parameters)
    return decode_infer(content, decoder)


def _check_names(rows: Rows, decoder: RowsDecoder) -> None:
    """Refuse a record of another signature's rows."""
    signature = decoder.signature
    is_fitting = (
        rows.matrix.shape[1] == len(signature.columns) and decoder.is_matrix
        if rows.matrix is not None
        else set(rows.columns) == {each.name for each in signature.columns if not decoder.is_matrix}
        and set(rows.tensors) == {each.name for each in signature.tensors}
    )
    if not is_fitting:
        raise RequestError("column_missing", "the kept request has other columns than this model takes")


def _packed(array: NDArray[Any]) -> _Array:
    flat = array.ravel()
    kind = flat.dtype.kind
    if kind in "OSU":
        return _Array("object", array.shape, [_element(each) for each in flat.tolist()])
    if kind == "M":
        return _Array("M8[us]", array.shape, flat.astype("M8[us]").astype(np.int64).tolist())
    if kind == "f" and (flat.size >= _AS_BYTES_FROM or np.isinf(flat).any()):
        return _Array(array.dtype.str, array.shape, base64=base64.b64encode(flat.tobytes()).decode("ascii"))
    return _Array(array.dtype.str, array.shape, flat.tolist())


def _element(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else value


def _unpacked(packed: _Array) -> NDArray[Any]:
    if packed.data is None:
        content = base64.b64decode(packed.base64, validate=True)
        return np.frombuffer(content, dtype=np.dtype(packed.dtype)).copy().reshape(packed.shape)
    if packed.dtype == "object":
        out = np.empty(len(packed.data), dtype=object)
        out[:] = [base64.b64decode(each["base64"]) if isinstance(each, dict) else each for each in packed.data]
        return out.reshape(packed.shape)
    if packed.dtype == "M8[us]":
        return np.array(packed.data, dtype=np.int64).astype("M8[us]").reshape(packed.shape)
    return np.array(packed.data, dtype=np.dtype(packed.dtype)).reshape(packed.shape)
