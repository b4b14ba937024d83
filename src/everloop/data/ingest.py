"""Ingestion: from a source, through the contract, into the table, in one atomic commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from everloop.core.clock import Clock
from everloop.core.digest import digest_json
from everloop.core.errors import DataError
from everloop.core.files import sync_tree
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data import table
from everloop.data.conforming import conform, decide_types
from everloop.data.contract import REASONS, Contract, warnings_of
from everloop.data.receipts import Receipt, find_receipt, keep_receipt, origin_of
from everloop.data.sources import read_source, source_stamp
from everloop.data.stack import MonthSpill, bytes_of
from everloop.data.table import DatasetVersion
from everloop.data.table_columns import Columns
from everloop.data.unique_months import UniqueMonths

__all__ = ["IngestResult", "ingest", "ingest_frame"]

_CACHED_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What an ingestion did.

    Attributes:
        version: the dataset version after it.
        added: new rows.
        corrected: rows that now say something else.
        unchanged: rows that were there as they are.
        quarantined: bad rows.
        reasons: how many rows had each reason.
        warnings: what is to be said of the whole.
        changed: whether there is a new version.
    """

    version: DatasetVersion
    added: int
    corrected: int
    unchanged: int
    quarantined: int
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    changed: bool = False


def ingest(project: Project, clock: Clock, *, source: str | None = None, until: datetime | None = None) -> IngestResult:
    """Bring the project's source into its table, and its second source into the table of known-ahead values.

    Files that did not change since they were taken in, into a table that did not change either, are not read again.

    Args:
        project: the project.
        clock: the time.
        source: another source than ``data.source``.
        until: hide what is dated later, as a replay does: of later rows only known-ahead values are seen.

    Raises:
        DataError: the source is missing, unreadable or empty, lacks a column, or has too many bad rows; the table
            is as it was.
    """
    settings = project.settings.data
    name = source or settings.source
    chunks = _chunks(project, name, settings.query)
    # a replay shows an unchanged source day by day: what it has shown before need not be looked at again
    walk = (source_stamp(project, name), project.table)
    since = _shown.get(walk) if until is not None and walk[0] is not None and table.head(project.table) else None
    columns = Columns.of_observations(settings)
    run = _Ingestion(project, clock, columns, until=until, since=since, origin=name, is_source=until is None)
    result = run.run(chunks, project.table)
    if until is not None:
        _shown[walk] = until
    if settings.future_source and source is None:
        ahead = _chunks(project, settings.future_source, settings.future_query)
        columns = Columns.of_future(settings)
        second = _Ingestion(project, clock, columns, until=None, origin=settings.future_source, is_source=True)
        second.run(ahead, project.future_table)
    return result


def ingest_frame(project: Project, clock: Clock, frame: pl.DataFrame, *, label: str) -> IngestResult:
    """Bring rows at hand into the table; columns may be missing beside the key.

    Args:
        project: the project.
        clock: the time.
        frame: the rows.
        label: where they come from, for messages.

    Raises:
        DataError: too many of them are bad; the table is as it was.
    """
    columns = Columns.of_observations(project.settings.data)
    return _Ingestion(project, clock, columns, until=None, partial=True, label=label).run([frame], project.table)


_cache: dict[tuple[Any, ...], list[pl.DataFrame]] = {}
_shown: dict[tuple[tuple[Any, ...] | None, Path], datetime] = {}


def _chunks(project: Project, source: str, query: str) -> Iterable[pl.DataFrame]:
    """A source's rows; small files that did not change are kept in memory, since a loop reads them every day."""
    stamp = source_stamp(project, source)
    if stamp is None:
        return read_source(project, source, query=query)
    if stamp in _cache:
        return _cache[stamp]
    return _remembered(read_source(project, source, query=query), stamp)


def _remembered(chunks: Iterator[pl.DataFrame], stamp: tuple[Any, ...]) -> Iterator[pl.DataFrame]:
    kept: list[pl.DataFrame] | None = []
    size = 0
    for chunk in chunks:
        size += bytes_of(chunk)
        if kept is not None and size <= _CACHED_BYTES:
            kept.append(chunk)
        else:
            kept = None
        yield chunk
    if kept is not None:
        _cache.clear()
        _cache[stamp] = kept


