"""A batch summed to totals: its forecasts add up, and the totals have intervals of their own.

The rows of totals name their level in ``sum_by`` and have a column for each column of any level, which is empty where
a level sums over it. They go where a batch goes, by the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import NotFoundError, UsageError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.data.panel import Panel, join_key
from everloop.data.totals import Grouping, grouping, level_columns, level_name
from everloop.models.total_errors import TotalErrors
from everloop.release.bundle import open_release
from everloop.release.manifest import Manifest
from everloop.serve.batch.making import Batch
from everloop.serve.batch.rows import BatchRows
from everloop.store.values import ForecastValues
from everloop.validate.reconciling import Reconciliation
from everloop.validate.totals import PastWindows, read_windows, units, units_memory

__all__ = ["SUM_BY", "total_rows"]

SUM_BY = "sum_by"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Sources:
    """What the totals of a batch are made from.

    Attributes:
        panel: the series' history.
        rows: the series of the panel that each of the batch's is, shape ``(n,)``.
        windows: past forecasts beside what came.
    """

    panel: Panel
    rows: NDArray[np.int64]
    windows: PastWindows


def total_rows(project: Project, batch: Batch, by: Sequence[str]) -> BatchRows:
    """The totals of a batch, level after level, as rows to write.

    Args:
        project: the project.
        batch: the forecasts of every series.
        by: the levels: ``total``, ``series``, or series and static columns with commas between.

    Raises:
        UsageError: a level is named twice, or has a column that is neither a series nor a static one.
        NotFoundError: the release or its backtest is not on this machine, or the data of the batch have gone.
    """
    levels = _levels(project, by)
    sources = _sources(project, batch)
    groupings = [grouping(sources.panel, each, path="--by") for each in levels]
    values = batch.values
    if project.settings.forecast.reconcile != "bottom_up":
        before = sources.windows
        values, sources = _reconciled(project, values, sources)
        values = replace(values, notes=(*values.notes, *_brought(sources, before, groupings)))
    values = _values(values, sources, groupings)
    columns = list(dict.fromkeys(name for level in levels for name in level))
    name = ":".join([batch.prediction_id, "+".join(by), *_method(project)])
    rows = BatchRows.of(project, replace(batch, prediction_id=name, values=values))
    return replace(rows, series=(SUM_BY, *columns))


def _levels(project: Project, by: Sequence[str]) -> list[tuple[str, ...]]:
    series = project.settings.data.series
    levels = [level_columns(each, series) for each in by]
    for place, each in enumerate(levels):
        if set(each) in [set(other) for other in levels[:place]]:
            raise UsageError(
                "total_twice", f"the level {by[place]!r} is named twice", hint="name each level once", path="--by"
            )
    if any(SUM_BY in each for each in levels):
        raise UsageError(
            "forecast_column",
            f"the column {SUM_BY!r} has the name of one that a table of totals has of its own",
            hint="rename it in the source",
            path="data.series",
        )
    return levels


def _sources(project: Project, batch: Batch) -> _Sources:
    release = open_release(project.releases / batch.release, digest=batch.release)
    needed = 0 if _method(project) else _reach(project, release.manifest, batch)
    panel, number, missing = _named(project, batch, needed)
    if missing and needed:
        # a series that has not been seen for long
        panel, number, missing = _named(project, batch, 0)
    if missing:
        raise NotFoundError(
            "total_series",
            f"{len(missing)} of the series that are forecast are not in the data, such as {missing[0]!r}",
            hint="were rows deleted since? bring the model up to date: everloop tick",
        )
    rows = np.array([number[key] for key in batch.values.series], dtype=np.int64)
    return _Sources(panel, rows, read_windows(release.folder, panel).first(batch.values.mean.shape[1]))


def _named(project: Project, batch: Batch, history: int) -> tuple[Panel, dict[str, int], list[str]]:
    """The panel, the row of each of its series, and the series of a batch that it lacks."""
    panel, _ = load_panel(project, cutoff=batch.cutoff, history=history, horizon=0)
    number = {join_key(key): row for row, key in enumerate(panel.keys)}
    return panel, number, [key for key in batch.values.series if key not in number]


def _reach(project: Project, manifest: Manifest, batch: Batch) -> int:
    """How many periods of the past the units of the release's windows and of the batch need."""
    frequency = Frequency.parse(project.settings.data.frequency)
    plan = manifest.metrics["plan"]
    since = frequency.index_of(batch.cutoff) - frequency.index_of(datetime.fromisoformat(manifest.cutoff))
    # a grid that begins elsewhere may put one instant into the period before
    return int(since + 1 + plan["horizon"] + (plan["windows"] - 1) * plan["step"] + units_memory(frequency.season))


