"""The Parquet files of a table: which there are, and their rows, at once or batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlparse

import polars as pl
from deltalake import DeltaTable

from everloop.data.spans import EVERY_SERIES, ROWS_IN_PART, Span
from everloop.data.table_columns import PERIOD

__all__ = ["batches_of", "files_of", "read_files", "types_of"]

_BYTES_AT_ONCE = 16_000_000


def files_of(table: DeltaTable) -> dict[str, list[str]]:
    """The files of each month."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True)).select("path", f"partition.{PERIOD}")
    root = Path(unquote(urlparse(table.table_uri).path))
    found: dict[str, list[str]] = {}
    for path, month in actions.iter_rows():
        found.setdefault(month, []).append(str(root / unquote(path)))
    return found


def read_files(
    paths: list[str], columns: list[str] | None, types: Mapping[str, pl.DataType], span: Span = EVERY_SERIES
) -> pl.DataFrame:
    """The rows of a month; columns that came into the table later are empty."""
    wanted = columns or [*types]
    parts = []
    for path in paths:
        present = pl.read_parquet_schema(path)
        names = [name for name in wanted if name in present]
        if span.is_all:
            frame = pl.read_parquet(path, columns=names, glob=False, hive_partitioning=False)
        else:
            file = pl.scan_parquet(path, glob=False, hive_partitioning=False)
            frame = file.filter(span.holds()).select(names).collect(engine="streaming")
        parts.append(_completed(frame, wanted, types))
    return pl.concat(parts)


def batches_of(paths: list[str], columns: list[str] | None, types: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """The rows of a month: at once where they are few, else batch by batch."""
    if sum(Path(path).stat().st_size for path in paths) <= _BYTES_AT_ONCE:
        yield read_files(paths, columns, types)
        return
    wanted = columns or [*types]
    for path in paths:
        file = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        present = pl.read_parquet_schema(path)
        chosen = file.select([name for name in wanted if name in present])
        for batch in chosen.collect_batches(chunk_size=ROWS_IN_PART, maintain_order=True):
            yield _completed(batch, wanted, types)


def _completed(frame: pl.DataFrame, wanted: list[str], types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    missing = [name for name in wanted if name not in frame.columns]
    empty = [pl.lit(None).cast(types.get(name, pl.Float64())).alias(name) for name in missing]
    return frame.with_columns(empty).select(wanted)


def types_of(table: DeltaTable) -> dict[str, pl.DataType]:
    """The types of a table's columns."""
    kinds = {"string": pl.String(), "double": pl.Float64(), "timestamp_ntz": pl.Datetime("us")}
    return {each.name: kinds[str(each.type.type)] for each in table.schema().fields if each.name != PERIOD}
