"""One column of a signature: from a tensor or from JSON values to the array that a model takes.

The conversions are those that MLflow's signatures allow: a whole number may become a float or a wider whole number,
never the other way round; texts are no numbers. JSON has one kind of number, so 3.0 there is a whole number too.
Whole numbers that name an instant are milliseconds since 1970.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError
from everloop.models.tabular.signature import Column
from everloop.serve.v2.datatypes import DATATYPES, is_outside
from everloop.serve.v2.messages import InputTensor

__all__ = ["NUMBER_TYPES", "ColumnReader"]

NUMBER_TYPES = ("boolean", "integer", "long", "float", "double")

_RANGES = {"integer": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_MOST_SINGLE = float(np.finfo(np.float32).max)
_EXPECTED = {
    "boolean": "true or false (BOOL)",
    "integer": "a whole number of 32 bits (INT32)",
    "long": "a whole number (INT64)",
    "float": "a number (FP32)",
    "double": "a number (FP64)",
    "string": "a text (BYTES)",
    "binary": "bytes (BYTES; base64 in JSON)",
    "datetime": "an ISO instant (BYTES), or milliseconds since 1970 (INT64)",
}
_SENT_AS = {
    "boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64",
    "string": "BYTES", "binary": "BYTES", "datetime": "BYTES",
}  # fmt: skip
_LATEST = 253_402_300_799_999  # the last millisecond of the year 9999
_EARLIEST = -62_135_596_800_000


class ColumnReader:
    """Reads one column.

    Args:
        column: the signature's column.
        in_matrix: whether it becomes part of a matrix of float64, as columns of numbers do where all are.

    Attributes:
        datatype: the datatype that the protocol's metadata names for it.
        is_plain: whether any float64 is right, so that nothing need be checked.
    """

    def __init__(self, column: Column, *, in_matrix: bool) -> None:
        self.column = column
        self.name = column.name
        self.type = column.type
        self.datatype = _SENT_AS[column.type]
        self.is_plain = column.type == "double"
        self._in_matrix = in_matrix
        self._is_whole = column.type in _RANGES
        self.low, self.high = _RANGES.get(column.type, (0, 0))
        parsers: dict[str, Callable[[Any], Any]] = {"string": _text, "binary": _base64, "datetime": _instant}
        self._parse = parsers.get(column.type)

    def missing(self, n: int, path: str) -> NDArray[Any]:
        """The column where a request leaves it out.

        Raises:
            RequestError: it is required.
        """
        if self.column.required:
            raise RequestError(
                "column_missing", f"the column {self.name!r} is missing", hint=f"give {_EXPECTED[self.type]}", path=path
            )
        return self._nothing(n)

    def from_tensor(self, tensor: InputTensor) -> NDArray[Any]:
        """The column of a tensor, shape ``(n,)``.

        Raises:
            RequestError: its shape or datatype does not fit, or an element is no value of this column.
        """
        array = tensor.array
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            raise RequestError(
                "input_shape",
                f"{self.name!r} has the shape {list(array.shape)}; a column has [rows] or [rows, 1]",
                hint="one value a row",
                path=f"{tensor.path}.shape",
            )
        kind = DATATYPES[tensor.datatype].kind
        if self._parse is not None:
            if kind == "O" and self.type == "binary" and not tensor.is_text:
                return array
            if kind == "O" or (kind == "i" and self.type == "datetime"):
                return self._parsed(array.tolist(), tensor.path)
        elif kind == "i" and self._is_whole:
            return self._whole_numbers(array, tensor.path)
        elif kind in "if" and self.type in ("float", "double"):
            return self.checked(array.astype(np.float64), tensor.path)
        elif kind == "b" and self.type == "boolean":
            return array.astype(np.float64) if self._in_matrix else self._truths(array.tolist(), tensor.path)
        raise RequestError(
            "column_type",
            f"{self.name!r} takes {_EXPECTED[self.type]}, not {tensor.datatype}",
            hint=f"send {self.datatype}",
            path=f"{tensor.path}.datatype",
        )

    def from_values(self, values: Sequence[Any], path: str) -> NDArray[Any]:
        """The column of JSON values, shape ``(n,)``; ``None`` is a missing value.

        Raises:
            RequestError: a value is none of this column.
        """
        if self._parse is not None:
            return self._parsed(values, path)
        allowed = (bool, type(None)) if self.type == "boolean" else (int, float, type(None))
        for place, value in enumerate(values):
            if type(value) not in allowed:
                raise self._wrong(value, place, path)
        if self.type == "boolean" and not self._in_matrix:
            return self._truths(values, path)
        if self._is_whole and not self._in_matrix and self.column.required:
            return self._whole_numbers(values, path)
        try:
            numbers = np.array(values, dtype=np.float64)
        except OverflowError:
            raise RequestError(
                "column_value", f"{self.name!r} has a number too large for a float", hint="", path=path
            ) from None
        return self.checked(numbers, path)

    def checked(self, numbers: NDArray[np.float64], path: str) -> NDArray[np.float64]:
        """Float64 that every value of this column can be: whole where they must be, and in range.

        Raises:
            RequestError: one is not.
        """
        if self.is_plain:
            return numbers
        if self.type == "float":
            if is_outside(numbers, _MOST_SINGLE):
                place = int(np.argmax(np.isfinite(numbers) & (np.abs(numbers) > _MOST_SINGLE)))
                raise self._wrong(float(numbers[place]), place, path)
            return numbers
        is_missing = np.isnan(numbers)
        if self.type == "boolean":
            is_right = (numbers == 0) | (numbers == 1)
        else:
            with np.errstate(invalid="ignore"):
                is_right = (numbers >= self.low) & (numbers <= self.high) & (numbers == np.floor(numbers))
        if not self.column.required:
            is_right |= is_missing
        if not is_right.all():
            place = int(np.argmin(is_right))
            value = None if is_missing[place] else float(numbers[place])
            raise self._wrong(value, place, path)
        return numbers

    def _nothing(self, n: int) -> NDArray[Any]:
        if self.type == "datetime":
            return np.full(n, np.datetime64("NaT", "us"))
        if self._parse is not None or (self.type == "boolean" and not self._in_matrix):
            return np.full(n, None, dtype=object)
        return np.full(n, np.nan)

    def _whole_numbers(self, values: Any, path: str) -> NDArray[Any]:
        """Whole numbers in range: int64 where none may be missing and no matrix is made."""
        is_integer = self.column.required and not self._in_matrix
        dtype: Any = np.int64 if is_integer else np.float64
        if isinstance(values, np.ndarray):
            if values.size and not (self.low <= int(values.min()) and int(values.max()) <= self.high):
                place = int(np.argmax((values < self.low) | (values > self.high)))
                raise self._wrong(int(values[place]), place, path)
            return values.astype(dtype)
        for place, value in enumerate(values):
            is_right = value is not None and self.low <= value <= self.high and value == value // 1
            if not is_right:
                raise self._wrong(value, place, path)
        return np.array([int(value) for value in values], dtype=dtype)

    def _truths(self, values: Sequence[Any], path: str) -> NDArray[Any]:
        if not self.column.required:
            out = np.empty(len(values), dtype=object)
            out[:] = values
            return out
        for place, value in enumerate(values):
            if value is None:
                raise self._wrong(value, place, path)
        return np.array(values, dtype=bool)

    def _parsed(self, values: Sequence[Any], path: str) -> NDArray[Any]:
        """Texts, bytes or instants."""
        out = self._nothing(len(values))
        parse = self._parse
        assert parse is not None
        for place, value in enumerate(values):
            if value is None and not self.column.required:
                continue
            try:
                out[place] = parse(value)
            except (TypeError, ValueError, OverflowError, binascii.Error):
                raise self._wrong(value, place, path) from None
        return out

    def _wrong(self, value: Any, place: int, path: str) -> RequestError:
        shown = "null" if value is None else f"{value!r:.60}"
        return RequestError(
            "column_value",
            f"{self.name!r} takes {_EXPECTED[self.type]}; row {place} has {shown}",
            hint="" if value is not None else "this column is required in every row",
            path=path,
        )


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise TypeError
    return value


def _base64(value: Any) -> bytes:
    if not isinstance(value, str | bytes):
        raise TypeError
    return base64.b64decode(value, validate=True)


def _instant(value: Any) -> np.datetime64:
    """An ISO text or milliseconds; an instant with an offset from UTC is brought to UTC."""
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if isinstance(value, int) and not isinstance(value, bool):
        if not _EARLIEST <= value <= _LATEST:
            raise ValueError
        return np.datetime64(value * 1000, "us")
    if not isinstance(value, str):
        raise TypeError
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is not None:
        instant = instant.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(instant, "us")
