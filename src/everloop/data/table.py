"""The versioned table: Delta Lake, one atomic commit for each change, each version named by its content.

The table is partitioned by month (``_period``). A change reads and writes only the months it touches. Its commit
carries the digest of every month and of the whole, so a version's content can be checked and compared without
reading it; the digest depends on the rows alone, not on their order, on files, or on when they came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from everloop.core.digest import digest_json
from everloop.core.errors import ConflictError, DataError, IntegrityError, NotFoundError
from everloop.data.merging import content_digest, merge_rows
from everloop.data.stack import FrameStack
from everloop.data.table_columns import PERIOD, Columns

__all__ = [
    "DatasetVersion",
    "Merge",
    "Months",
    "as_of",
    "earliest",
    "head",
    "merge",
    "read",
    "read_periods",
    "schema",
    "series",
    "versions",
]

_META = "everloop"
_ATTEMPTS = 5
_INPUTS_KEPT = 8


class Months(Protocol):
    """Rows by month, that can be gone through again."""

    def __iter__(self) -> Iterator[tuple[str, pl.DataFrame]]: ...


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
    table = _open(path, version)
    return None if table is None else _version(table.version(), _description(table))


def versions(path: Path) -> list[DatasetVersion]:
    """All versions of a table, oldest first."""
    table = _open(path)
    if table is None:
        return []
    found = ((number, _commit(table, number)) for number in range(table.version() + 1))
    return [_version(number, each) for number, each in found if each is not None]


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
    """The rows of a version month by month, from month ``first`` on, so that memory holds one month at a time."""
    table = _open(path, version)
    if table is None:
        raise NotFoundError(
            "dataset_missing", f"there is no table in {path}", hint="bring data: everloop ingest", path=str(path)
        )
    for month in sorted(_description(table).months):
        if month >= first:
            yield month, _read_month(table, month, columns)


def schema(path: Path) -> dict[str, pl.DataType]:
    """The columns of the newest version with their types."""
    months = read_periods(path)
    _, first = next(iter(months))
    return dict(first.schema)


def earliest(path: Path, time: str) -> datetime | None:
    """The earliest time in the newest version."""
    for _, frame in read_periods(path, columns=[time]):
        found = frame[time].min()
        return found if isinstance(found, datetime) else None
    return None


def last_known(path: Path, time: str, target: str, *, version: int | None = None) -> datetime | None:
    """The latest time that has a target."""
    opened = _open(path, version)
    months = sorted(_description(opened).months, reverse=True) if opened is not None else []
    for month in months:
        found = _read_month(opened, month, [time, target]).drop_nulls(target)[time].max() if opened else None
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


def merge(path: Path, columns: Columns, months: Months, *, now: datetime) -> Merge:
    """Merge rows into a table, in one atomic commit.

    A row that is there already is corrected by what the new one says; an empty value never overwrites a known
    one. Where nothing changes, no version is made.

    Args:
        path: the table's folder; made where it is missing.
        columns: the table's columns.
        months: the new rows by month (``"2011-12"``), keys unique; each frame may lack value columns. It is
            gone through more than once.
        now: the clock's time.

    Raises:
        ConflictError: others kept changing the same months at the same time.
    """
    for _ in range(_ATTEMPTS):
        try:
            return _merge_once(path, columns, months, now)
        except CommitFailedError:
            continue  # somebody else committed first: merge into what is there now
    raise ConflictError(
        "table_conflict", f"others keep changing the table {path}", hint="try again later", path=str(path)
    )


def _merge_once(path: Path, columns: Columns, months: Months, now: datetime) -> Merge:
    table = _open(path)
    present = _description(table) if table is not None else None
    digests, counts = (dict(present.months), dict(present.counts)) if present else ({}, {})
    inputs = dict(present.inputs) if present else {}
    added = corrected = unchanged = 0
    sources: list[str] = []
    with FrameStack() as touched:
        names: list[str] = []
        for month, rows in months:
            source = content_digest(rows, columns)
            sources.append(source)
            if source in inputs.get(month, ()):
                unchanged += rows.height  # these very rows were merged before
                continue
            inputs[month] = [*inputs.get(month, []), source][-_INPUTS_KEPT:]
            old = _read_month(table, month, None) if table is not None else None
            merged, change = merge_rows(old, rows, columns, now)
            added, corrected, unchanged = (
                added + change.added,
                corrected + change.corrected,
                unchanged + change.unchanged,
            )
            if change.added or change.corrected:
                digests[month], counts[month] = content_digest(merged, columns), merged.height
                touched.push(merged.with_columns(pl.lit(month).alias(PERIOD)))
                names.append(month)
        if not names:
            if table is None or present is None:
                raise DataError("dataset_empty", "there are no rows to make a table of", hint="is the source empty?")
            return Merge(_version(table.version(), present), 0, 0, unchanged, is_changed=False)
        description = _Description(
            digest=digest_json(sorted(digests.items())),
            rows=sum(counts.values()),
            at=now.astimezone(UTC).isoformat(),
            source=digest_json(sources),
            months=digests,
            counts=counts,
            inputs=inputs,
        )
        # the description is of this very version, so the commit may not be moved onto somebody else's
        properties = CommitProperties(custom_metadata={_META: json.dumps(asdict(description))}, max_commit_retries=0)
        if table is None:
            write_deltalake(path, touched.reader(), mode="error", partition_by=[PERIOD], commit_properties=properties)
        else:
            replaced = f"{PERIOD} IN ({', '.join(repr(name) for name in names)})"
            write_deltalake(table, touched.reader(), mode="overwrite", predicate=replaced, commit_properties=properties)
    made = _open(path)
    if made is None:
        raise NotFoundError("dataset_missing", f"the table {path} vanished while it was written")
    return Merge(_version(made.version(), _description(made)), added, corrected, unchanged, is_changed=True)


@dataclass(frozen=True, slots=True)
class _Description:
    """What a commit says of the version it makes; ``inputs`` are the digests of what was last merged by month."""

    digest: str
    rows: int
    at: str
    source: str
    months: dict[str, str]
    counts: dict[str, int]
    inputs: dict[str, list[str]]


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


def _description(table: DeltaTable) -> _Description:
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


def _commit(table: DeltaTable, number: int) -> _Description | None:
    """What one commit says, read from Delta's log (one JSON action a line)."""
    log = Path(unquote(urlparse(table.table_uri).path)) / "_delta_log" / f"{number:020d}.json"
    for line in log.read_text(encoding="utf-8").splitlines():
        info = json.loads(line).get("commitInfo")
        if info and _META in info:
            return _Description(**json.loads(info[_META]))
    return None


def _version(number: int, description: _Description) -> DatasetVersion:
    return DatasetVersion(
        number, description.digest, description.rows, datetime.fromisoformat(description.at), description.source
    )


def _read_month(table: DeltaTable, month: str, columns: list[str] | None) -> pl.DataFrame:
    data = table.to_pyarrow_table(partitions=[(PERIOD, "=", month)], columns=columns)
    frame = pl.from_arrow(data)
    assert isinstance(frame, pl.DataFrame)
    return frame.drop(PERIOD) if PERIOD in frame.columns else frame
