"""The forms in which MLflow's callers send rows, brought to columns or to a grid.

See https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/. Four forms are JSON, the fifth is CSV.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from everloop.core.errors import RequestError
from everloop.serve.bodies import decode

__all__ = ["Forms", "InvocationsBody", "SplitFrame", "is_csv", "read_csv", "read_forms"]

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class SplitFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frame in pandas' ``split`` orientation; its index is not looked at."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None


class InvocationsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scoring request: exactly one of the four forms of rows, and perhaps parameters."""

    dataframe_split: SplitFrame | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None
    inputs: list[Any] | dict[str, Any] | None = None
    params: dict[str, Any] | None = None


class Forms(msgspec.Struct, frozen=True):
    """Rows in one of two ways.

    Attributes:
        path: where they stand in the body.
        columns: values by column; or ``None``.
        grid: a list of rows, or deeper for tensors; or ``None``.
        names: the columns of the grid, ``None`` where the body does not say.
    """

    path: str
    columns: dict[str, Any] | None = None
    grid: list[Any] | None = None
    names: list[str] | None = None


_INVOCATIONS = msgspec.json.Decoder(InvocationsBody)


def read_forms(body: bytes | bytearray) -> tuple[Forms, Mapping[str, Any]]:
    """The rows of a JSON body, and its parameters.

    Raises:
        RequestError: it is no JSON, or not exactly one of the forms.
    """
    tree = decode(memoryview(body), _INVOCATIONS)
    given = [name for name in _FORMS if getattr(tree, name) is not None]
    if len(given) != 1:
        raise RequestError(
            "field",
            f"expected exactly one of {', '.join(_FORMS)}; got {', '.join(given) or 'none'}",
            hint='{"dataframe_split": {"columns": ["price"], "data": [[2.5]]}}',
        )
    return _forms_of(tree, given[0]), tree.params or {}


def _forms_of(tree: InvocationsBody, form: str) -> Forms:
    if tree.dataframe_split is not None:
        frame = tree.dataframe_split
        return Forms("dataframe_split.data", grid=frame.data, names=frame.columns)
    if isinstance(tree.inputs, dict):
        return Forms("inputs", columns=_listed(tree.inputs))
    rows: list[Any] = getattr(tree, form)
    if not any(isinstance(row, dict) for row in rows):
        return Forms(form, grid=rows)
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RequestError(
                "columns", f"row {place} is no object as others are", hint="one form a request", path=f"{form}[{place}]"
            )
    return Forms(form, columns=_columns_of(rows))


def _listed(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of lists; single values make one row."""
    if any(isinstance(values, list) for values in columns.values()):
        for name, values in columns.items():
            if not isinstance(values, list):
                raise RequestError(
                    "columns", f"{name[:80]!r} is no list as others are", hint="one value a row", path="inputs"
                )
        return dict(columns)
    return {name: [value] for name, value in columns.items()}


def _columns_of(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Records as columns; a value that a record leaves out is missing."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def is_csv(content_type: str) -> bool:
    """Whether a body is CSV by its content type.

    >>> is_csv("text/csv; charset=utf-8"), is_csv("application/json")
    (True, False)
    """
    return content_type.partition(";")[0].strip().lower() == "text/csv"


def read_csv(body: bytes | bytearray) -> dict[str, list[str]]:
    """The texts of a CSV body by column; its first line names them.

    Raises:
        RequestError: it is no CSV in UTF-8, a column is named twice, or a line has another number of values.
    """
    try:
        lines = [
            line for line in csv.reader(io.StringIO(bytes(body).decode("utf-8-sig"), newline=""), strict=True) if line
        ]
    except UnicodeDecodeError:
        raise RequestError("csv", "the body is no text in UTF-8", hint="send UTF-8") from None
    except csv.Error as error:
        raise RequestError("csv", f"the body is no CSV: {error}", hint="comma between, a header line first") from None
    if not lines:
        raise RequestError("rows_empty", "no rows are given", hint="a header line, then a line for each row")
    names, *rows = lines
    if len(set(names)) < len(names):
        raise RequestError("columns", "a column is named twice", hint="name each once", path="line 1")
    for place, row in enumerate(rows):
        if len(row) != len(names):
            raise RequestError(
                "columns",
                f"row {place} has {len(row)} values for {len(names)} columns",
                hint="give one value for each column",
                path=f"line {place + 2}",
            )
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
