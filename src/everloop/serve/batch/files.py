"""A batch as one file, Parquet or CSV, which appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from everloop.core.errors import UsageError
from everloop.serve.batch.rows import BatchRows

__all__ = ["write_file"]


def write_file(rows: BatchRows, out: Path) -> None:
    """Write the rows of a batch in place of what the file held.

    Args:
        rows: the rows.
        out: a path that ends in ``.parquet`` or ``.csv``.

    Raises:
        UsageError: the file cannot be written.
    """
    making = out.with_name(f".{out.name}.making")
    try:
        if out.suffix == ".csv":
            _write_csv(rows, making)
        else:
            _write_parquet(rows, making)
        making.replace(out)
    except OSError as error:
        raise UsageError(
            "write", f"cannot write {out}: {error.strerror or error}", hint="does the folder exist?", path="--out"
        ) from error
    finally:
        making.unlink(missing_ok=True)


def _write_csv(rows: BatchRows, making: Path) -> None:
    with making.open("wb") as file:
        for number, block in enumerate(rows.blocks()):
            block.write_csv(file, include_header=number == 0)


def _write_parquet(rows: BatchRows, making: Path) -> None:
    writer: pq.ParquetWriter | None = None
    try:
        for block in rows.blocks():
            table: pa.Table = block.to_arrow(compat_level=pl.CompatLevel.oldest())
            if writer is None:
                writer = pq.ParquetWriter(making, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