def _method(project: Project) -> list[str]:
    """What tells reconciled totals from sums, as texts."""
    forecast = project.settings.forecast
    if forecast.reconcile == "bottom_up":
        return []
    return [forecast.reconcile, "+".join(map(level_name, forecast.totals)), forecast.totals_candidate]


def _reconciled(project: Project, values: ForecastValues, sources: _Sources) -> tuple[ForecastValues, _Sources]:
    """The series made to agree with the totals' own forecasts; the ends of their intervals move with them."""
    panel = sources.panel
    levels = [grouping(panel, each, path="forecast.totals") for each in project.settings.forecast.totals]
    mean = np.zeros((panel.n_series, values.mean.shape[1]))
    mean[sources.rows] = values.mean
    found = Reconciliation.make(project, panel, sources.windows, mean, levels)
    changed = found.mean[sources.rows]
    lower, upper = (
        {each: np.maximum(end + (changed - values.mean), _lowest(panel)) for each, end in ends.items()}
        for ends in (values.lower, values.upper)
    )
    return replace(values, mean=changed, lower=lower, upper=upper), replace(sources, windows=found.windows)


def _brought(sources: _Sources, before: PastWindows, levels: Sequence[Grouping]) -> list[str]:
    """What reconciliation changed in the errors of the backtest, a note for each level."""
    notes = []
    for level in levels:
        plain, changed = (each.totals(sources.panel, level) for each in (before, sources.windows))
        demand = float(np.nansum(np.abs(plain.actual)))
        if demand > 0:
            was, now = (float(np.nansum(np.abs(each.mean - each.actual))) / demand for each in (plain, changed))
            notes.append(f"by {level.name}: WAPE {now:.3f} in the backtest's windows, {was:.3f} as sums of the series")
    return notes


def _values(values: ForecastValues, sources: _Sources, levels: Sequence[Grouping]) -> ForecastValues:
    """The totals of all levels, one below the other."""
    columns = list(dict.fromkeys(name for level in levels for name in level.columns))
    keys: list[str] = []
    means: list[Floats] = []
    ends: tuple[dict[float, list[Floats]], ...] = tuple({each: [] for each in values.lower} for _ in range(2))
    notes = list(values.notes)
    for level in levels:
        present = np.unique(level.codes[sources.rows])
        mean, lower, upper = _level(values, sources, level)
        means.append(mean[present])
        for side, found in zip(ends, (lower, upper), strict=True):
            for each, blocks in side.items():
                blocks.append(found[each][present])
        keys += [_key(level, columns, number) for number in present.tolist()]
        if any(np.isnan(lower[each]).any() for each in lower):
            notes.append(f"no interval for some totals by {level.name}: the backtest tells too little of their errors")
    return ForecastValues(
        series=tuple(keys),
        times=values.times,
        mean=np.concatenate(means),
        lower={each: np.concatenate(blocks) for each, blocks in ends[0].items()},
        upper={each: np.concatenate(blocks) for each, blocks in ends[1].items()},
        notes=tuple(notes),
    )


def _level(
    values: ForecastValues, sources: _Sources, level: Grouping
) -> tuple[Floats, dict[float, Floats], dict[float, Floats]]:
    """The forecasts of a level's totals and their ends by interval level."""
    own = replace(level, codes=level.codes[sources.rows])
    mean = own.sums(values.mean)
    if len(np.unique(own.codes)) == len(own.codes):
        # totals of one series each are those series, whose intervals the model gives
        lower, upper = ({each: own.sums(found[each]) for each in found} for found in (values.lower, values.upper))
        return mean, lower, upper
    errors = TotalErrors.collect(sources.windows.totals(sources.panel, level), lowest=_lowest(sources.panel))
    unit = units(sources.panel, level, [0])[0]
    lower, upper = errors.intervals(mean, unit, values.lower)
    return mean, lower, upper


def _lowest(panel: Panel) -> float:
    """Below which no total lies: zero where no value ever was negative."""
    return 0.0 if len(panel.y) == 0 or not np.nanmin(panel.y) < 0 else -np.inf


def _key(level: Grouping, columns: Sequence[str], number: int) -> str:
    own = dict(zip(level.columns, level.labels[number], strict=True))
    return join_key((level.name, *(own.get(name, "") for name in columns)))