class _Ingestion:
    """One run of rows through conforming, the contract and the merge."""

    def __init__(
        self,
        project: Project,
        clock: Clock,
        columns: Columns,
        *,
        until: datetime | None,
        since: datetime | None = None,
        partial: bool = False,
        label: str = "source",
        origin: str = "",
        is_source: bool = False,
    ) -> None:
        self.project = project
        self.columns = columns
        self.partial = partial
        self.label = label
        self.origin = origin or label
        self.is_source = is_source
        self.now = clock.now()
        self.until = None if until is None else until.astimezone(UTC).replace(tzinfo=None)
        self.since = None if since is None else since.astimezone(UTC).replace(tzinfo=None)
        self.settings = project.settings.data.contract
        self.bad: list[pl.DataFrame] = []
        self.rows = 0
        self.gaps = 0
        self.newest: datetime | None = None
        self.lacks_targets = False

    def run(self, chunks: Iterable[pl.DataFrame], path: Any) -> IngestResult:
        """Take in all chunks, then merge them in one commit."""
        before = table.head(path)
        source = origin_of(self.project, self.origin) if self.is_source else None
        if before is not None and source is not None:
            receipt = find_receipt(path, source, before.digest)
            if receipt is not None:
                return self._taken_before(receipt, before, path)
        spill = MonthSpill(self.columns)
        try:
            contract: Contract | None = None
            is_number: dict[str, bool] = {}
            for raw in chunks:
                if contract is None:
                    is_number = self._types(raw, path, has_table=before is not None)
                    contract = self._contract(raw, path, is_number, has_table=before is not None)
                self._take(raw, contract, is_number, spill)
            if contract is None or not self.rows:
                return self._nothing(before)
            months = UniqueMonths(spill, self.columns)
            for contradicted in months.contradictions():
                self._set_aside(
                    contradicted, pl.Series([["duplicate"]] * contradicted.height, dtype=pl.List(pl.String))
                )
            reasons = self._judge()
            merged = table.merge(path, self.columns, months, now=self.now, origin=self.origin)
            gaps = self._count_gaps(months)
            if source is not None and not self.bad and not self.lacks_targets:
                rows = merged.added + merged.corrected + merged.unchanged
                keep_receipt(path, Receipt(source, merged.version.digest, rows, self.newest, gaps))
            return IngestResult(
                version=merged.version,
                added=merged.added,
                corrected=merged.corrected,
                unchanged=merged.unchanged,
                quarantined=sum(frame.height for frame in self.bad),
                reasons=reasons,
                warnings=warnings_of(self.settings, contract.frequency, self.now, newest=self.newest, gaps=gaps),
                changed=merged.is_changed,
            )
        finally:
            spill.close()

    def _taken_before(self, receipt: Receipt, before: DatasetVersion, path: Path) -> IngestResult:
        """What taking the same rows in again would say."""
        frequency = self._frequency(table.earliest(path, self.columns.time))
        warnings = warnings_of(self.settings, frequency, self.now, newest=receipt.newest, gaps=receipt.gaps)
        return IngestResult(before, 0, 0, receipt.rows, 0, warnings=warnings)

    def _take(self, raw: pl.DataFrame, contract: Contract, is_number: dict[str, bool], spill: MonthSpill) -> None:
        conformed = conform(raw, self.columns, is_number, partial=self.partial)
        if self.until is not None:
            conformed = self._hide_later(conformed)
        self.rows += conformed.rows.height
        if not conformed.rows.height:
            return
        reasons = contract.reasons(conformed)
        is_bad = reasons.list.len() > 0
        if is_bad.any():
            self._set_aside(conformed.raw.filter(is_bad), reasons.filter(is_bad))
        good = conformed.rows.filter(~is_bad)
        if good.height:
            spill.add(good)
            known = good.filter(pl.col(self.columns.target).is_not_null()) if self.columns.target else good
            self.lacks_targets |= known.height < good.height
            latest = known[self.columns.time].max()
            if isinstance(latest, datetime):
                self.newest = latest if self.newest is None else max(self.newest, latest)

    def _hide_later(self, conformed: Any) -> Any:
        """What was not known at ``until``: later rows, of which only the known-ahead values stay."""
        time = self.columns.time
        settings = self.project.settings
        is_later = pl.col(time) > self.until
        if self.columns.target is None or not settings.data.known_ahead:
            keep = conformed.rows.select((~is_later).fill_null(True)).to_series()
        else:
            horizon = Frequency.parse(settings.data.frequency).step_us * settings.forecast.horizon
            assert self.until is not None
            reach = self.until + timedelta(microseconds=horizon + 1)
            keep = conformed.rows.select((pl.col(time) <= reach).fill_null(True)).to_series()
        present = set(conformed.rows.columns)
        if self.since is not None:
            keep &= conformed.rows.select((pl.col(time) > self.since).fill_null(False)).to_series()
        ahead = {*settings.data.known_ahead, *settings.data.static}
        observed = [name for name in self.columns.others if name not in ahead]
        hidden = [name for name in (self.columns.target, *observed) if name and name in present]
        rows = conformed.rows.with_columns(
            pl.when(is_later.fill_null(False)).then(None).otherwise(pl.col(name)).alias(name) for name in hidden
        ).filter(keep)
        unreadable = {name: bad.filter(keep) for name, bad in conformed.unreadable.items()}
        return type(conformed)(rows, conformed.raw.filter(keep), unreadable)

    def _types(self, raw: pl.DataFrame, path: Any, *, has_table: bool) -> dict[str, bool]:
        decided = decide_types(raw, self.columns, self.settings)
        if has_table:
            schema = table.schema(path)
            decided.update({name: schema[name] == pl.Float64 for name in self.columns.others if name in schema})
        return decided

    def _contract(self, raw: pl.DataFrame, path: Any, is_number: dict[str, bool], *, has_table: bool) -> Contract:
        sample = conform(raw.head(1000), self.columns, is_number, partial=self.partial).rows[self.columns.time]
        frequency = self._frequency(table.earliest(path, self.columns.time) if has_table else sample.min())
        known = None
        if has_table and self.settings.unknown_series == "quarantine":
            known = table.series(path, self.columns)
        return Contract(self.settings, self.columns, frequency, is_number=is_number, now=self.now, known=known)

    def _frequency(self, earliest: Any) -> Frequency:
        """The settings' grid, anchored for the earliest time where there is one."""
        frequency = Frequency.parse(self.project.settings.data.frequency)
        return frequency.anchored_for(earliest) if isinstance(earliest, datetime) else frequency

    def _set_aside(self, rows: pl.DataFrame, reasons: pl.Series) -> None:
        texts = rows.select(pl.all().cast(pl.String, strict=False))
        self.bad.append(texts.with_columns(reasons.alias(REASONS)))

    def _judge(self) -> dict[str, int]:
        """Write the quarantine; stop where too many rows are in it."""
        if not self.bad:
            return {}
        bad = pl.concat(self.bad, how="diagonal")
        counts = bad[REASONS].explode().value_counts(sort=True)
        reasons = {str(name): int(count) for name, count in counts.iter_rows()}
        self.project.quarantine.mkdir(parents=True, exist_ok=True)
        # named by its content: the same bad rows twice are one file
        texts = bad.with_columns(pl.col(REASONS).list.join(" ")).sort(pl.all())
        name = digest_json(texts.rows())[:16]
        target = self.project.quarantine / f"{name}.parquet"
        if not target.exists():
            partial = target.with_suffix(".partial")
            bad.write_parquet(partial)
            partial.rename(target)
            sync_tree(self.project.quarantine)
        share = bad.height / self.rows
        if share > self.settings.max_bad_share:
            listed = ", ".join(f"{reason} {count}" for reason, count in list(reasons.items())[:6])
            raise DataError(
                "too_many_bad_rows",
                f"{bad.height} of {self.rows} rows of the {self.label} are bad ({share:.1%}): {listed}; "
                "the table is as it was",
                hint=f"look at {target}; the limit is data.contract.max_bad_share = {self.settings.max_bad_share:g}",
                path=str(target),
            )
        return reasons

    def _count_gaps(self, months: UniqueMonths) -> int:
        """Holes inside series that are longer than the contract allows."""
        if not self.settings.max_gap:
            return 0
        step = Frequency.parse(self.project.settings.data.frequency).step_us
        names = list(self.columns.series)
        holes = 0
        latest: pl.DataFrame | None = None  # of each series so far
        for _, parts in months:
            for part in parts:
                keys = part.rows.select(self.columns.key)
                before = keys.clear() if latest is None else latest.join(keys, on=names, how="semi")
                ordered = pl.concat([before, keys]).sort(self.columns.key)
                steps = pl.col(self.columns.time).diff().over(names).dt.total_microseconds() // step
                holes += int(ordered.select((steps - 1 > self.settings.max_gap).sum()).item())
                others = keys.clear() if latest is None else latest.join(keys, on=names, how="anti")
                newest = ordered.unique(subset=names, keep="last", maintain_order=True)
                latest = pl.concat([others, newest])
        return holes

    def _nothing(self, before: DatasetVersion | None) -> IngestResult:
        if before is None:
            raise DataError(
                "source_empty", f"the {self.label} has no rows", hint="check data.source", path="data.source"
            )
        return IngestResult(before, 0, 0, 0, 0)
