"""Merging rows by series and time, and the digest of what rows say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from everloop.data.table_columns import INGESTED_AT, KNOWN_AT, Columns

__all__ = ["Change", "content_digest", "digest_in_order", "merge_rows"]

_NEW = "_new"


@dataclass(frozen=True, slots=True)
class Change:
    """How many rows a merge added, corrected, and found as they were."""

    added: int
    corrected: int
    unchanged: int

    def __add__(self, other: Change) -> Change:
        return Change(self.added + other.added, self.corrected + other.corrected, self.unchanged + other.unchanged)


def merge_rows(
    old: pl.DataFrame | None,
    rows: pl.DataFrame,
    columns: Columns,
    now: datetime,
    types: Mapping[str, pl.DataType],
) -> tuple[pl.DataFrame, Change]:
    """Rows laid over others of the same month, sorted by series and time.

    A value that is empty in ``rows``, or a column that is missing there, keeps what was known.

    Args:
        old: the rows so far, with Everloop's own columns; ``None`` for none.
        rows: the new rows, keys unique.
        columns: the table's columns.
        now: when the new rows came.
        types: the columns' types, for those that are missing here and there.
    """
    stamp = pl.lit(now.astimezone(UTC).replace(tzinfo=None)).cast(pl.Datetime("us"))
    nothing = pl.lit(None).cast(pl.Datetime("us"))
    if old is None:
        missing = _empty(columns, rows, types)
        known = (
            pl.when(pl.col(columns.target).is_not_null()).then(stamp).otherwise(nothing) if columns.target else nothing
        )
        fresh = rows.with_columns(missing).select(*columns.all, stamp.alias(INGESTED_AT), known.alias(KNOWN_AT))
        return fresh.sort(columns.key), Change(rows.height, 0, 0)
    old = old.with_columns(_empty(columns, old, types))
    values = [name for name in columns.values if name in rows.columns]
    new = rows.select(*columns.key, *[pl.col(name).alias(name + _NEW) for name in values], pl.lit(True).alias(_NEW))
    joined = old.join(new, on=columns.key, how="full", coalesce=True)
    is_added = pl.col(INGESTED_AT).is_null()
    is_corrected = pl.any_horizontal(
        [pl.col(name + _NEW).is_not_null() & pl.col(name).ne_missing(pl.col(name + _NEW)) for name in values]
        or [pl.lit(False)]
    )
    flags = joined.select(
        added=is_added,
        corrected=~is_added & is_corrected,
        unchanged=~is_added & ~is_corrected & pl.col(_NEW).is_not_null(),
    ).sum()
    is_changed = is_added | is_corrected
    known_at = pl.col(KNOWN_AT)
    if columns.target and columns.target in values:
        is_first = pl.col(KNOWN_AT).is_null() & pl.col(columns.target + _NEW).is_not_null()
        known_at = pl.when(is_first).then(stamp).otherwise(known_at)
    merged = joined.with_columns(
        *[pl.coalesce(name + _NEW, name).alias(name) for name in values],
        pl.when(is_changed).then(stamp).otherwise(pl.col(INGESTED_AT)).alias(INGESTED_AT),
        known_at.alias(KNOWN_AT),
    )
    change = Change(*(int(flags[name][0]) for name in ("added", "corrected", "unchanged")))
    return merged.select(*columns.all, INGESTED_AT, KNOWN_AT).sort(columns.key), change


def _empty(columns: Columns, rows: pl.DataFrame, types: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """The value columns that rows lack, without values."""
    missing = [name for name in columns.values if name not in rows.columns]
    return [pl.lit(None).cast(types.get(name, pl.Float64())).alias(name) for name in missing]


def content_digest(rows: pl.DataFrame, columns: Columns) -> str:
    """The SHA-256 of what rows say: independent of their order, of files, and of when they came.

    Rows are sorted by series and time; of each column the name, the places of empty values and the values
    (64-bit floats, microseconds, UTF-8) are hashed.
    """
    names = [name for name in columns.all if name in rows.columns]
    ordered = rows.select(names).sort(columns.key)
    return digest_in_order(names, ordered.height, lambda name: iter([ordered[name]]))


def digest_in_order(names: Sequence[str], height: int, column: Callable[[str], Iterator[pl.Series]]) -> str:
    """The digest of :func:`content_digest` for rows that lie sorted, in one or more pieces.

    Args:
        names: the columns.
        height: how many rows there are.
        column: gives a column's pieces in their order, as often as asked; only one is held at a time.
    """
    hasher = hashlib.sha256(str(height).encode())
    for name in names:
        hasher.update(f"\\0{name}\\0".encode())
        is_empty = [piece.is_null().to_numpy() for piece in column(name)]
        hasher.update(np.packbits(np.concatenate(is_empty) if is_empty else np.zeros(0, dtype=bool)).tobytes())
        first = next(column(name), None)
        if first is not None and first.dtype == pl.String:
            _hash_texts(hasher, name, column)
        else:
            for piece in column(name):
                hasher.update(_numbers(piece))
    return hasher.hexdigest()


def _hash_texts(hasher: hashlib._Hash, name: str, column: Callable[[str], Iterator[pl.Series]]) -> None:
    """Where each text ends, then all texts."""
    end = 0
    hasher.update(np.zeros(1, dtype="<i8").tobytes())
    for piece in column(name):
        ends = piece.fill_null("").str.len_bytes().cast(pl.Int64).cum_sum().to_numpy() + end
        hasher.update(ends.astype("<i8").tobytes())
        end = int(ends[-1]) if len(ends) else end
    for piece in column(name):
        texts = piece.fill_null("").rechunk().to_arrow().cast(pa.large_string())
        _, offsets, data = texts.buffers()
        if data is not None:
            hasher.update(memoryview(data)[: int(np.frombuffer(offsets, "<i8")[len(texts)])])


def _numbers(column: pl.Series) -> bytes:
    if column.dtype == pl.Float64:
        # adding zero makes one of the two zeros
        return bytes((column.fill_null(0.0).to_numpy() + 0.0).astype("<f8").tobytes())
    return bytes(column.cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes())
