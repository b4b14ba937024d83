"""A model's signature, compiled once when the model is loaded, that turns requests into rows.

The usual request, numbers for columns of numbers, takes a short way that does nothing but place them. Whatever does
not fit exactly takes the full way, which also knows how to say what is wrong; both give the same rows.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError, nearest
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Signature
from everloop.serve.v2.columns import NUMBER_TYPES, ColumnReader
from everloop.serve.v2.datatypes import DATATYPES, datatype_of
from everloop.serve.v2.messages import InputTensor, Wishes
from everloop.serve.v2.parameters import ParameterReader
from everloop.serve.v2.tensor_inputs import TensorReader

__all__ = ["RowsDecoder", "compile_signature"]

_EXACT = 2.0**53


def compile_signature(signature: Signature, *, max_rows: int | None = None) -> RowsDecoder:
    """What turns requests into rows of a signature.

    Args:
        signature: what the model takes and gives.
        max_rows: the most rows of one request; any number by default.
    """
    return RowsDecoder(signature, max_rows=max_rows)


class RowsDecoder:
    """Turns tensors and JSON values into rows, checked against a signature; threads may share it.

    Attributes:
        signature: the signature.
        max_rows: the most rows of one request.
        is_matrix: whether every column is a number, so that rows are one matrix.
        parameters: reads what a request may set beside its rows.
    """

    def __init__(self, signature: Signature, *, max_rows: int | None = None) -> None:
        self.signature = signature
        self.max_rows = max_rows
        self.is_matrix = bool(signature.columns) and all(each.type in NUMBER_TYPES for each in signature.columns)
        self.readers = tuple(ColumnReader(column, in_matrix=self.is_matrix) for column in signature.columns)
        self.parameters = ParameterReader(signature.parameters)
        self._tensors = TensorReader(signature.tensors)
        self._by_name = {reader.name: reader for reader in self.readers}
        self._outputs = tuple(each.name for each in signature.outputs)
        self._checked = [(place, reader) for place, reader in enumerate(self.readers) if not reader.is_plain]
        self._width = len(self.readers)
        self._most = max_rows if max_rows is not None else 2**63
        self._short = self._short_ways() if self.is_matrix else {}

    # the short way

    def quick_matrix(self, datatype: str, shape: list[int], data: Sequence[float | None]) -> Rows | None:
        """The rows of one tensor that holds all columns, ``None`` where only the full way can tell."""
        width = self._width
        if not self.is_matrix or len(shape) != 2 or shape[1] != width or datatype != "FP64":
            return None
        n = shape[0]
        if len(data) != n * width or not 0 < n <= self._most:
            return None
        matrix = _floats(data).reshape(n, width)
        if self._checked:
            self._check(matrix, "inputs[0].data")
        return Rows(n, matrix)

    def quick_row(self, inputs: Sequence[Any]) -> Rows | None:
        """One row given as a tensor for each column, ``None`` where only the full way can tell."""
        if len(inputs) != self._width or not self.is_matrix:
            return None
        row: list[Any] = [self] * self._width
        short = self._short
        for each in inputs:
            way = short.get((each.name, each.datatype))
            data, shape = each.data, each.shape
            if way is None or len(data) != 1 or not (shape == [1] or shape == [1, 1]):
                return None
            place, low, high = way
            value = data[0]
            if low is not None and (value is None or not (low <= value <= high) or value % 1.0):
                return None
            row[place] = value
        if self in row:
            return None
        return Rows(1, np.array([row], np.float64))

    def _short_ways(self) -> dict[tuple[str, str], tuple[int, float | None, float]]:
        """By column and datatype: the column's place and the bounds that a whole number must lie in."""
        ways: dict[tuple[str, str], tuple[int, float | None, float]] = {}
        for place, reader in enumerate(self.readers):
            for kind in DATATYPES.values():
                is_number = reader.type in ("double", "integer", "long")
                if kind.kind == "i" and is_number:
                    low, high = max(float(kind.low), -_EXACT), min(float(kind.high), _EXACT)
                    if reader.type != "double":
                        low, high = max(low, float(reader.low)), min(high, float(reader.high))
                    ways[reader.name, kind.name] = (place, low, high)
                elif kind.name == "FP64" and reader.is_plain:
                    ways[reader.name, kind.name] = (place, None, 0.0)
        return ways

    # the full way

    def from_tensors(self, tensors: Sequence[InputTensor]) -> Rows:
        """The rows that tensors hold.

        Raises:
            RequestError: they do not fit the signature; the message names the column, what is expected, and where.
        """
        if not self.readers:
            return self._counted(self._tensors.from_tensors(tensors))
        whole = self._whole_matrix(tensors)
        if whole is not None:
            return self._from_matrix_tensor(whole)
        given: dict[str, NDArray[Any]] = {}
        sizes: dict[str, int] = {}
        for tensor in tensors:
            reader = self._by_name.get(tensor.name)
            if reader is None:
                raise self._unknown(tensor.name, tensor.path)
            given[tensor.name] = reader.from_tensor(tensor)
            sizes[tensor.name] = len(given[tensor.name])
        return self._assemble(given, sizes, "inputs")

    def from_columns(self, columns: Mapping[str, Sequence[Any]], path: str) -> Rows:
        """The rows that lists of JSON values by column hold.

        Raises:
            RequestError: they do not fit the signature.
        """
        if not self.readers:
            return self._counted(self._tensors.from_values(columns, path))
        for name in columns:
            if name not in self._by_name:
                raise self._unknown(name, path)
        sizes = {name: len(values) for name, values in columns.items()}
        self._count(next(iter(sizes.values()), 0), path)
        given = {name: self._by_name[name].from_values(values, path) for name, values in columns.items()}
        return self._assemble(given, sizes, path)

    def from_grid(self, rows: Sequence[Sequence[Any]], path: str, columns: Sequence[str] | None = None) -> Rows:
        """The rows of a list of rows, in the signature's order of columns or in the order given.

        Raises:
            RequestError: they do not fit the signature.
        """
        if not self.readers and columns is None:
            return self._counted(self._tensors.from_nested(rows, path))
        names = list(self._by_name) if columns is None else columns
        if len(set(names)) < len(names):
            raise RequestError("columns", "a column is named twice", hint="name each once", path=path)
        for place, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != len(names):
                count = len(row) if isinstance(row, list) else 1
                raise RequestError(
                    "columns",
                    f"row {place} has {count} values for {len(names)} columns",
                    hint="one value for each column of " + ", ".join(map(repr, list(names)[:6])),
                    path=f"{path}[{place}]",
                )
        return self.from_columns({name: [row[i] for row in rows] for i, name in enumerate(names)}, path)

    def from_numbers(self, values: Sequence[Sequence[float | None]], columns: Sequence[str] | None) -> Rows | None:
        """Rows of plain numbers in the signature's order: a short way, ``None`` where only the full one can tell."""
        width = self._width
        n = len(values)
        if not self.is_matrix or self._checked or not 0 < n <= self._most:
            return None
        if columns is not None and tuple(columns) != tuple(self._by_name):
            return None
        if any(len(row) != width for row in values):
            return None
        return Rows(n, np.array(values, np.float64))

    def check_outputs(self, wishes: Wishes) -> None:
        """Refuse an output that the model does not give.

        Raises:
            RequestError: there is no such output.
        """
        if not self._outputs:
            return
        for place, name in enumerate(wishes.outputs):
            if name not in self._outputs:
                raise RequestError(
                    "output_unknown",
                    f"{name[:80]!r} is no output",
                    hint=nearest(name[:80], self._outputs),
                    path=f"outputs[{place}]",
                )

    def inputs(self) -> list[dict[str, Any]]:
        """The inputs as the protocol's metadata names them."""
        if not self.readers:
            return [
                {"name": each.name, "datatype": datatype_of(each.dtype), "shape": [-1, *each.shape[1:]]}
                for each in self.signature.tensors
            ]
        return [{"name": each.name, "datatype": each.datatype, "shape": [-1]} for each in self.readers]

    def outputs(self) -> list[dict[str, Any]]:
        """The outputs as the protocol's metadata names them."""
        return [
            {"name": each.name, "datatype": datatype_of(each.dtype), "shape": [-1, *each.shape]}
            for each in self.signature.outputs
        ]

    # parts of the full way

    def _whole_matrix(self, tensors: Sequence[InputTensor]) -> InputTensor | None:
        """The one tensor that holds all columns, where it is that."""
        if len(tensors) != 1 or tensors[0].array.ndim != 2:
            return None
        tensor = tensors[0]
        if tensor.name in self._by_name and tensor.array.shape[1] == 1:
            return None
        return tensor

    def _from_matrix_tensor(self, tensor: InputTensor) -> Rows:
        n, width = tensor.array.shape
        if not self.is_matrix or DATATYPES[tensor.datatype].kind == "O":
            raise RequestError(
                "input_shape",
                "one tensor can hold all columns only where all are numbers",
                hint="send one tensor for each column: " + ", ".join(map(repr, list(self._by_name)[:6])),
                path=tensor.path,
            )
        if width != self._width:
            raise RequestError(
                "input_shape",
                f"{tensor.name[:80]!r} has {width} columns; the model takes {self._width}",
                hint="in this order: " + ", ".join(map(repr, list(self._by_name)[:12])),
                path=f"{tensor.path}.shape",
            )
        self._count(n, tensor.path)
        matrix = np.ascontiguousarray(tensor.array, dtype=np.float64)
        self._check(matrix, f"{tensor.path}.data")
        return Rows(n, matrix)

    def _check(self, matrix: NDArray[np.float64], path: str) -> None:
        for place, reader in self._checked:
            reader.checked(matrix[:, place], path)

    def _assemble(self, given: Mapping[str, NDArray[Any]], sizes: Mapping[str, int], path: str) -> Rows:
        """Columns of one length as rows, with what is missing filled in."""
        n = next(iter(sizes.values()), 0)
        for name, size in sizes.items():
            if size != n:
                first = next(iter(sizes))
                raise RequestError(
                    "input_shape", f"{name!r} has {size} rows, {first!r} has {n}", hint="one value a row", path=path
                )
        if not given:
            for reader in self.readers:
                reader.missing(0, path)
        self._count(n, path)
        columns = {
            reader.name: given[reader.name] if reader.name in given else reader.missing(n, path)
            for reader in self.readers
        }
        if self.is_matrix:
            return Rows(n, np.ascontiguousarray(np.stack(list(columns.values()), axis=1), dtype=np.float64))
        return Rows(n, columns=columns)

    def _counted(self, rows: Rows) -> Rows:
        self._count(rows.n, "inputs")
        return rows

    def _count(self, n: int, path: str) -> None:
        if not n:
            raise RequestError("rows_empty", "no rows are given", hint="give at least one", path=path)
        if n > self._most:
            raise RequestError(
                "rows_many",
                f"{n} rows are more than the {self._most} of one request",
                hint="send them in parts",
                path=path,
            )

    def _unknown(self, name: str, path: str) -> RequestError:
        short = name[:80]
        return RequestError("column_unknown", f"{short!r} is no column", hint=nearest(short, self._by_name), path=path)


def _floats(data: Sequence[float | None]) -> NDArray[np.float64]:
    """Numbers as an array, NaN for ``None``; packing takes less than half the time that NumPy takes for a list."""
    try:
        return np.frombuffer(bytearray(struct.pack(f"{len(data)}d", *data)), np.float64)
    except struct.error:  # some are missing
        return np.array(data, np.float64)
