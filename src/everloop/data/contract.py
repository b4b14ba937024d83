"""The contract: what a row must be to enter the table, and what is said of the whole.

Rows are checked one by one (types, ranges, empty values by a pandera schema; the grid, the future, unknown series,
duplicates by rules of its own); a bad row is named with all its reasons. Gaps and stale data are findings about
the whole, and are said as warnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from everloop.core.frequency import Frequency
from everloop.core.settings.project import ContractSettings
from everloop.data.conforming import Conformed
from everloop.data.table_columns import Columns

__all__ = ["REASONS", "Contract", "split_duplicates", "warnings_of"]

REASONS = "_reasons"
"""The column of a quarantine file that tells why a row is there."""


class Contract:
    """A project's contract, ready to be held against rows.

    Args:
        settings: what was declared.
        columns: the table's columns.
        frequency: the grid, anchored for this table.
        is_number: for each covariate whether it is a number.
        now: the present, by Everloop's clock.
        known: the series that the table has, ``None`` where it is empty so far.
    """

    def __init__(
        self,
        settings: ContractSettings,
        columns: Columns,
        frequency: Frequency,
        *,
        is_number: Mapping[str, bool],
        now: datetime,
        known: pl.DataFrame | None,
    ) -> None:
        self.settings = settings
        self.columns = columns
        self.frequency = frequency
        self.now = now.astimezone(UTC).replace(tzinfo=None)
        self.known = known
        self.schema = _schema(settings, columns, is_number)

    def reasons(self, conformed: Conformed) -> pl.Series:
        """For each row the list of what is wrong with it, empty for a good one: texts such as ``"range:price"``."""
        rows = conformed.rows
        found: list[tuple[pl.Series, str]] = [(bad, f"type:{name}") for name, bad in conformed.unreadable.items()]
        unreadable = set(conformed.unreadable)
        present = [name for name in self.schema.columns if name in rows.columns]
        found += _schema_failures(
            self.schema.remove_columns([n for n in self.schema.columns if n not in present]), rows
        )
        found += self._empty_targets(rows, unreadable)
        found += self._times(rows)
        if self.known is not None and self.settings.unknown_series == "quarantine":
            keys = rows.select(self.columns.series)
            is_known = keys.join(
                self.known.with_columns(pl.lit(True).alias("_known")), on=list(self.columns.series), how="left"
            )["_known"]
            found.append((is_known.is_null(), "unknown_series"))
        return _gather(rows.height, found, conformed)

    def _empty_targets(self, rows: pl.DataFrame, unreadable: set[str]) -> list[tuple[pl.Series, str]]:
        """A row of a period that is over says its target; one of the present or the future may leave it open."""
        target = self.columns.target
        if target is None or target in unreadable:
            return []
        is_past = rows[self.columns.time] <= self.now - timedelta(microseconds=self.frequency.step_us)
        return [((rows[target].is_null() & is_past).fill_null(False), f"empty:{target}")]

    def _times(self, rows: pl.DataFrame) -> list[tuple[pl.Series, str]]:
        time = rows[self.columns.time]
        found = []
        is_there = time.is_not_null().to_numpy()
        on_grid = np.ones(len(time), dtype=bool)
        on_grid[is_there] = self.frequency.is_on_grid(time.drop_nulls().to_numpy().astype("M8[us]"))
        found.append((pl.Series(~on_grid), "off_grid"))
        if self.columns.target is not None and self.settings.future_rows == "quarantine":
            is_future = (time > self.now) & rows[self.columns.target].is_not_null()
            found.append((is_future.fill_null(False), "future"))
        return found


def warnings_of(
    settings: ContractSettings, frequency: Frequency, now: datetime, *, newest: datetime | None, gaps: int
) -> tuple[str, ...]:
    """What is to be said of a whole source: stale data, and holes inside series.

    Args:
        settings: what was declared.
        frequency: the grid, anchored for the table.
        now: the present, by Everloop's clock.
        newest: the latest time that has a target.
        gaps: how many holes are longer than allowed.
    """
    said = []
    if newest is not None and settings.max_age:
        age = frequency.index_of(now.astimezone(UTC).replace(tzinfo=None)) - frequency.index_of(newest)
        if age > settings.max_age:
            said.append(
                f"stale: the newest data are of {frequency.label(newest)}, {age} steps ago "
                f"(data.contract.max_age = {settings.max_age})"
            )
    if gaps:
        said.append(f"gaps: {gaps} holes longer than data.contract.max_gap = {settings.max_gap} steps inside series")
    return tuple(said)


def split_duplicates(rows: pl.DataFrame, columns: Columns) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows with unique keys, and the rows that another of the same key contradicts.

    Of rows that say the same one is kept and nothing is said; of rows that contradict each other the last is kept.
    """
    if not rows.select(pl.struct(columns.key).is_duplicated().any()).item():
        return rows, rows.clear()
    distinct = rows.unique(maintain_order=True, keep="last")
    kept = distinct.unique(subset=columns.key, keep="last", maintain_order=True)
    return kept, distinct.join(kept, on=distinct.columns, how="anti", nulls_equal=True)


