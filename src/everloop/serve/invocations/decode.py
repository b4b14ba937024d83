"""A scoring request for a model of rows, from bytes to rows, and its predictions back to bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError
from everloop.models.tabular.predictor import Rows
from everloop.serve.invocations.forms import Forms, is_csv, read_csv, read_forms
from everloop.serve.v2.signature import RowsDecoder
from everloop.serve.v2.tensors import texts_of

__all__ = ["InvocationsCall", "decode_invocations", "encode_invocations"]


class InvocationsCall(msgspec.Struct, frozen=True, gc=False):
    """A decoded scoring request: its rows, and its parameters with the signature's defaults."""

    rows: Rows
    parameters: Mapping[str, Any]


class _PlainSplit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    columns: list[str]
    data: list[list[float | None]]
    index: list[Any] | None = None


class _PlainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The usual request: rows of numbers."""

    dataframe_split: _PlainSplit | None = None
    inputs: list[list[float | None]] | None = None
    instances: list[list[float | None]] | None = None
    params: dict[str, Any] | None = None


_PLAIN = msgspec.json.Decoder(_PlainBody)
_MISSING = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"))
_TRUTHS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "1": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "0": False,
}


def decode_invocations(
    body: bytes | bytearray, decoder: RowsDecoder, content_type: str = "application/json"
) -> InvocationsCall:
    """A scoring request for a model of rows.

    Args:
        body: the body as it came.
        decoder: the model's signature, compiled.
        content_type: ``text/csv``, or else JSON.

    Raises:
        RequestError: it cannot be read, or does not fit the signature.
    """
    if is_csv(content_type):
        return InvocationsCall(_from_csv(body, decoder), decoder.parameters.defaults)
    call = _quick(body, decoder)
    if call is not None:
        return call
    forms, parameters = read_forms(body)
    return InvocationsCall(_rows_of(forms, decoder), decoder.parameters.read(parameters, "params"))


def _quick(body: bytes | bytearray, decoder: RowsDecoder) -> InvocationsCall | None:
    """Rows of numbers that fit exactly; ``None`` for all others, which the full way reads or refuses."""
    if not decoder.is_matrix:
        return None
    try:
        plain = _PLAIN.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    given = [each for each in (plain.dataframe_split, plain.inputs, plain.instances) if each is not None]
    if len(given) != 1:
        return None
    form = given[0]
    if isinstance(form, _PlainSplit):
        rows = decoder.from_numbers(form.data, form.columns)
    else:
        rows = decoder.from_numbers(form, None)
    if rows is None:
        return None
    parameters = decoder.parameters
    return InvocationsCall(rows, parameters.read(plain.params, "params") if plain.params else parameters.defaults)


def _rows_of(forms: Forms, decoder: RowsDecoder) -> Rows:
    if forms.columns is not None:
        return decoder.from_columns(forms.columns, forms.path)
    grid = forms.grid or []
    if len(decoder.readers) == 1:  # of a single column each value may stand for its row
        grid = [row if isinstance(row, list) else [row] for row in grid]
    return decoder.from_grid(grid, forms.path, forms.names)


def _from_csv(body: bytes | bytearray, decoder: RowsDecoder) -> Rows:
    """The rows of CSV, whose texts are read by the types of their columns."""
    if not decoder.readers:
        raise RequestError(
            "content_type", "a model that takes tensors cannot be asked in CSV", hint='send JSON: {"inputs": ...}'
        )
    types = {reader.name: reader.type for reader in decoder.readers}
    columns = {name: _typed(values, types.get(name, "string")) for name, values in read_csv(body).items()}
    return decoder.from_columns(columns, "line")


def _typed(values: Sequence[str], kind: str) -> list[Any]:
    """Texts as the values that JSON would hold; what cannot be one stays a text, which the column refuses."""
    parse = _PARSERS.get(kind)
    return [_none_if_empty(value) for value in values] if parse is None else [parse(value) for value in values]


def _none_if_empty(text: str) -> str | None:
    return text or None


def _number(text: str) -> Any:
    stripped = text.strip()
    if stripped in _MISSING:
        return None
    if len(stripped) > 400 or "_" in stripped:  # Python reads 1_000, CSV knows no such number
        return text
    for form in (int, float):
        try:
            return form(stripped)
        except ValueError:
            continue
    return text


def _truth(text: str) -> Any:
    stripped = text.strip()
    return None if stripped in _MISSING else _TRUTHS.get(stripped, text)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "boolean": _truth,
    "integer": _number,
    "long": _number,
    "float": _number,
    "double": _number,
}


def encode_invocations(outputs: Mapping[str, NDArray[Any]], *, prediction_id: str, release: str) -> bytes:
    """Predictions in the order of the rows: values where there is one output, else objects of the outputs.

    Args:
        outputs: the outputs by name, rows first.
        prediction_id: the id that the answer is stored under.
        release: the digest of the release that answered.
    """
    lists = {name: _nested(array) for name, array in outputs.items()}
    if len(lists) == 1:
        (predictions,) = lists.values()
    else:
        predictions = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return msgspec.json.encode({"predictions": predictions, "prediction_id": prediction_id, "release": release})


def _nested(array: NDArray[Any]) -> list[Any]:
    if array.dtype.kind not in "OSUM":
        return list(array.tolist())
    out = np.empty(array.size, dtype=object)
    out[:] = texts_of(array.ravel())
    return list(out.reshape(array.shape).tolist())
