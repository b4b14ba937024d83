"""Tensors from JSON and from bytes, and back: pure functions that the transports share.

Whatever the input is, a tensor comes out that has exactly its shape and datatype, or a
:class:`everloop.core.errors.RequestError`. No value is wrapped, rounded to another integer or cut; no more memory is
taken than the input has bytes, times a small factor. See the protocol and its binary tensor data extension,
https://github.com/kserve/open-inference-protocol.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError
from everloop.serve.v2.datatypes import MOST_DIMENSIONS, Datatype, find_datatype, is_outside, json_decoder

__all__ = ["binary_of", "from_binary", "from_contents", "from_json", "json_of", "texts_of"]

_LENGTH = struct.Struct("<I")
_MOST_EMPTY = 2**31
_BLANK = b" \t\n\r"


def from_json(name: str, datatype: str, shape: Sequence[int], data: msgspec.Raw, path: str) -> NDArray[Any]:
    """A tensor whose ``data`` is JSON: flat in row order, or nested as its shape.

    A ``null`` is a missing float; elements of BYTES are texts.

    Args:
        name: the tensor's name, for messages.
        datatype: the protocol's datatype.
        shape: its shape.
        data: the JSON of its elements.
        path: where it stands in the request, for messages.

    Raises:
        RequestError: an element is not of the datatype, or their number is not the shape's.
    """
    kind = find_datatype(datatype, path)
    if kind.name == "BF16":
        raise RequestError(
            "input_datatype",
            f"{name!r}: BF16 has no form in JSON",
            hint="send it as binary data, or as FP32",
            path=f"{path}.datatype",
        )
    size = checked_size(name, shape, path)
    elements = _elements(name, kind, shape, memoryview(data), path)
    if len(elements) != size:
        raise _wrong_count(name, len(elements), size, f"{path}.data")
    return _array(name, kind, elements, f"{path}.data").reshape(shape)


def from_binary(name: str, datatype: str, shape: Sequence[int], content: memoryview, path: str) -> NDArray[Any]:
    """A tensor from its bytes in row order, little-endian; it does not share their memory.

    BF16 becomes float32; an element of BYTES is its length in four bytes, then its bytes.

    Raises:
        RequestError: the bytes are not as many as datatype and shape ask for.
    """
    kind = find_datatype(datatype, path)
    size = checked_size(name, shape, path)
    if kind.kind == "O":
        texts = _split(name, content, size, path)
        out = np.empty(size, dtype=object)
        out[:] = texts
        return out.reshape(shape)
    if len(content) != size * kind.size:
        raise RequestError(
            "input_size",
            f"{name!r} has {len(content)} bytes; {kind.name} of shape {list(shape)} means {size * kind.size}",
            hint="little-endian elements in row order",
            path=path,
        )
    if kind.name == "BF16":
        wide = np.frombuffer(content, dtype="<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if kind.kind == "b":
        flags = np.frombuffer(content, dtype=np.uint8)
        if size and flags.max() > 1:
            raise RequestError("input_data", f"{name!r}: a BOOL is the byte 0 or 1", hint="send 0 or 1", path=path)
        return flags.astype(bool).reshape(shape)
    return np.frombuffer(content, dtype=kind.dtype).copy().reshape(shape)


def from_contents(name: str, datatype: str, shape: Sequence[int], elements: Sequence[Any], path: str) -> NDArray[Any]:
    """A tensor from elements that are already of the datatype's kind, as gRPC's typed contents are.

    Raises:
        RequestError: an element is out of the datatype's range, or their number is not the shape's.
    """
    kind = find_datatype(datatype, path)
    size = checked_size(name, shape, path)
    if len(elements) != size:
        raise _wrong_count(name, len(elements), size, path)
    return _array(name, kind, list(elements), path).reshape(shape)


def json_of(array: NDArray[Any]) -> list[Any]:
    """A tensor's elements in row order for JSON: NaN and infinities become null, bytes that are no text base64."""
    flat = array.ravel()
    return texts_of(flat) if flat.dtype.kind in "OSUM" else flat.tolist()


def texts_of(flat: NDArray[Any]) -> list[Any]:
    """Elements as texts: bytes in base64, instants in ISO form with Z; ``None`` stays."""
    if flat.dtype.kind == "M":
        return [None if text == "NaT" else text + "Z" for text in np.datetime_as_string(flat).tolist()]
    return [_text(each) for each in flat.tolist()]


def binary_of(array: NDArray[Any]) -> bytes:
    """A tensor's bytes as :func:`from_binary` reads them."""
    flat = np.ascontiguousarray(array).ravel()
    if flat.dtype.kind in "OSUM":
        values = texts_of(flat) if flat.dtype.kind == "M" else flat.tolist()
        parts = [_bytes(each) for each in values]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(part)), part) for part in parts))
    return flat.astype(flat.dtype.newbyteorder("<"), copy=False).tobytes()


