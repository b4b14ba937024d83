"""From the table to what models and monitors see: the panel up to a cutoff, and the truth of a window."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl

from everloop.core.errors import DataError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data import table
from everloop.data.calendar import with_calendar
from everloop.data.cleaning.marking import memory_of, with_marks
from everloop.data.panel import Panel, join_key
from everloop.data.panel_reader import PanelReader
from everloop.data.table import DatasetVersion
from everloop.data.table_columns import INGESTED_AT, KNOWN_AT, Columns

__all__ = ["load_panel", "truth", "unscored"]


def load_panel(
    project: Project, *, version: int | None = None, cutoff: datetime | None = None, history: int = 0, horizon: int
) -> tuple[Panel, DatasetVersion]:
    """The panel of a dataset version.

    Args:
        project: the project.
        version: the version's number; the newest by default.
        cutoff: the last instant that may be known; by default the last with any target. Nothing after it enters
            but known-ahead values.
        history: how many periods up to the cutoff are read; 0 means all.
        horizon: how many periods of known-ahead values are wanted.

    Raises:
        DataError: there are no data, or none by the cutoff, or known-ahead values are missing where the settings
            say that this is an error.
    """
    settings = project.settings.data
    dataset = table.head(project.table, version)
    if dataset is None:
        raise DataError("no_data", "there are no data yet", hint="bring some: everloop ingest")
    columns = Columns.of_observations(settings)
    start = table.earliest(project.table, settings.time)
    frequency = Frequency.parse(settings.frequency)
    if start is not None:
        frequency = frequency.anchored_for(start)
    end = frequency.index_of(cutoff) if cutoff is not None else _last_index(project, dataset, frequency)
    # marks depend on what came before, so that as much more is read for them
    is_marked = settings.cleaning.is_active
    before = memory_of(frequency, settings.cleaning) if is_marked else 0
    begin = end - history - before + 1 if history else None
    reader = PanelReader(settings, columns, frequency, begin=begin, cutoff=end, horizon=horizon)
    first = "" if begin is None else str(frequency.times(np.array([begin]))[0])[:7]
    for _, rows in table.read_periods(project.table, version=dataset.version, columns=reader.noted, first=first):
        reader.note(rows)
    for _, rows in table.read_periods(project.table, version=dataset.version, columns=columns.all, first=first):
        reader.take(rows)
    if table.head(project.future_table) is not None:
        ahead = Columns.of_future(settings)
        for _, rows in table.read_periods(project.future_table, columns=ahead.all, first=first):
            reader.take_ahead(rows)
    panel = reader.panel()
    if is_marked:
        panel = with_marks(panel, settings.cleaning)
        panel = panel.since(end - history + 1) if history else panel
    if settings.calendar:
        panel = with_calendar(panel, settings.calendar, root=project.root, horizon=horizon)
    if settings.missing_ahead == "error":
        _refuse_missing(panel, horizon)
    return panel, dataset


def truth(project: Project, *, since: datetime, version: int | None = None) -> pl.DataFrame:
    """The known targets of instants at or after ``since``.

    Returns:
        A frame of ``series`` (text), ``time``, ``actual``, ``ingested_at`` (last changed) and ``known_at`` (first
        known), each instant in microseconds without a zone.
    """
    settings = project.settings.data
    empty = pl.DataFrame(
        schema={
            "series": pl.String,
            "time": pl.Datetime("us"),
            "actual": pl.Float64,
            "ingested_at": pl.Datetime("us"),
            "known_at": pl.Datetime("us"),
        }
    )
    if table.head(project.table, version) is None:
        return empty
    start = since.astimezone(UTC).replace(tzinfo=None)
    names = [*settings.series, settings.time, settings.target, INGESTED_AT, KNOWN_AT]
    parts = [empty]
    for _, rows in table.read_periods(project.table, version=version, columns=names, first=f"{start:%Y-%m}"):
        known = rows.filter((pl.col(settings.time) >= start) & pl.col(settings.target).is_not_null())
        parts.append(
            known.select(
                _key_text(settings.series).alias("series"),
                pl.col(settings.time).alias("time"),
                pl.col(settings.target).alias("actual"),
                pl.col(INGESTED_AT).alias("ingested_at"),
                pl.col(KNOWN_AT).alias("known_at"),
            )
        )
    return pl.concat(parts)


def unscored(project: Project, *, since: datetime, version: int | None = None) -> pl.DataFrame:
    """The series and instants at or after ``since`` whose targets are known but judge no forecast.

    Returns:
        A frame of ``series`` (text) and ``time``, as :func:`truth` has them; see ``data.cleaning`` for what is left
        out. Empty where the settings leave nothing out.
    """
    settings = project.settings.data
    none = pl.DataFrame(schema={"series": pl.String, "time": pl.Datetime("us")})
    dataset = table.head(project.table, version) if settings.cleaning.is_active else None
    latest = table.last_known(project.table, settings.time, settings.target, version=version) if dataset else None
    if latest is None:
        return none
    frequency = Frequency.parse(settings.frequency)
    start = table.earliest(project.table, settings.time)
    frequency = frequency if start is None else frequency.anchored_for(start)
    periods = frequency.index_of(latest) - frequency.index_of(since) + 1
    if periods <= 0:
        return none
    panel, _ = load_panel(project, version=version, history=periods, horizon=0)
    if panel.marks is None:
        return none
    rows = panel.marks.unscored
    names = np.array([join_key(key) for key in panel.keys], dtype=object)[panel.series_of_rows()[rows]]
    times = panel.frequency.times(panel.index_of_rows()[rows])
    return pl.DataFrame({"series": names.tolist(), "time": times}, schema=none.schema)


def _key_text(series: list[str]) -> pl.Expr:
    """What :func:`everloop.data.panel.join_key` gives, for a whole column."""
    escaped = [
        pl.col(name).str.replace_all("%", "%25", literal=True).str.replace_all("/", "%2F", literal=True)
        for name in series
    ]
    return pl.concat_str(escaped, separator="/")


def _last_index(project: Project, dataset: DatasetVersion, frequency: Frequency) -> int:
    """The grid index of the last known target."""
    settings = project.settings.data
    latest = table.last_known(project.table, settings.time, settings.target, version=dataset.version)
    if latest is None:
        raise DataError("no_target", f"no row has a {settings.target!r} yet", hint="is data.target the right column?")
    return frequency.index_of(latest)


def _refuse_missing(panel: Panel, horizon: int) -> None:
    for name, block in panel.future.columns.items():
        missing = np.isnan(block[:, :horizon])
        if missing.any():
            series, step = (int(each[0]) for each in np.nonzero(missing))
            day = panel.frequency.label(panel.ahead(step + 1)[step])
            raise DataError(
                "known_ahead_missing",
                f"{name!r} of series {join_key(panel.keys[series])!r} is not known for {day}",
                hint="add it to the source or to data.future_source, or set data.missing_ahead = 'last'",
                path=f"data.known_ahead.{name}",
            )
