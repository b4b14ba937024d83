"""Outcomes that were told, as rows of the table: what monitoring learns, the next training learns too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

import polars as pl

from everloop.core.project import Project
from everloop.data.panel import split_key
from everloop.store.facts import Outcome

__all__ = ["outcomes_frame"]


def outcomes_frame(project: Project, told: Sequence[Outcome]) -> pl.DataFrame:
    """A frame of the series columns, the time and the target; of one series and time the latest told stays."""
    settings = project.settings.data
    latest = {(each.series, each.time): each for each in told}
    keys = [split_key(each.series) for each in latest.values()]
    columns: dict[str, pl.Series] = {
        name: pl.Series(name, [key[place] if place < len(key) else None for key in keys], dtype=pl.String)
        for place, name in enumerate(settings.series)
    }
    times = [each.time.astimezone(UTC).replace(tzinfo=None) for each in latest.values()]
    columns[settings.time] = pl.Series(settings.time, times, dtype=pl.Datetime("us"))
    columns[settings.target] = pl.Series(settings.target, [each.value for each in latest.values()], dtype=pl.Float64)
    return pl.DataFrame(list(columns.values()))
