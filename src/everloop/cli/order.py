"""``everloop order``: how much to order of every series, by the champion's forecast and the costs of its error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

from everloop.cli.forecast import bring_up_to_date
from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import number, print_json, print_table, say
from everloop.cli.told_files import read_told
from everloop.core.clock import SystemClock
from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.serve.batch.making import Batch, make_batch
from everloop.serve.batch.ordering import OrderRows, order_rows
from everloop.serve.batch.places import Place
from everloop.serve.batch.stock import Stock
from everloop.serve.query import ForecastQuery

_SHOWN = 40
_EXAMPLE = 'give a table with the series\' columns and stock, or {"stock": [{"store": "S1", "stock": 3}]}'


def command(
    stock: Annotated[
        Path | None,
        typer.Option(
            "--stock",
            metavar="FILE",
            help="CSV, Parquet or JSON: the series' columns, stock, and on_order; by default all shelves are empty.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="PLACE", help="FILE.parquet, FILE.csv, delta:FOLDER, or a database's URL."),
    ] = None,
    table: Annotated[str, typer.Option("--table", help="The table's name in a database.")] = "orders",
    keep: Annotated[int, typer.Option("--keep", help="Cutoffs that stay in a table; 0 means all.", min=0)] = 0,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how much to order of every series now, so that the expected cost of too much and too little is least.

    The costs, how long an order has to last and its packs are set in [costs]. Demand over these periods comes from the
    champion's forecast from the newest data, and its quantiles from the errors of such sums in the backtest. A row
    for each series: the first period, the expected demand, the stock, the level to order up to, the quantity in whole
    packs, its expected cost, the critical ratio, and the release and prediction that it goes back to.

    Example: everloop order --stock stock.csv --out orders.csv
    """
    place = None if out is None else Place.parse(out, table=table, keep=keep)
    if place is not None and place.kind == "file" and keep:
        hint = "--keep is for delta:FOLDER and databases"
        raise UsageError("forecast_keep", "a file holds one cutoff only", hint=hint, path="--keep")
    with opened(project, set_) as (found, store):
        clock = SystemClock()
        bring_up_to_date(found, store, clock)
        batch = make_batch(found, store, clock, ForecastQuery())
    rows = order_rows(found, batch, _stock(found, batch, stock))
    is_written = place.write(rows) if place is not None else False
    for note in rows.batch.values.notes:
        say(f"note: {note}")
    quantity, cost = (float(np.nansum(each)) for each in (rows.orders.quantity, rows.orders.cost))
    summary = {
        "prediction_id": rows.traced,
        "release": batch.release,
        "cutoff": batch.cutoff,
        "rows": rows.height,
        "order_quantity": quantity,
        "expected_cost": cost,
        "currency": found.settings.costs.currency,
        "file": None if place is None else place.text,
        "is_written": is_written,
    }
    if as_json:
        print_json(summary | {"orders": _plain(rows.plain())})
        return
    if place is None:
        _show(rows)
    where = "" if place is None else f" in {place.text}" + ("" if is_written else " already")
    money = f"{cost:,.2f} {found.settings.costs.currency}".strip()
    say(f"{rows.height} orders{where}: {quantity:,g} units, expected cost of what is left or missing {money}")
    say(f"prediction {rows.traced} by release {batch.release[:12]}")


def _stock(project: Project, batch: Batch, file: Path | None) -> Stock:
    series = batch.values.series
    if file is None:
        return Stock.nothing(len(series))
    told = read_told(file, "stock", _EXAMPLE)
    frame = told if isinstance(told, pl.DataFrame) else pl.DataFrame(told, infer_schema_length=None)
    return Stock.of(frame, series, project.settings.data.series, path=str(file))


def _show(rows: OrderRows) -> None:
    frame = rows.plain(slice(0, _SHOWN)).drop("release", "prediction")
    shown = [[_cell(cell) for cell in row] for row in frame.rows()]
    print_table(frame.columns, shown)
    if rows.height > _SHOWN:
        say(f"{rows.height - _SHOWN} more rows; write them all: everloop order --out orders.csv")


def _cell(cell: object) -> object:
    if isinstance(cell, float):
        return f"{cell:g}" if cell.is_integer() else number(cell, digits=2)
    return "-" if cell is None else str(cell)


def _plain(frame: pl.DataFrame) -> list[dict[str, object]]:
    return [
        {name: cell.isoformat() if hasattr(cell, "isoformat") else cell for name, cell in row.items()}
        for row in frame.to_dicts()
    ]
