"""Scoring rows: one forecast for each row of a frame, as MLflow's callers ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from everloop.core.errors import RequestError
from everloop.core.project import Project
from everloop.data.panel import join_key
from everloop.models.scoring import score_rows
from everloop.serve.query import fitting_horizon, fitting_levels, level_labels
from everloop.serve.served import Served
from everloop.store.values import ForecastValues

__all__ = ["RowQuery", "score_values"]


@dataclass(frozen=True, slots=True)
class RowQuery:
    """Rows to score: values by column, all of one length.

    Attributes:
        columns: the series' columns, the time where rows ask for single steps, and known-ahead values.
        horizon: steps, the release's own where it is ``None``.
        levels: interval levels in percent, the release's own where it is ``None``.
    """

    columns: Mapping[str, list[Any]]
    horizon: int | None = None
    levels: tuple[float, ...] | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return max((len(values) for values in self.columns.values()), default=0)

    def record(self) -> dict[str, Any]:
        """The query as JSON values; :meth:`from_record` reads it."""
        return {
            "columns": dict(self.columns),
            "horizon": self.horizon,
            "levels": None if self.levels is None else list(self.levels),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> RowQuery:
        """What :meth:`record` gave."""
        levels = record["levels"]
        return cls(record["columns"], record["horizon"], None if levels is None else tuple(levels))


def score_values(
    project: Project, served: Served, query: RowQuery, *, is_limited: bool = True
) -> tuple[dict[str, list[Any]], ForecastValues]:
    """The scored rows by column, and the same numbers as a grid of series and instants to store.

    Raises:
        RequestError: the rows do not fit the model, or are too many.
        ModelError: the model fails.
    """
    manifest = served.release.manifest
    most = project.settings.serve.max_series * manifest.horizon
    if is_limited and query.rows > most:
        raise RequestError(
            "series_many", f"{query.rows} rows are more than the {most} of one request", hint="send them in parts"
        )
    if not query.rows:
        raise RequestError("rows_empty", "no rows are given", hint="give at least one")
    _check_reach(query, served)
    levels = fitting_levels(manifest.levels if query.levels is None else query.levels)
    horizon = fitting_horizon(query.horizon, default=manifest.horizon, most=manifest.horizon)
    try:
        scored = score_rows(served.model, query.columns, horizon=horizon, levels=levels, time=manifest.columns.time)
    except OverflowError as error:
        raise RequestError("future_value", f"a number is too large: {error}", hint="give smaller numbers") from error
    return scored, _grid(scored, manifest.columns.series, manifest.columns.time, levels)


def _check_reach(query: RowQuery, served: Served) -> None:
    """Refuse a time that is far off, before room is made for all the steps up to it."""
    time_column = served.release.manifest.columns.time
    for place, value in enumerate(query.columns.get(time_column, ())):
        try:
            instant = np.datetime64(str(value).removesuffix("Z"), "us").astype(np.int64)
        except ValueError:
            continue  # scoring itself says what is wrong with it
        if instant > served.times[-1]:
            raise RequestError(
                "time_far",
                f"{value!r:.40} is beyond the last step, {served.labels[-1]}",
                hint="for a longer horizon set forecast.horizon and train again",
                path=f"{time_column}[{place}]",
            )


def _grid(
    scored: Mapping[str, list[Any]], series_columns: tuple[str, ...], time_column: str, levels: tuple[float, ...]
) -> ForecastValues:
    """Rows as a grid; NaN where no row asked."""
    keys = [join_key(tuple(map(str, row))) for row in zip(*(scored[name] for name in series_columns), strict=True)]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    instants = np.array(scored[time_column], dtype="M8[us]").astype(np.int64)
    times, column = np.unique(instants, return_inverse=True)
    row = np.array([places[key] for key in keys], dtype=np.int64)

    def laid_out(name: str) -> Any:
        out = np.full((len(places), len(times)), np.nan)
        out[row, column] = np.array(scored[name], dtype=np.float64)
        return out

    return ForecastValues(
        series=tuple(places),
        times=times,
        mean=laid_out("forecast"),
        lower={level: laid_out(level_labels(level)[0]) for level in levels},
        upper={level: laid_out(level_labels(level)[1]) for level in levels},
    )
