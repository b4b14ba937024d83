"""The outputs of a model of rows as the store keeps them: packed, exact, and readable without the model."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import IntegrityError

__all__ = ["are_row_values", "count_rows", "pack_rows", "unpack_rows"]

_PLAIN, _ZLIB = b"\x02", b"\x03"
_COMPRESS_FROM_BYTES = 4096

_encode = msgspec.msgpack.Encoder().encode


def pack_rows(outputs: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes to store of outputs by name, each with the rows first.

    >>> unpack_rows(pack_rows({"prediction": np.array([1.5, 2.5])}))["prediction"]
    array([1.5, 2.5])
    """
    content = _encode(
        [
            [name, "O", array.shape, array.ravel().tolist()]
            if array.dtype.kind in "OU"
            else [name, array.dtype.str, array.shape, array.tobytes()]
            for name, array in outputs.items()
        ]
    )
    if len(content) < _COMPRESS_FROM_BYTES:
        return _PLAIN + content
    return _ZLIB + zlib.compress(content, 1)


def unpack_rows(stored: bytes) -> dict[str, NDArray[Any]]:
    """The outputs that :func:`pack_rows` stored, bit for bit.

    Raises:
        IntegrityError: the bytes are not such outputs.
    """
    try:
        raw = zlib.decompress(stored[1:]) if stored[:1] == _ZLIB else stored[1:]
        return {
            name: np.array(data, dtype=object).reshape(shape)
            if kind == "O"
            else np.frombuffer(data, kind).reshape(shape)
            for name, kind, shape, data in msgspec.msgpack.decode(raw)
        }
    except (ValueError, TypeError, zlib.error, msgspec.DecodeError) as error:
        raise IntegrityError("prediction_values", f"stored outputs cannot be read: {error}") from error


def are_row_values(stored: bytes) -> bool:
    """Whether a stored response is that of a model of rows."""
    return stored[:1] in (_PLAIN, _ZLIB)


def count_rows(stored: bytes) -> int:
    """How many rows a stored response answers.

    >>> count_rows(pack_rows({"prediction": np.array([1.5, 2.5])}))
    2

    Raises:
        IntegrityError: the bytes are no such outputs.
    """
    return max((len(each) for each in unpack_rows(stored).values()), default=0)