def checked_size(name: str, shape: Sequence[int], path: str) -> int:
    """How many elements a shape means; nothing is allocated.

    Raises:
        RequestError: a size is negative, or there are too many.
    """
    if len(shape) > MOST_DIMENSIONS:
        raise RequestError(
            "input_shape",
            f"{name!r} has {len(shape)} dimensions",
            hint=f"at most {MOST_DIMENSIONS}",
            path=f"{path}.shape",
        )
    if any(size < 0 for size in shape):
        raise RequestError("input_shape", f"{name!r} has a negative size", hint="give sizes", path=f"{path}.shape")
    if math.prod(size or 1 for size in shape) > _MOST_EMPTY:
        raise RequestError("input_shape", f"{name!r} is too large", hint="send it in parts", path=f"{path}.shape")
    return math.prod(shape)


def _elements(name: str, kind: Datatype, shape: Sequence[int], data: memoryview, path: str) -> list[Any]:
    """The elements in row order."""
    depth = max(1, len(shape)) if _is_nested(data) else 1
    try:
        elements: list[Any] = json_decoder(kind.kind, depth).decode(data)
    except msgspec.ValidationError as error:
        raise RequestError(
            "input_data",
            f"{name!r}: {_lowered(str(error))}",
            hint=_HINTS[kind.kind].format(kind.name),
            path=f"{path}.data",
        ) from None
    for place in range(1, depth):
        if len(elements) != math.prod(shape[:place]) or any(len(row) != shape[place] for row in elements):
            raise RequestError(
                "input_shape",
                f"{name!r}: its lists are not nested as the shape {list(shape)}",
                hint="give the elements in row order, flat or nested as the shape",
                path=f"{path}.data",
            )
        elements = list(chain.from_iterable(elements))
    return elements


_HINTS = {
    "b": "{} elements are true or false",
    "i": "{} elements are whole numbers without a fraction, and not null",
    "f": "{} elements are numbers, or null where one is missing",
    "O": "{} elements are texts",
}


def _is_nested(data: memoryview) -> bool:
    """Whether the first element of a JSON list is a list; only blanks may stand between."""
    for place in range(1, len(data)):
        if data[place] not in _BLANK:
            return data[place] == 0x5B
    return False


def _array(name: str, kind: Datatype, elements: list[Any], path: str) -> NDArray[Any]:
    """Elements of the right kind as an array, checked against the datatype's range."""
    if kind.kind == "O":
        out = np.empty(len(elements), dtype=object)
        out[:] = elements
        return out
    if kind.kind == "i":
        elements = _whole(name, kind, elements, path)
        for element in (min(elements), max(elements)) if elements else ():
            if not kind.low <= element <= kind.high:
                raise RequestError(
                    "input_data",
                    f"{name!r}: {element!r:.40} is no {kind.name}",
                    hint=f"from {kind.low} to {kind.high}",
                    path=path,
                )
        return np.array(elements, dtype=kind.dtype)
    if kind.kind == "f" and kind.name != "FP64":
        wide = np.array(elements, dtype=np.float64)
        if is_outside(wide, kind.high):
            raise RequestError(
                "input_data", f"{name!r} has a number too large for {kind.name}", hint="send FP64", path=path
            )
        return wide.astype(kind.dtype)
    return np.array(elements, dtype=kind.dtype)


def _whole(name: str, kind: Datatype, elements: list[Any], path: str) -> list[int]:
    """Whole numbers as integers: JSON has one kind of number, so that 3.0 is one too."""
    if float not in set(map(type, elements)):
        return elements
    for element in elements:
        if element != element // 1:
            raise RequestError(
                "input_data",
                f"{name!r}: {element!r:.40} is no {kind.name}",
                hint=_HINTS["i"].format(kind.name),
                path=path,
            )
    return [int(element) for element in elements]


def _split(name: str, content: memoryview, size: int, path: str) -> list[bytes]:
    """The elements of a BYTES tensor."""
    if size * _LENGTH.size > len(content):
        raise _short(name, path)
    out: list[bytes] = []
    place, end = 0, len(content)
    for _ in range(size):
        start = place + _LENGTH.size
        if start > end:
            raise _short(name, path)
        place = start + _LENGTH.unpack_from(content, place)[0]
        if place > end:
            raise _short(name, path)
        out.append(bytes(content[start:place]))
    if place != end:
        raise RequestError(
            "input_size", f"{name!r} has {end - place} bytes too many", hint="one length and text each", path=path
        )
    return out


def _short(name: str, path: str) -> RequestError:
    return RequestError(
        "input_size",
        f"{name!r} has fewer bytes than its elements",
        hint="each element of BYTES is its length in four bytes, little-endian, then its bytes",
        path=path,
    )


def _wrong_count(name: str, count: int, size: int, path: str) -> RequestError:
    return RequestError(
        "input_shape",
        f"{name!r} has {count} elements where its shape means {size}",
        hint="give the elements in row order, flat or nested as the shape",
        path=path,
    )


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode("utf-8", "surrogatepass")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:300]
