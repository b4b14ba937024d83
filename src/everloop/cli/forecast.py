"""``everloop forecast``: the champion's forecast of every series, in a file, a table or on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_table, say
from everloop.core.clock import SystemClock
from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.data.table import head
from everloop.improve.refresh import LoadedReleases, refresh_states
from everloop.loop.context import LoopContext, holder_name
from everloop.loop.lease import held_lease
from everloop.serve.batch.making import Batch, make_batch
from everloop.serve.batch.newcomers import GrownRows, make_with_new
from everloop.serve.batch.places import Place
from everloop.serve.batch.plan import read_plan
from everloop.serve.batch.rows import BatchRows
from everloop.serve.batch.totals import total_rows
from everloop.serve.query import ForecastQuery
from everloop.store.deployments import in_role, latest_state
from everloop.store.engine import Store

_SHOWN = 40


def command(
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="PLACE", help="FILE.parquet, FILE.csv, delta:FOLDER, or a database's URL."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", help="The table's name in a database; by default forecasts, or totals with --by."),
    ] = None,
    keep: Annotated[int, typer.Option("--keep", help="Cutoffs that stay in a table; 0 means all.", min=0)] = 0,
    horizon: Annotated[
        int | None, typer.Option("--horizon", help="Steps ahead instead of forecast.horizon.", min=1)
    ] = None,
    level: Annotated[
        list[float] | None, typer.Option("--level", help="An interval level in percent; may be repeated.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="COLUMNS",
            help="Write totals instead, by a series or static column, several with commas between, 'total' or "
            "'series'; may be repeated.",
        ),
    ] = None,
    new: Annotated[
        Path | None,
        typer.Option(
            "--new",
            metavar="FILE",
            help="CSV or Parquet of series that are in no data yet: their columns and all static ones; known-ahead "
            "values, by date where it has the time's column.",
        ),
    ] = None,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast every series with the champion from the newest data: one row for each series and date.

    The columns are the series' own, the time, forecast, and lo-80, hi-80 and so on for each level; a table also has
    the cutoff and the prediction's id, and holds a batch for each cutoff. The forecast is stored as a
    prediction, so that it is monitored and can be traced. A file or batch appears whole or not at all, and writing it
    again changes nothing.

    With --by the forecasts are summed; the rows tell their level in sum_by, and a total's intervals are learnt from the
    errors of that total in the backtest.

    With --new the series of a file are forecast too, from what they share with others. Their rows come after the
    others' and are a prediction of their own; a table tells them by its id.

    Example: everloop forecast --out forecasts.parquet
    """
    if new is not None and by:
        raise UsageError(
            "forecast_new",
            "totals cannot hold series that are new: no backtest tells how much such totals err",
            hint="leave out --by or --new",
            path="--new",
        )
    place = _place(out, table or ("totals" if by else "forecasts"), keep)
    plan = None if new is None else read_plan(new)
    with opened(project, set_) as (found, store):
        clock = SystemClock()
        bring_up_to_date(found, store, clock)
        query = ForecastQuery(horizon=horizon, levels=None if level is None else tuple(level))
        if plan is None:
            batch, launched = make_batch(found, store, clock, query), None
        else:
            batch, launched = make_with_new(found, store, clock, query, plan, path=str(new))
    rows = _rows(found, batch, launched, by)
    is_written = place.write(rows) if place is not None else False
    _tell(rows, batch, launched, place, is_written=is_written, as_json=as_json)


def _place(out: str | None, table: str, keep: int) -> Place | None:
    place = None if out is None else Place.parse(out, table=table, keep=keep)
    if place is not None and place.kind == "file" and keep:
        raise UsageError(
            "forecast_keep",
            "a file holds one cutoff only",
            hint="--keep is for delta:FOLDER and databases",
            path="--keep",
        )
    return place


def _tell(
    rows: BatchRows, batch: Batch, launched: Batch | None, place: Place | None, *, is_written: bool, as_json: bool
) -> None:
    """What was made, by whom, and where it lies; the rows themselves where they lie nowhere else."""
    for part in _parts(rows):
        for note in part.batch.values.notes:
            say(f"note: {note}")
    if as_json:
        summary = {
            "prediction_id": batch.prediction_id,
            "release": batch.release,
            "cutoff": batch.cutoff,
            "rows": rows.height,
            "file": None if place is None else place.text,
            "is_written": is_written,
        }
        if launched is not None:
            summary |= {"new_series": len(launched.values.series), "new_prediction_id": launched.prediction_id}
        print_json(summary | ({} if place is not None else {"forecasts": _plain(rows.plain())}))
        return
    if place is None:
        for part in _parts(rows):
            _show(part)
    where = "" if place is None else f" in {place.text}" + ("" if is_written else " already")
    say(f"{rows.height} rows{where}; prediction {batch.prediction_id} by release {batch.release[:12]}")
    if launched is not None:
        n, size = len(launched.values.series), launched.values.mean.size
        say(f"the last {size} rows are of {n} new series; prediction {launched.prediction_id}")


def _rows(project: Project, batch: Batch, launched: Batch | None, by: list[str] | None) -> BatchRows:
    if launched is not None:
        return GrownRows.joined(project, batch, launched)
    return total_rows(project, batch, by) if by else BatchRows.of(project, batch)


def _parts(rows: BatchRows) -> tuple[BatchRows, ...]:
    return rows.parts if isinstance(rows, GrownRows) else (rows,)


def bring_up_to_date(project: Project, store: Store, clock: SystemClock) -> None:
    """Let the champion know the newest data, as a step of the loop would."""
    dataset = head(project.table)
    if dataset is None:
        return
    with store.read() as tx:
        champion = in_role(tx, "champion")
        state = latest_state(tx, champion) if champion else None
    if champion is None or (state is not None and state.dataset_digest == dataset.digest):
        return
    with held_lease(LoopContext(project, store, clock, holder_name())):
        refresh_states(project, store, dataset, now=clock.now(), loaded=LoadedReleases(project))


def _show(rows: BatchRows) -> None:
    steps = rows.batch.values.mean.shape[1]
    frame = rows.plain(slice(0, -(-_SHOWN // max(1, steps)))).head(_SHOWN)
    cells = [[str(cell) if hasattr(cell, "year") else cell for cell in row] for row in frame.rows()]
    print_table(frame.columns, cells)
    if rows.height > _SHOWN:
        say(f"{rows.height - _SHOWN} more rows; write them all: everloop forecast --out FILE.parquet")


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: cell.isoformat() if hasattr(cell, "isoformat") else cell for name, cell in row.items()}
        for row in frame.to_dicts()
    ]
