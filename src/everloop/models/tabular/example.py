"""Example rows: what a model was logged with, or what a person gives beside a model's own file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import DataError, ModelError, UsageError
from everloop.models.tabular.mlmodel import MlModel
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Column, Signature

__all__ = ["logged_example", "read_example", "rows_of", "with_example"]

_MOST_ROWS = 8
_DEFAULT_NAMES = ("Column_", "f")
_NUMBERS = ("boolean", "integer", "long", "float", "double")


def read_example(path: Path) -> dict[str, list[Any]]:
    """The first rows of a CSV file, or of a JSON file of records or columns, by column.

    Raises:
        DataError: the file cannot be read, or holds no rows.
    """
    try:
        if path.suffix.lower() == ".json":
            found = _by_column(json.loads(path.read_text(encoding="utf-8")))
        else:
            import polars as pl  # a server reads no example files

            found = pl.read_csv(path, n_rows=_MOST_ROWS, try_parse_dates=False).to_dict(as_series=False)
    except Exception as error:  # whatever a broken file makes of a reader
        raise DataError(
            "example_unreadable",
            f"cannot read {path.name}: {error}",
            hint='a CSV file with a header, or JSON such as [{"price": 9.5}]',
            path=str(path),
        ) from error
    if not found or not all(found.values()):
        raise DataError("example_empty", f"{path.name} holds no rows", hint="give at least one", path=str(path))
    return {name: _plain(list(values)[:_MOST_ROWS]) for name, values in found.items()}


def logged_example(folder: Path, mlmodel: MlModel, signature: Signature) -> dict[str, list[Any]]:
    """The first rows of the input example that a model was logged with, by column or tensor; empty without one."""
    path = folder / mlmodel.example
    if not mlmodel.example or not path.is_file() or path.suffix != ".json":
        return {}
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    if isinstance(tree, dict) and set(tree) == {"inputs"}:
        tree = tree["inputs"]
    names = [tensor.name for tensor in signature.tensors]
    if isinstance(tree, list) and len(names) == 1:
        found: dict[str, list[Any]] = {names[0]: tree}
    elif isinstance(tree, list) and tree and isinstance(tree[0], list) and not names:
        found = dict(
            zip([column.name for column in signature.columns], map(list, zip(*tree, strict=True)), strict=False)
        )
    else:
        found = _by_column(tree)
    wanted = names or [column.name for column in signature.columns if column.required]
    if not all(isinstance(found.get(name), list) for name in wanted):
        return {}
    known = {*names, *(column.name for column in signature.columns)}
    return {name: _plain(values[:_MOST_ROWS]) for name, values in found.items() if name in known}


def with_example(signature: Signature, example: Mapping[str, Sequence[Any]]) -> Signature:
    """A signature of numbers, with the names and types of an example.

    Raises:
        UsageError: the example's columns are not the model's.
    """
    own = [column.name for column in signature.columns]
    if set(own) <= set(example):
        names = own
    elif len(example) == len(own) and all(name.startswith(_DEFAULT_NAMES) for name in own):
        names = list(example)
    else:
        missing = [name for name in own if name not in example]
        raise UsageError(
            "example_columns",
            f"the example has no column {missing[0]!r}, which the model takes" if missing else "too few columns",
            hint="give the columns that the model was trained with, in their order",
            path=missing[0] if missing else "",
        )
    kept = {column.name: column.type for column in signature.columns if column.type == "string"}
    columns = tuple(Column(name, kept.get(name) or _type_of(example[name])) for name in names)
    return msgspec.structs.replace(signature, columns=columns)


def rows_of(signature: Signature, columns: Mapping[str, Any]) -> Rows:
    """Lists of plain values as rows; a column that is left out is missing in all of them.

    Raises:
        ModelError: a value is not of its column's type.
    """
    n = len(next(iter(columns.values()))) if columns else 0
    try:
        if signature.tensors:
            tensors = {each.name: np.asarray(columns[each.name], dtype=each.dtype) for each in signature.tensors}
            return Rows(n, tensors=tensors)
        arrays = {each.name: _array(columns.get(each.name, [None] * n), each.type) for each in signature.columns}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            "example_rows",
            f"the rows do not fit the signature: {error}",
            hint="log the model with an input example of its own signature",
        ) from error
    if all(each.type in _NUMBERS for each in signature.columns):
        matrix = np.empty((n, len(arrays)), dtype=np.float64)
        for place, values in enumerate(arrays.values()):
            matrix[:, place] = values
        return Rows(n, matrix=matrix)
    return Rows(n, columns=arrays)


def _array(values: Sequence[Any], kind: str) -> NDArray[Any]:
    missing = [each is None or (isinstance(each, float) and math.isnan(each)) for each in values]
    if kind in ("string", "binary"):
        array = np.empty(len(values), dtype=object)
        array[:] = [None if gone else each for each, gone in zip(values, missing, strict=True)]
        return array
    if kind == "datetime":
        texts = ["NaT" if gone else str(each).replace("Z", "") for each, gone in zip(values, missing, strict=True)]
        return np.array(texts, dtype="M8[us]")
    if kind in ("double", "float") or any(missing):
        return np.array([np.nan if gone else each for each, gone in zip(values, missing, strict=True)], np.float64)
    return np.array(values, dtype=bool if kind == "boolean" else np.int64)


def _plain(values: Any) -> Any:
    """Values that JSON has: what is no finite number is missing."""
    if isinstance(values, list):
        return [_plain(each) for each in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _type_of(values: Sequence[Any]) -> str:
    kinds = {type(each) for each in values if each is not None}
    if not kinds or not kinds <= {bool, int, float}:
        return "string" if kinds == {str} else "double"
    return "boolean" if kinds == {bool} else "long" if kinds == {int} and None not in values else "double"


def _by_column(tree: Any) -> dict[str, list[Any]]:
    """Records, pandas' ``split`` form or columns, as columns."""
    if isinstance(tree, list):
        names = list(dict.fromkeys(name for record in tree for name in record))
        return {name: [record.get(name) for record in tree] for name in names}
    if isinstance(tree.get("data"), list) and isinstance(tree.get("columns"), list):
        return {str(name): [row[place] for row in tree["data"]] for place, name in enumerate(tree["columns"])}
    return {str(name): values if isinstance(values, list) else [values] for name, values in tree.items()}
