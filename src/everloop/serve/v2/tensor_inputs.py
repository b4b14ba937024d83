"""Rows for models that take tensors rather than columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError, nearest
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Tensor
from everloop.serve.v2.datatypes import datatype_of
from everloop.serve.v2.messages import InputTensor
from everloop.serve.v2.tensors import from_json

__all__ = ["TensorReader"]


class TensorReader:
    """Reads the tensors of a signature.

    Args:
        tensors: the signature's tensors.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = {each.name: each for each in tensors}

    def from_tensors(self, tensors: Sequence[InputTensor]) -> Rows:
        """The rows of tensors; where the model takes one alone, its name does not matter.

        Raises:
            RequestError: one is missing, unknown, of another type or shape, or has another number of rows.
        """
        if len(tensors) == 1 and len(self._tensors) == 1:
            return self._assembled({next(iter(self._tensors)): (tensors[0].array, tensors[0].path)})
        given: dict[str, tuple[NDArray[Any], str]] = {}
        for tensor in tensors:
            self._find(tensor.name, tensor.path)
            given[tensor.name] = (tensor.array, tensor.path)
        return self._assembled(given)

    def from_values(self, values: Mapping[str, Any], path: str) -> Rows:
        """The rows of nested lists of JSON values by tensor.

        Raises:
            RequestError: as for :meth:`from_tensors`.
        """
        given = {}
        for name, nested in values.items():
            given[name] = (self._array(self._find(name, path), nested, f"{path}.{name[:80]}"), f"{path}.{name[:80]}")
        return self._assembled(given)

    def from_nested(self, nested: Any, path: str) -> Rows:
        """The rows of nested lists for the only tensor.

        Raises:
            RequestError: the model takes several, or as for :meth:`from_tensors`.
        """
        if len(self._tensors) != 1:
            raise RequestError(
                "input_missing",
                "the model takes several tensors",
                hint="give each by name: " + ", ".join(map(repr, list(self._tensors)[:6])),
                path=path,
            )
        name, tensor = next(iter(self._tensors.items()))
        return self._assembled({name: (self._array(tensor, nested, path), path)})

    def _find(self, name: str, path: str) -> Tensor:
        found = self._tensors.get(name)
        if found is None:
            short = name[:80]
            raise RequestError("input_unknown", f"{short!r} is no input", hint=nearest(short, self._tensors), path=path)
        return found

    def _array(self, tensor: Tensor, nested: Any, path: str) -> NDArray[Any]:
        """Nested lists as an array of the tensor's type; the shape is that of the first elements."""
        shape: list[int] = []
        inner = nested
        while isinstance(inner, list) and len(shape) < len(tensor.shape):
            shape.append(len(inner))
            if not inner:
                break
            inner = inner[0]
        return from_json(tensor.name, datatype_of(tensor.dtype), shape, msgspec.Raw(msgspec.json.encode(nested)), path)

    def _assembled(self, given: Mapping[str, tuple[NDArray[Any], str]]) -> Rows:
        arrays: dict[str, NDArray[Any]] = {}
        n = -1
        for name, tensor in self._tensors.items():
            if name not in given:
                raise RequestError(
                    "input_missing",
                    f"the input {name!r} is missing",
                    hint=f"a tensor of {datatype_of(tensor.dtype)} with the shape {_shown(tensor.shape)}",
                    path="inputs",
                )
            array, path = given[name]
            arrays[name] = _fitting(tensor, array, path)
            if n >= 0 and len(arrays[name]) != n:
                raise RequestError(
                    "input_shape",
                    f"{name!r} has {len(arrays[name])} rows, not {n}",
                    hint="one number of rows",
                    path=path,
                )
            n = len(arrays[name])
        return Rows(max(n, 0), tensors=arrays)


def _fitting(tensor: Tensor, array: NDArray[Any], path: str) -> NDArray[Any]:
    """The array in the tensor's type, where its shape fits and no value can change."""
    is_shaped = array.ndim == len(tensor.shape) and all(
        expected < 0 or expected == size for expected, size in zip(tensor.shape, array.shape, strict=True)
    )
    if not is_shaped:
        raise RequestError(
            "input_shape",
            f"{tensor.name!r} has the shape {list(array.shape)}; the model takes {_shown(tensor.shape)}",
            hint="-1 is any size; rows come first",
            path=f"{path}.shape",
        )
    wanted = np.dtype(tensor.dtype)
    if wanted.kind in "OSU":
        if array.dtype.kind == "O":
            return _texts(tensor, array, path)
    elif array.dtype.kind != "O" and np.can_cast(array.dtype, wanted, "safe"):
        return array.astype(wanted, copy=False)
    raise RequestError(
        "input_datatype",
        f"{tensor.name!r} takes {datatype_of(wanted)}, not {datatype_of(array.dtype)}",
        hint=f"send {datatype_of(wanted)}",
        path=f"{path}.datatype",
    )


def _texts(tensor: Tensor, array: NDArray[Any], path: str) -> NDArray[Any]:
    """Texts, where elements came as bytes."""
    out = np.empty(array.size, dtype=object)
    try:
        out[:] = [each.decode("utf-8") if isinstance(each, bytes) else each for each in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise RequestError(
            "input_data", f"{tensor.name!r} has bytes that are no text in UTF-8", hint="send UTF-8", path=path
        ) from None
    return out.reshape(array.shape)


def _shown(shape: Sequence[int]) -> list[int]:
    return [-1, *shape[1:]]