def _schema(settings: ContractSettings, columns: Columns, is_number: Mapping[str, bool]) -> pa.DataFrameSchema:
    made: dict[str, pa.Column] = {name: pa.Column(pl.String, nullable=False) for name in columns.series}
    made[columns.time] = pa.Column(pl.Datetime("us"), nullable=False)
    for name in columns.values:
        is_numeric = name == columns.target or is_number[name]
        checks = []
        low, high = settings.ranges.get(name, (None, None))
        if name == columns.target and settings.negative_target == "quarantine":
            checks.append(pa.Check.ge(0, name="negative"))
        if is_numeric and low is not None:
            checks.append(pa.Check.ge(low, name="range"))
        if is_numeric and high is not None:
            checks.append(pa.Check.le(high, name="range"))
        if settings.types.get(name) == "integer":
            checks.append(pa.Check(_are_whole, name="type"))
        kind = pl.Float64 if is_numeric else pl.String
        made[name] = pa.Column(kind, checks, nullable=name not in settings.required)
    return pa.DataFrameSchema(made)


def _are_whole(data: pa.PolarsData) -> pl.LazyFrame:
    return data.lazyframe.select(pl.col(data.key) % 1 == 0)


def _schema_failures(schema: pa.DataFrameSchema, rows: pl.DataFrame) -> list[tuple[pl.Series, str]]:
    try:
        schema.validate(rows, lazy=True)
    except SchemaErrors as error:
        failures = error.failure_cases
    else:
        return []
    found = []
    for (column, check), part in failures.group_by("column", "check"):
        reason = f"empty:{column}" if check == "not_nullable" else f"{_reason(str(check))}:{column}"
        mask = np.zeros(rows.height, dtype=bool)
        mask[part["index"].drop_nulls().to_numpy()] = True
        found.append((pl.Series(mask), reason))
    return found


def _reason(check: str) -> str:
    """The reason that a pandera check stands for; it may print its own name or its form."""
    if check in ("negative", "range", "type"):
        return check
    if check == "greater_than_or_equal_to(0)":
        return "negative"
    return "type" if "whole" in check or "dtype" in check else "range"


def _gather(height: int, found: list[tuple[pl.Series, str]], conformed: Conformed) -> pl.Series:
    """The reasons row by row; what could not be read is not also called empty."""
    columns: dict[str, pl.Series] = {}
    for bad, reason in found:
        kind, _, name = reason.partition(":")
        if kind == "empty" and name in conformed.unreadable:
            bad = bad & ~conformed.unreadable[name]
        if bad.any():
            known = columns.get(reason)
            columns[reason] = bad if known is None else known | bad
    if not columns:
        return pl.Series(REASONS, [[]], dtype=pl.List(pl.String)).new_from_index(0, height)
    frame = pl.DataFrame([mask.alias(reason) for reason, mask in columns.items()])
    listed = frame.select(
        pl.concat_list(
            [pl.when(pl.col(reason)).then(pl.lit(reason)).otherwise(None) for reason in columns]
        ).list.drop_nulls()
    )
    return listed.to_series().alias(REASONS)
