"""From the project's table to summaries: a month is read again only when its content has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.digest import digest_json
from everloop.core.errors import SettingsError, nearest
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.core.settings.whole import Settings
from everloop.data import table
from everloop.data.table_columns import Columns
from everloop.monitor.drift.summaries import ALL, Counts, Moments, Summary, join_summaries
from everloop.store.drift import SummaryRow, keep_summaries, summaries_of
from everloop.store.engine import Store

__all__ = ["Watched", "period_days", "period_of", "summarize_rows", "summarize_table", "watched_columns"]

_MOST_CATEGORIES = 200
"""A text column with more values than this in a month is an identifier rather than a category."""
_MONDAY = 3
"""Days from the first of January 1970, a Thursday, back to a Monday."""
_FORMAT = 1
_NO_GROUP = "(none)"


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched in a table.

    Attributes:
        columns: the target and the covariates, as the table has them.
        texts: those of them that are text.
        group: the column by whose values is also told; empty for none.
        max_groups: the most of these values.
        time: the time column.
        days: how many days a period has.
    """

    columns: tuple[str, ...]
    texts: frozenset[str]
    group: str
    max_groups: int
    time: str
    days: int

    @property
    def source(self) -> str:
        """The name under which summaries of this are kept: others would be made from other settings."""
        said = [_FORMAT, self.columns, sorted(self.texts), self.group, self.max_groups, self.time, self.days]
        return f"table:{digest_json(said)[:32]}"


def period_days(settings: Settings) -> int:
    """How many days one observation of drift covers: 1 or 7; 0 where the data's step is longer than a week."""
    step = Frequency.parse(settings.data.frequency).step_us if settings.project.task == "forecasting" else 0
    day = 86_400_000_000
    if step > 7 * day:
        return 0
    return 7 if step > day or settings.monitor.period == "1w" else 1


def period_of(day: int, days: int) -> int:
    """The first day of the period that a day (since 1970) lies in; weeks begin on Monday.

    >>> period_of(15_000, 1), period_of(4, 7), period_of(10, 7), period_of(11, 7)
    (15000, 4, 4, 11)
    """
    return day if days == 1 else (day + _MONDAY) // 7 * 7 - _MONDAY


def watched_columns(project: Project) -> Watched:
    """What is watched in the project's table: the target, known-ahead and observed columns.

    Static columns do not change within a series; what changes there is the assortment.

    Raises:
        SettingsError: ``monitor.groups`` names no series or static column, or ``monitor.leave_out`` no column.
    """
    settings = project.settings
    data, monitor = settings.data, settings.monitor
    possible = [*data.series, *data.static]
    if monitor.groups and monitor.groups not in possible:
        raise SettingsError(
            "setting_column",
            f"monitor.groups = {monitor.groups!r} is no series or static column",
            hint=nearest(monitor.groups, possible),
            path="monitor.groups",
        )
    names = [data.target, *(name for name in Columns.of_observations(data).others if name not in data.static)]
    unknown = [name for name in monitor.leave_out if name not in names]
    if unknown:
        raise SettingsError(
            "setting_column",
            f"monitor.leave_out names {unknown[0]!r}, which is not among the watched columns",
            hint=nearest(unknown[0], names),
            path="monitor.leave_out",
        )
    types = table.schema(project.table)
    kept = tuple(name for name in names if name in types and name not in monitor.leave_out)
    return Watched(
        columns=kept,
        texts=frozenset(name for name in kept if types[name] == pl.String()),
        group=monitor.groups if monitor.groups in types else "",
        max_groups=monitor.max_groups,
        time=data.time,
        days=period_days(settings),
    )


def summarize_table(project: Project, store: Store, watched: Watched, *, until: datetime) -> Summary:
    """The summary of everything in the table before an instant, from kept summaries as far as they still hold.

    Args:
        project: the project.
        store: where summaries are kept.
        watched: what is watched.
        until: rows at or after this instant are left out.
    """
    end = until.astimezone(UTC).replace(tzinfo=None)
    digests = table.month_digests(project.table)
    # only the month of the end can hold rows after it: its summary holds for this end alone
    wanted = {month: digest for month, digest in digests.items() if month <= f"{end:%Y-%m}"}
    with store.read() as tx:
        kept = summaries_of(tx, watched.source)
    parts: dict[str, Summary] = {}
    fresh: dict[str, SummaryRow] = {}
    for month, digest in wanted.items():
        stamp = digest if month < f"{end:%Y-%m}" else digest_json([digest, f"{end:%Y-%m-%dT%H}"])
        row = kept.get(month)
        if row is not None and row.digest == stamp:
            parts[month] = Summary.unpack(row.content)
            continue
        parts[month] = _summarize_month(project, watched, month, end)
        fresh[month] = SummaryRow(month, stamp, parts[month].pack())
    if fresh:
        with store.write() as tx:
            keep_summaries(tx, watched.source, fresh)
    return join_summaries(parts.values())


