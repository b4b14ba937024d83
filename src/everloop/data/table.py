"""The versioned table: Delta Lake, one atomic commit for each change, each version named by its content.

The table is partitioned by month (``_period``). A change reads and writes only the months it touches. Its commit
carries the digest of every month and of the whole, so a version's content can be checked and compared without
reading it; the digest depends on the rows alone, not on their order, on files, or on when they came.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from everloop.core.digest import digest_json
from everloop.core.errors import ConflictError, DataError, IntegrityError, NotFoundError
from everloop.data.spans import Parts
from everloop.data.stack import FrameStack
from everloop.data.table_columns import PERIOD, Columns
from everloop.data.table_draft import Description, Draft
from everloop.data.table_files import batches_of, files_of, read_files, types_of

__all__ = [
    "DatasetVersion",
    "Merge",
    "Months",
    "as_of",
    "earliest",
    "head",
    "last_known",
    "merge",
    "month_digests",
    "read",
    "read_month",
    "read_periods",
    "schema",
    "series",
    "versions",
]

_META = "everloop"
_ATTEMPTS = 12
_WAIT_SECONDS = 0.02
_OPENED_KEPT = 8
_CONFIGURATION = {"delta.enableExpiredLogCleanup": "false"}
"""Delta drops old entries of its log by default; here they are the versions' description."""


class Months(Protocol):
    """Rows by month, in one part or more; can be gone through again."""

    def __iter__(self) -> Iterator[tuple[str, Parts]]: ...


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """One version of a table.

    Attributes:
        version: Delta's number.
        digest: the digest of its content.
        rows: how many rows it has.
        at: when it was made, by Everloop's clock.
        source: the digest of what was merged to make it.
    """

    version: int
    digest: str
    rows: int
    at: datetime
    source: str


@dataclass(frozen=True, slots=True)
class Merge:
    """What a merge did; ``version`` is the present one, new or not."""

    version: DatasetVersion
    added: int
    corrected: int
    unchanged: int
    is_changed: bool


def head(path: Path, version: int | None = None) -> DatasetVersion | None:
    """A version of a table, by default the newest; ``None`` where there is no table.

    Raises:
        NotFoundError: the table has no such version.
    """
    table = _snapshot(path, version)
    return None if table is None else _version(table.version(), _description(table))


def versions(path: Path) -> list[DatasetVersion]:
    """All versions of a table, oldest first."""
    table = _snapshot(path)
    if table is None:
        return []
    found = ((number, _commit(table, number)) for number in range(table.version() + 1))
    return [_version(number, each) for number, each in found if each is not None]


def month_digests(path: Path, *, version: int | None = None) -> dict[str, str]:
    """The digest of each month's content, in the months' order; none where there is no table."""
    table = _snapshot(path, version)
    return {} if table is None else dict(sorted(_description(table).months.items()))


def as_of(path: Path, instant: datetime) -> DatasetVersion:
    """The version that was the newest at an instant.

    Raises:
        NotFoundError: there was none yet.
    """
    before = [each for each in versions(path) if each.at <= instant]
    if not before:
        raise NotFoundError(
            "dataset_as_of", f"there was no dataset version by {instant.isoformat()}", hint="see: everloop status"
        )
    return before[-1]


def read(path: Path, *, version: int | None = None, columns: list[str] | None = None) -> pl.DataFrame:
    """The rows of a version, sorted by series and time as they were merged.

    Raises:
        NotFoundError: there is no table, or no such version.
    """
    frames = [frame for _, frame in read_periods(path, version=version, columns=columns)]
    return pl.concat(frames) if frames else pl.DataFrame()


def read_periods(
    path: Path, *, version: int | None = None, columns: list[str] | None = None, first: str = ""
) -> Iterable[tuple[str, pl.DataFrame]]:
    """The rows of a version month by month, from month ``first`` on.

    A month of many rows comes in several batches, which follow one another, so that memory holds a part of it.

    Raises:
        NotFoundError: there is no table, or not this version of it.
    """
    table = _snapshot(path, version)
    if table is None:
        raise NotFoundError(
            "dataset_missing", f"there is no table in {path}", hint="bring data: everloop ingest", path=str(path)
        )
    files, types = files_of(table), types_of(table)
    for month in sorted(files):
        if month >= first:
            for batch in batches_of(files[month], columns, types):
                yield month, batch


def read_month(path: Path, month: str, *, columns: list[str] | None = None) -> pl.DataFrame:
    """The rows of one month of the newest version, none where it has no such month."""
    table = _snapshot(path)
    if table is None:
        return pl.DataFrame()
    files, types = files_of(table), types_of(table)
    if month not in files:
        return pl.DataFrame(schema={name: types[name] for name in columns or types})
    return read_files(files[month], columns, types)


def schema(path: Path) -> dict[str, pl.DataType]:
    """The columns of the newest version with their types, none where there is no table."""
    table = _snapshot(path)
    return {} if table is None else types_of(table)


def earliest(path: Path, time: str) -> datetime | None:
    """The earliest time in the newest version."""
    found: datetime | None = None
    first = ""
    for month, frame in read_periods(path, columns=[time]):
        if found is not None and month > first:
            break
        begin = frame[time].min()
        if isinstance(begin, datetime):
            found, first = begin if found is None else min(found, begin), month
    return found


def last_known(path: Path, time: str, target: str, *, version: int | None = None) -> datetime | None:
    """The latest time that has a target."""
    opened = _snapshot(path, version)
    files = files_of(opened) if opened is not None else {}
    for month in sorted(files, reverse=True):
        found = read_files(files[month], [time, target], {}).drop_nulls(target)[time].max()
        if isinstance(found, datetime):
            return found
    return None


