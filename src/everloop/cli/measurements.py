"""``everloop measurements``: what was measured of units, from a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_record
from everloop.cli.told_files import entries_of_table, read_told
from everloop.core.clock import SystemClock
from everloop.serve.measurements import tell_measurements

_EXAMPLE = '{"measurements": [{"unit": "CA_1", "metric": "revenue", "value": 12.5, "at": "2026-05-01"}]}'


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV, Parquet, JSON or NDJSON file of measurements.")],
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what was measured of units: revenue, returns, clicks, whatever a split may be judged by.

    A table holds 'unit' (what the split draws by), 'metric' (a name), 'value' and 'at', and perhaps 'id'; a JSON file
    holds what POST /v1/measurements takes, an NDJSON file one measurement a line. All are stored, or none. The same
    file twice changes nothing; a later value of the same unit, metric and instant corrects the earlier one.

    Example: everloop measurements revenue-2026-05-01.csv
    """
    with opened(project, set_) as (_, store):
        told = tell_measurements(store, SystemClock(), read_measurements(file), source=f"cli:{file.name}"[:128])
    if as_json:
        print_json(asdict(told))
        return
    print_record({"stored": told.stored, "known already": told.duplicates})


def read_measurements(file: Path) -> list[dict[str, Any]]:
    """The measurements of a file, as ``tell_measurements`` takes them.

    Raises:
        NotFoundError: there is no such file.
        UsageError: its name tells no format.
        DataError: it cannot be read, or a column is missing.
    """
    told = read_told(file, "measurements", _EXAMPLE)
    if not isinstance(told, pl.DataFrame):
        return told
    needed = ["unit", "metric", "value", "at"]
    return entries_of_table(told, file, needed=needed, numbers=["value"], texts=["unit", "metric", "at", "id"])
