"""Bringing raw columns into the table's types, remembering what could not be read.

Series columns are text, the time is microseconds in UTC without a zone, numbers are 64-bit floats, all else is text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from everloop.core.errors import DataError, nearest
from everloop.core.settings.project import ContractSettings
from everloop.data.table_columns import Columns

__all__ = ["Conformed", "conform", "decide_types", "read_number", "read_text", "read_time"]

_NUMERIC_SHARE = 0.9
_NUMBERS = ("integer", "float", "boolean")


@dataclass(frozen=True, slots=True)
class Conformed:
    """Rows in the table's types, and the raw rows they came from.

    ``unreadable[name]`` marks the rows whose value of a column was there but could not be read.
    """

    rows: pl.DataFrame
    raw: pl.DataFrame
    unreadable: dict[str, pl.Series]


def decide_types(raw: pl.DataFrame, columns: Columns, contract: ContractSettings) -> dict[str, bool]:
    """For each covariate whether it is a number: as declared, else by what the first rows hold."""
    decided: dict[str, bool] = {}
    for name in columns.others:
        declared = contract.types.get(name)
        if declared is not None or name not in raw.columns:
            decided[name] = declared in _NUMBERS if declared else True
        elif raw[name].dtype.is_numeric() or raw[name].dtype == pl.Boolean:
            decided[name] = True
        else:
            texts = raw[name].cast(pl.String).str.strip_chars()
            filled = texts.filter(texts.is_not_null() & (texts != ""))
            readable = filled.cast(pl.Float64, strict=False).is_not_null().sum()
            decided[name] = len(filled) > 0 and readable >= _NUMERIC_SHARE * len(filled)
    return decided


def conform(raw: pl.DataFrame, columns: Columns, is_number: Mapping[str, bool], *, partial: bool = False) -> Conformed:
    """Rows in the table's types.

    Args:
        raw: rows as the source has them.
        columns: the table's columns.
        is_number: for each covariate whether it is a number.
        partial: covariates may be missing altogether.

    Raises:
        DataError: a column is missing.
    """
    needed = columns.key if partial else columns.all
    missing = [name for name in needed if name not in raw.columns]
    if missing:
        raise DataError(
            "column_missing",
            f"the source has no column {missing[0]!r}" + (f" ({len(missing) - 1} more)" if len(missing) > 1 else ""),
            hint=nearest(missing[0], raw.columns),
            path="data",
        )
    names = [name for name in columns.all if name in raw.columns]
    kept = raw.select(names)
    made: dict[str, pl.Series] = {}
    for name in names:
        if name in columns.series:
            made[name] = read_text(kept[name])
        elif name == columns.time:
            made[name] = read_time(kept[name])
        elif name == columns.target or is_number[name]:
            made[name] = read_number(kept[name])
        else:
            made[name] = read_text(kept[name])
    unreadable = {
        name: was_filled & series.is_null()
        for name, series in made.items()
        if (was_filled := _is_filled(kept[name])) is not None and (was_filled & series.is_null()).any()
    }
    return Conformed(pl.DataFrame([series.alias(name) for name, series in made.items()]), kept, unreadable)


def _is_filled(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column.is_not_null() & (column.str.strip_chars() != "")
    if column.dtype.is_float():
        return column.is_not_null() & column.is_not_nan()
    return column.is_not_null()


def read_text(column: pl.Series) -> pl.Series:
    """A column as text without blanks around it; empty text is no value."""
    if column.dtype.is_float() and bool((column.drop_nulls().drop_nans() % 1 == 0).all()):
        column = column.fill_nan(None).cast(pl.Int64)  # 12.0 is the code 12, as pandas reads columns with gaps
    text = column.cast(pl.String)
    stripped = text.str.strip_chars()
    return stripped.set(stripped == "", None)


def read_number(column: pl.Series) -> pl.Series:
    """A column as 64-bit floats; what is no finite number becomes empty."""
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    number = column.cast(pl.Float64, strict=False).fill_nan(None)
    return number.set(number.is_infinite(), None)


def read_time(column: pl.Series) -> pl.Series:
    """A column as microseconds in UTC without a zone; what is no instant becomes empty."""
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        naive = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else column
        return naive.cast(pl.Datetime("us"))
    if kind == pl.Date:
        return column.cast(pl.Datetime("us"))
    if kind == pl.String:
        return _parsed_time(column.str.strip_chars())
    return pl.Series(column.name, [None] * len(column), dtype=pl.Datetime("us"))


def _parsed_time(column: pl.Series) -> pl.Series:
    """ISO 8601 instants, with or without time and zone; the value stays empty where it is neither."""
    day = column.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    if day.null_count() == column.null_count():
        return day
    frame = pl.DataFrame({"text": column})
    with_zone = pl.col("text").str.contains(r"(Z|[+-]\d{2}:?\d{2})$")
    plain = pl.col("text").str.replace("T", " ", literal=True)
    parsed = frame.select(
        pl.coalesce(
            day,
            pl.when(with_zone)
            .then(pl.col("text").str.replace(r"Z$", "+00:00").str.replace(" ", "T", literal=True))
            .otherwise(None)
            .str.to_datetime("%+", strict=False, time_unit="us", time_zone="UTC")
            .dt.replace_time_zone(None),
            plain.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us"),
            plain.str.to_datetime("%Y-%m-%d %H:%M", strict=False, time_unit="us"),
        ).alias(column.name)
    )
    return parsed[column.name]