def series(path: Path, columns: Columns) -> pl.DataFrame:
    """The series of the newest version, each once."""
    names = list(columns.series)
    found: pl.DataFrame | None = None
    for _, frame in read_periods(path, columns=names):
        part = frame.unique()
        found = part if found is None else pl.concat([found, part]).unique()
    return pl.DataFrame(schema=dict.fromkeys(names, pl.String)) if found is None else found


def merge(path: Path, columns: Columns, months: Months, *, now: datetime, origin: str = "") -> Merge:
    """Merge rows into a table, in one atomic commit.

    A row that is there already is corrected by what the new one says; an empty value never overwrites a known
    one. Where nothing changes, no version is made. A month for which the origin says just what it said last brings
    no news: what others have corrected since then stays.

    Args:
        path: the table's folder; made where it is missing.
        columns: the table's columns.
        months: the new rows by month (``"2011-12"``), keys unique; each frame may lack value columns. It is
            gone through more than once.
        now: the clock's time.
        origin: what the rows come from.

    Raises:
        ConflictError: others kept changing the same months at the same time.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _merge_once(path, columns, months, now, digest_json(origin)[:16])
        except CommitFailedError:
            # somebody else committed first: merge into what is there now, and not in step with other losers
            time.sleep(random.uniform(0, _WAIT_SECONDS * (attempt + 1)))
    raise ConflictError(
        "table_conflict", f"others keep changing the table {path}", hint="try again later", path=str(path)
    )


def _merge_once(path: Path, columns: Columns, months: Months, now: datetime, origin: str) -> Merge:
    table = _open(path)
    present = _description(table) if table is not None else None
    with FrameStack() as touched:
        draft = Draft(columns, now, table, present, touched)
        for month, parts in months:
            draft.take(month, parts, origin)
        if not draft.touched:
            if table is None or present is None:
                raise DataError("dataset_empty", "there are no rows to make a table of", hint="is the source empty?")
            return Merge(_version(table.version(), present), 0, 0, draft.unchanged, is_changed=False)
        # no commit is ever moved behind somebody else's, so this one's number is the next
        number = 0 if table is None else table.version() + 1
        description = draft.description()
        _write(path, table, draft, description)
    version = _version(number, description)
    return Merge(version, draft.added, draft.corrected, draft.unchanged, is_changed=True)


def _write(path: Path, table: DeltaTable | None, draft: Draft, description: Description) -> None:
    """Commit the touched months.

    Raises:
        CommitFailedError: somebody else committed first.
    """
    said = json.dumps(asdict(description))
    # the description is of this very version, so the commit may not be moved onto somebody else's
    properties = CommitProperties(custom_metadata={_META: said}, max_commit_retries=0)
    rows = draft.stack.reader()
    if table is not None:
        months = ", ".join(repr(name) for name in draft.touched)
        write_deltalake(
            table,
            rows,
            mode="overwrite",
            predicate=f"{PERIOD} IN ({months})",
            schema_mode="merge",
            commit_properties=properties,
        )
        return
    try:
        write_deltalake(
            path,
            rows,
            mode="error",
            partition_by=[PERIOD],
            configuration=_CONFIGURATION,
            commit_properties=properties,
        )
    except DeltaError as error:
        if _open(path) is None:
            raise
        raise CommitFailedError(str(error)) from error  # somebody else made the table meanwhile


_opened: dict[tuple[Path, int | None], tuple[Any, DeltaTable]] = {}


def _snapshot(path: Path, version: int | None = None) -> DeltaTable | None:
    """A version to read from. One that this process has opened is used again as long as Delta's log is the same."""
    log = path / "_delta_log"
    try:
        names = [name for name in os.listdir(log) if name[0].isdigit()]  # noqa: PTH208  # plain names are quicker
        newest = (log / max(names)).stat()
    except (FileNotFoundError, ValueError):
        return _open(path, version)
    stamp = (len(names), newest.st_ino, newest.st_mtime_ns)
    held = _opened.get((path, version))
    if held is not None and held[0] == stamp:
        return held[1]
    table = _open(path, version)
    if table is not None:
        if len(_opened) >= _OPENED_KEPT:
            _opened.pop(next(iter(_opened)))
        _opened[path, version] = (stamp, table)
    return table


def _open(path: Path, version: int | None = None) -> DeltaTable | None:
    try:
        return DeltaTable(path, version=version)
    except TableNotFoundError:
        return None
    except DeltaError as error:
        raise NotFoundError(
            "dataset_version",
            f"the table {path} has no version {version}" if version is not None else f"{path} cannot be read: {error}",
            hint="see: everloop status",
            path=str(path),
        ) from error


def _description(table: DeltaTable) -> Description:
    """What the newest commit of Everloop's, up to the table's version, says."""
    for number in range(table.version(), -1, -1):
        found = _commit(table, number)
        if found is not None:
            return found
    raise IntegrityError(
        "dataset_foreign",
        f"the table {table.table_uri} was not made by Everloop",
        hint="give the project a data folder of its own",
    )


def _commit(table: DeltaTable, number: int) -> Description | None:
    """What one commit says, read from Delta's log (one JSON action a line)."""
    log = Path(unquote(urlparse(table.table_uri).path)) / "_delta_log" / f"{number:020d}.json"
    for line in log.read_text(encoding="utf-8").splitlines():
        info = json.loads(line).get("commitInfo")
        if info and _META in info:
            return Description(**json.loads(info[_META]))
    return None


def _version(number: int, description: Description) -> DatasetVersion:
    return DatasetVersion(
        number, description.digest, description.rows, datetime.fromisoformat(description.at), description.source
    )