def _summarize_month(project: Project, watched: Watched, month: str, end: datetime) -> Summary:
    names = list(dict.fromkeys([watched.time, *([watched.group] if watched.group else []), *watched.columns]))
    frames = table.read_month(project.table, month, columns=names)
    return summarize_rows(frames.filter(pl.col(watched.time) < end), watched)


def summarize_rows(rows: pl.DataFrame, watched: Watched) -> Summary:
    """The summary of some rows."""
    day = pl.col(watched.time).dt.epoch("d").cast(pl.Int64)
    period = day if watched.days == 1 else (day + _MONDAY).floordiv(7) * 7 - _MONDAY
    # the names of columns are the user's, these cannot be among them: no column begins with a NUL
    frame = rows.with_columns(period.alias("\0period"))
    periods = frame["\0period"].unique().sort().to_numpy().astype(np.int64)
    numbers = _moments(frame, watched, periods)
    categories = {
        column: counts
        for column in watched.columns
        if column in watched.texts and (counts := _counts(frame, column, periods)) is not None
    }
    return Summary(periods, numbers, categories)


def _moments(frame: pl.DataFrame, watched: Watched, periods: NDArray[np.int64]) -> dict[tuple[str, str], Moments]:
    """The moments of every column, by group and together; of a text column the number of known values alone.

    Sums are made row by row in the table's order, so that they are the same to the last bit on every machine.
    """
    names = sorted(set(frame[watched.group].fill_null(_NO_GROUP).to_list())) if watched.group else [ALL]
    period = np.searchsorted(periods, frame["\0period"].to_numpy())
    cell = period * len(names)
    if watched.group:
        group = frame[watched.group].fill_null(_NO_GROUP).cast(pl.Enum(names)).to_physical().to_numpy()
        cell = cell + group.astype(np.int64)

    def sums(weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        size = len(periods) * len(names)
        return np.bincount(cell, weights, minlength=size).reshape(len(periods), len(names)).astype(np.float64)

    rows = sums()
    kept = _largest(names, rows.sum(axis=0), watched.max_groups) if watched.group else []
    places = [names.index(each) for each in kept]
    made: dict[tuple[str, str], Moments] = {}
    for name in watched.columns:
        if name in watched.texts:
            values = np.zeros(frame.height)
            is_known = frame[name].is_not_null().to_numpy()
        else:
            values = np.arcsinh(frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy())
            is_known = np.isfinite(values)
            values = np.where(is_known, values, 0.0)
        found = [rows, sums(is_known.astype(np.float64)), sums(values), sums(values * values)]
        made[name, ALL] = Moments(*(each.sum(axis=1) for each in found))
        for place, group_name in zip(places, kept, strict=True):
            made[name, group_name] = Moments(*(np.ascontiguousarray(each[:, place]) for each in found))
    return made


def _largest(groups: Sequence[str], rows: NDArray[np.float64], most: int) -> list[str]:
    """The groups with most rows, in the order of their names."""
    total = dict(zip(groups, rows.tolist(), strict=True))
    return sorted(sorted(total, key=lambda name: (-total[name], name))[:most])


def _counts(frame: pl.DataFrame, column: str, periods: NDArray[np.int64]) -> Counts | None:
    """The counts of a column's categories; ``None`` for an identifier."""
    found = frame.group_by("\0period", column).agg(pl.len().alias("\0n"))
    names = sorted(name for name in found[column].unique().to_list() if name is not None)
    if len(names) > _MOST_CATEGORIES:
        return None
    counts, rows = np.zeros((len(periods), len(names))), np.zeros(len(periods))
    place = {name: number for number, name in enumerate(names)}
    for period, name, count in found.iter_rows():
        where = int(np.searchsorted(periods, period))
        rows[where] += count
        if name is not None:
            counts[where, place[name]] += count
    return Counts(tuple(names), counts, rows)
