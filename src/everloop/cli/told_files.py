"""Files of what is told: a table (CSV, Parquet), or JSON as the server takes it, in one piece or line by line."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from everloop.core.errors import DataError, NotFoundError, UsageError, nearest

__all__ = ["entries_of_table", "instant_text", "number", "read_told"]

_TABLES = (".csv", ".parquet")
_LINES = (".ndjson", ".jsonl")
_FORMATS = (*_TABLES, ".json", *_LINES)


def read_told(file: Path, name: str, example: str) -> pl.DataFrame | list[dict[str, Any]]:
    """What a file holds: a table, or the entries as the server takes them.

    Args:
        file: the file; its name tells its format.
        name: what the entries are called in a JSON file.
        example: a JSON file that would do.

    Raises:
        NotFoundError: there is no such file.
        UsageError: its name tells no format.
        DataError: it cannot be read, or holds something else.
    """
    if file.suffix not in _FORMATS:
        hint = "give a .csv, .parquet, .json or .ndjson"
        raise UsageError("format", f"cannot read {file.name!r}", hint=hint, path=str(file))
    if not file.is_file():
        raise NotFoundError("file_missing", f"there is no file {file}", hint="check the path", path=str(file))
    try:
        if file.suffix == ".csv":  # texts stay texts: a series may be called 007
            return pl.read_csv(file, infer_schema=False)
        if file.suffix == ".parquet":
            return pl.read_parquet(file)
        if file.suffix in _LINES:
            tree: Any = msgspec.json.Decoder().decode_lines(file.read_bytes())
        else:
            tree = msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise DataError(
            "file_unreadable", f"cannot read {file}: {error}", hint="is it complete?", path=str(file)
        ) from error
    entries = tree.get(name) if isinstance(tree, dict) else tree
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise DataError("outcomes_shape", f"{file} holds no {name}", hint=example, path=str(file))
    return entries


def entries_of_table(
    frame: pl.DataFrame, file: Path, *, needed: Sequence[str], numbers: Sequence[str], texts: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of a table as entries; columns that no entry has are not looked at, and an empty cell is left out.

    Args:
        frame: the table.
        file: where it comes from, for errors.
        needed: columns that it must have.
        numbers: the fields that are numbers.
        texts: those that are texts, or instants as text.

    Raises:
        DataError: a needed column is missing.
    """
    for name in needed:
        if name not in frame.columns:
            hint = nearest(name, frame.columns)
            raise DataError("column_missing", f"{file.name} has no column {name!r}", hint=hint, path=str(file))
    columns = [name for name in frame.columns if name in (*numbers, *texts)]
    entries = []
    for row in frame.select(columns).iter_rows():
        cells = {name: cell for name, cell in zip(columns, row, strict=True) if cell is not None and cell != ""}
        entries.append({name: _whole(number(cell)) if name in numbers else _text(cell) for name, cell in cells.items()})
    return entries


def instant_text(cell: Any) -> Any:
    """A date or an instant as ISO text."""
    return cell.isoformat() if hasattr(cell, "isoformat") else cell


def number(cell: Any) -> Any:
    """A CSV's text as a number, where it is one, and a decimal as a float."""
    if isinstance(cell, str):
        with contextlib.suppress(ValueError):
            return int(cell)
        with contextlib.suppress(ValueError):
            return float(cell)
    return float(cell) if isinstance(cell, Decimal) else cell


def _whole(value: Any) -> Any:
    """Whole numbers as such: a column of integers with empty cells has become one of floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(cell: Any) -> Any:
    """A cell as text: units, ids and labels may be numbers in a table."""
    text = instant_text(cell)
    return text if isinstance(text, str) else str(text)
