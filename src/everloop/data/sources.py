"""Sources: files, a database, or the user's own function, read in chunks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from everloop.core.errors import DataError, SettingsError, UnavailableError, nearest
from everloop.core.objects import load_object
from everloop.core.project import Project

__all__ = ["is_of_files", "read_file", "read_source", "source_files", "source_stamp"]

_CHUNK_ROWS = 500_000
_SUFFIXES = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".gz": "csv", ".parquet": "parquet", ".pq": "parquet"}


def read_source(project: Project, source: str, *, query: str = "") -> Iterator[pl.DataFrame]:
    """The rows of a source, in chunks, with every column as the source has it (CSV columns as text).

    Args:
        project: the project; relative paths start at its root.
        source: a path or glob of CSV or Parquet files, a database URL, or ``"module:function"``.
        query: the SQL query, for a database.

    Raises:
        DataError: the source has nothing, or cannot be read.
        SettingsError: the source cannot be understood.
        UnavailableError: the database does not answer.
    """
    if "://" in source:
        yield from _read_database(source, query)
    elif _is_object(source):
        yield from _call(project, source)
    else:
        for path in source_files(project, source):
            yield from read_file(path)


def source_files(project: Project, source: str) -> list[Path]:
    """The files that a path or glob names, in sorted order.

    Raises:
        DataError: there are none.
    """
    path = Path(source).expanduser()
    base = path if path.is_absolute() else project.root / path
    if base.is_file():
        return [base]
    anchor = Path(base.anchor)
    found = sorted(each for each in anchor.glob(str(base.relative_to(anchor))) if each.is_file())
    if found:
        return found
    folder = base.parent
    names = [each.name for each in folder.iterdir() if each.is_file()] if folder.is_dir() else []
    raise DataError(
        "source_missing",
        f"there is no file {source!r} below {project.root}",
        hint=nearest(base.name, names) if names else "check data.source",
        path="data.source",
    )


def source_stamp(project: Project, source: str) -> tuple[Any, ...] | None:
    """What changes when a source's files do (paths, sizes, times); ``None`` for a source without files."""
    if not is_of_files(source):
        return None
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in source_files(project, source))


def is_of_files(source: str) -> bool:
    """Whether a source is a path or glob, no database and no function."""
    return "://" not in source and not _is_object(source)


def _is_object(source: str) -> bool:
    module, colon, name = source.partition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def read_file(path: Path) -> Iterator[pl.DataFrame]:
    """The rows of one CSV or Parquet file, in chunks; CSV columns as text.

    Raises:
        DataError: the file is neither, or cannot be read.
    """
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            "source_format",
            f"{path.name} is neither CSV nor Parquet",
            hint=f"known endings: {', '.join(sorted(_SUFFIXES))}",
            path=str(path),
        )
    try:
        if kind == "parquet":
            yield from _batches(pl.scan_parquet(path, glob=False))
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            # all as text: the contract decides what a column is, and codes such as 00123 keep their zeros
            yield from _batches(pl.scan_csv(path, infer_schema=False, separator=separator, glob=False))
    except pl.exceptions.NoDataError:
        return
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            "source_unreadable", f"{path.name} cannot be read: {error}", hint="is the file whole?", path=str(path)
        ) from error


def _batches(file: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """A file's rows in its own order, of which memory holds a few batches at a time."""
    yield from file.collect_batches(chunk_size=_CHUNK_ROWS, maintain_order=True)


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    yield from frame.iter_slices(_CHUNK_ROWS)


def _read_database(url: str, query: str) -> Iterator[pl.DataFrame]:
    if not query.strip():
        raise SettingsError(
            "query_missing",
            "the source is a database, but there is no query",
            hint='data.query = "SELECT ..."',
            path="data.query",
        )
    engine = _engine(url)
    try:
        with engine.connect().execution_options(stream_results=True, yield_per=_CHUNK_ROWS) as connection:
            result = connection.execute(text(query))
            names = list(result.keys())
            for part in result.partitions(_CHUNK_ROWS):
                yield pl.DataFrame([tuple(row) for row in part], schema=names, orient="row", infer_schema_length=None)
    except SQLAlchemyError as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise UnavailableError(
            "source_database",
            f"the query on {shown} failed: {getattr(error, 'orig', None) or error}",
            hint="is the database running, and the query right?",
            path="data.query",
        ) from error
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    try:
        return create_engine(url)
    except (ArgumentError, NoSuchModuleError) as error:
        raise SettingsError(
            "source_url", f"{url!r} is not a database URL: {error}", hint="sqlite:///file.db", path="data.source"
        ) from error
    except ModuleNotFoundError as error:
        raise SettingsError(
            "source_driver",
            f"the driver {error.name!r} is not installed",
            hint="pip install 'everloop[postgres]'",
            path="data.source",
        ) from error


def _call(project: Project, source: str) -> Iterator[pl.DataFrame]:
    function = load_object(source, root=project.root)
    if not callable(function):
        raise SettingsError("source_function", f"{source} is no function", hint="", path="data.source")
    takes_project = bool(inspect.signature(function).parameters)
    made = function(project) if takes_project else function()
    if isinstance(made, Iterator | list | tuple):
        parts: Iterable[Any] = made
    else:
        parts = (made,)
    for part in parts:
        yield from _slices(_to_frame(part, source))


def _to_frame(part: Any, source: str) -> pl.DataFrame:
    if isinstance(part, pl.DataFrame):
        return part
    if isinstance(part, pl.LazyFrame):
        return part.collect()
    if (
        hasattr(part, "__arrow_c_stream__")
        or hasattr(part, "__dataframe__")
        or type(part).__module__.startswith("pandas")
    ):
        return pl.DataFrame(part) if hasattr(part, "__arrow_c_stream__") else pl.from_pandas(part)
    raise DataError(
        "source_frame",
        f"{source} gave a {type(part).__name__}, not a frame",
        hint="return a polars, pandas or pyarrow frame, or an iterator of them",
        path="data.source",
    )
