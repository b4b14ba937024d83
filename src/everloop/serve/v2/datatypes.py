"""The protocol's datatypes and the NumPy types that stand for them."""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from everloop.core.errors import RequestError, nearest

__all__ = ["DATATYPES", "MOST_DIMENSIONS", "Datatype", "datatype_of", "find_datatype", "is_outside", "json_decoder"]

MOST_DIMENSIONS = 8


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype.

    Attributes:
        name: the protocol's name.
        dtype: the NumPy type of a decoded tensor; little-endian, as on the wire.
        kind: ``b`` for truth values, ``i`` for whole numbers, ``f`` for floats and ``O`` for BYTES.
        size: bytes of an element on the wire; 0 for BYTES, whose elements carry their lengths.
        low: the least element; 0 where the kind has no bounds.
        high: the greatest element; for floats the greatest finite one.
    """

    name: str
    dtype: np.dtype[Any]
    kind: str
    size: int
    low: int = 0
    high: int | float = 0


def _whole(name: str, dtype: str) -> Datatype:
    bounds = np.iinfo(dtype)
    return Datatype(name, np.dtype(dtype), "i", bounds.bits // 8, int(bounds.min), int(bounds.max))


def _float(name: str, dtype: str) -> Datatype:
    return Datatype(name, np.dtype(dtype), "f", np.dtype(dtype).itemsize, high=float(np.finfo(dtype).max))


DATATYPES: dict[str, Datatype] = {
    each.name: each
    for each in (
        Datatype("BOOL", np.dtype("bool"), "b", 1),
        *(_whole(f"INT{bits}", f"<i{bits // 8}") for bits in (8, 16, 32, 64)),
        *(_whole(f"UINT{bits}", f"<u{bits // 8}") for bits in (8, 16, 32, 64)),
        *(_float(f"FP{bits}", f"<f{bits // 8}") for bits in (16, 32, 64)),
        # NumPy has no bfloat16; every one of its values is a float32.
        Datatype("BF16", np.dtype("<f4"), "f", 2, high=float(np.finfo(np.float32).max)),
        Datatype("BYTES", np.dtype(object), "O", 0),
    )
}

_BY_NUMPY = {(each.dtype.kind, each.dtype.itemsize): each for each in DATATYPES.values() if each.name != "BF16"}
_ELEMENTS: dict[str, Any] = {"b": bool, "i": int | float, "f": float | None, "O": str}


def find_datatype(name: str, path: str) -> Datatype:
    """A datatype by its name.

    Raises:
        RequestError: there is no such datatype.
    """
    found = DATATYPES.get(name)
    if found is None:
        raise RequestError(
            "input_datatype", f"{name[:20]!r} is no datatype", hint=nearest(name[:20], DATATYPES), path=path
        )
    return found


def datatype_of(dtype: DTypeLike) -> str:
    """The protocol's name for a NumPy type; what is no number is BYTES.

    >>> datatype_of("float32"), datatype_of("object"), datatype_of("bool")
    ('FP32', 'BYTES', 'BOOL')
    """
    found = np.dtype(dtype)
    known = _BY_NUMPY.get((found.kind, found.itemsize))
    return "BYTES" if known is None else known.name


def is_outside(array: NDArray[Any], most: float) -> bool:
    """Whether a finite float is beyond ``most`` in size."""
    return bool(np.any(np.isfinite(array) & (np.abs(array) > most)))


@cache
def json_decoder(kind: str, depth: int) -> msgspec.json.Decoder[Any]:
    """A decoder of elements in so many lists within each other."""
    form: Any = _ELEMENTS[kind]
    for _ in range(depth):
        form = types.GenericAlias(list, (form,))
    return msgspec.json.Decoder(form)
