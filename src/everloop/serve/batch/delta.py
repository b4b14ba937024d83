"""Batches in a Delta table, partitioned by cutoff: one commit for each, so that a reader sees all of it or nothing."""

from __future__ import annotations

from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from everloop.core.errors import ConflictError, UnavailableError, UsageError
from everloop.serve.batch.rows import CUTOFF, PREDICTION, BatchRows

__all__ = ["write_delta"]

_META = "everloop.forecasts"


def write_delta(rows: BatchRows, location: str, *, keep: int = 0) -> bool:
    """Put a batch into a Delta table, in place of what the table holds of the same cutoff.

    Args:
        rows: the rows.
        location: a folder, or a URL that Delta Lake can write to.
        keep: how many of the newest cutoffs stay; 0 means all.

    Returns:
        Whether anything was written; a batch that is there already stays as it is.

    Raises:
        UsageError: there is a table of something else.
        ConflictError: somebody else wrote forecasts of the same cutoff at the same time.
        UnavailableError: the place cannot be read or written.
    """
    try:
        table = _opened(location)
        cutoffs = _cutoffs(table) if table is not None else {}
        gone = _gone([*cutoffs, rows.cutoff.item()], keep)
        is_there = table is not None and _holds(table, rows)
        if is_there and not gone:
            return False
        properties = CommitProperties(custom_metadata={_META: rows.batch.prediction_id})
        if table is None:
            write_deltalake(location, rows.stream(), mode="error", partition_by=[CUTOFF], commit_properties=properties)
        elif is_there:
            table.delete(_any_of(gone), commit_properties=properties)
        else:
            write_deltalake(
                table,
                rows.stream(),
                mode="overwrite",
                predicate=_any_of([rows.cutoff.item(), *gone]),
                schema_mode="merge",
                commit_properties=properties,
            )
    except CommitFailedError as error:
        raise ConflictError(
            "forecast_conflict",
            f"somebody else wrote to {location} at the same time",
            hint="nothing of this batch was written; do it again",
            path="--out",
        ) from error
    except (DeltaError, OSError) as error:
        raise UnavailableError(
            "forecast_delta", f"the Delta table {location} cannot be written: {error}", hint="", path="--out"
        ) from error
    return True


def _opened(location: str) -> DeltaTable | None:
    try:
        table = DeltaTable(location)
    except TableNotFoundError:
        return None
    if table.metadata().partition_columns != [CUTOFF] or PREDICTION not in {
        each.name for each in table.schema().fields
    }:
        raise UsageError(
            "forecast_table", f"the Delta table {location} holds no forecasts", hint="name another place", path="--out"
        )
    return table


def _cutoffs(table: DeltaTable) -> dict[Any, None]:
    """The cutoffs of which there is a file."""
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    return dict.fromkeys(actions[f"partition.{CUTOFF}"].unique().to_list() if actions.height else [])


def _holds(table: DeltaTable, rows: BatchRows) -> bool:
    """Whether the table holds this very batch, all of it."""
    cutoff = rows.cutoff
    found = (
        pl.scan_delta(table)
        .filter(pl.col(CUTOFF) == pl.lit(cutoff.item(), dtype=cutoff.dtype))
        .group_by(PREDICTION)
        .len()
        .collect()
    )
    return dict(found.rows()) == rows.held


def _gone(cutoffs: list[Any], keep: int) -> list[Any]:
    return sorted(set(cutoffs))[:-keep] if keep else []


def _any_of(cutoffs: list[Any]) -> str:
    return f"{CUTOFF} IN ({', '.join(repr(str(each)) for each in cutoffs)})"
