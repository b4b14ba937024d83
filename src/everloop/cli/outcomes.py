"""``everloop outcomes``: what really happened, from a file."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_record, say
from everloop.cli.told_files import entries_of_table, instant_text, number, read_told
from everloop.core.clock import SystemClock
from everloop.core.errors import DataError, EverloopError, nearest
from everloop.core.project import Project
from everloop.serve.answers import Answerer
from everloop.serve.outcomes import Told, tell_outcomes
from everloop.serve.row_outcomes import ToldRows, tell_row_outcomes
from everloop.store.engine import Store

_SERIES_EXAMPLE = '{"outcomes": [{"series": "CA_1/FOODS_1_001", "time": "2026-05-01", "value": 3}]}'
_ROWS_EXAMPLE = '{"outcomes": [{"prediction_id": "019b76da-a800-7000-8000-000000000000", "row": 0, "value": 3}]}'
_SHOWN = 5


def command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A CSV, Parquet, JSON or NDJSON file of outcomes."),
    ],
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what really happened: late truth that is not in the source yet, or feedback.

    For forecasts a table holds the series columns (or one column 'series'), the time column (or 'time'), and the
    target (or 'value'). For models of rows it holds 'prediction_id', 'value' or 'label', and perhaps 'row', 'at' and
    'id'. A JSON file holds what POST /v1/outcomes takes, an NDJSON file one outcome a line. All are stored, or none.
    The same file twice changes nothing. The next step of the loop joins them with the predictions; those of series
    come into the table, too.

    Example: everloop outcomes truth-2026-05-01.csv
    """
    with opened(project, set_) as (found, store):
        source = f"cli:{file.name}"[:128]
        if found.settings.project.task == "forecasting":
            _report(_tell_series(found, store, file, source), as_json)
        else:
            told = tell_row_outcomes(found, store, SystemClock(), read_row_outcomes(file), source=source)
            _report(told, as_json)


def read_outcomes(project: Project, file: Path) -> list[dict[str, Any]]:
    """The outcomes of series that a file holds, as ``tell_outcomes`` takes them.

    Raises:
        NotFoundError: there is no such file.
        UsageError: its name tells no format.
        DataError: it cannot be read, or a column is missing.
    """
    told = read_told(file, "outcomes", _SERIES_EXAMPLE)
    return _entries_of_frame(project, told, file) if isinstance(told, pl.DataFrame) else told


def read_row_outcomes(file: Path) -> list[dict[str, Any]]:
    """The outcomes of rows that a file holds, as ``tell_row_outcomes`` takes them.

    Raises:
        NotFoundError: there is no such file.
        UsageError: its name tells no format.
        DataError: it cannot be read, or a column is missing.
    """
    told = read_told(file, "outcomes", _ROWS_EXAMPLE)
    if not isinstance(told, pl.DataFrame):
        return told
    needed = ["prediction_id"] if "label" in told.columns else ["prediction_id", "value"]
    texts = ["prediction_id", "label", "at", "id"]
    return entries_of_table(told, file, needed=needed, numbers=["row", "value"], texts=texts)


def _tell_series(project: Project, store: Store, file: Path, source: str) -> Told:
    entries = read_outcomes(project, file)
    known = None
    with contextlib.suppress(EverloopError):  # without a champion no series is known, which is no fault of the file
        known = Answerer(project, store, SystemClock()).served().positions
    return tell_outcomes(project, store, SystemClock(), entries, known=known, source=source)


def _report(told: Told | ToldRows, as_json: bool) -> None:
    if as_json:
        print_json(asdict(told))
        return
    record = {"stored": told.stored, "known already": told.duplicates}
    if isinstance(told, Told):
        if told.unknown_series:
            n = len(told.unknown_series)
            say(f"{n} series are not forecast yet; their outcomes are kept: {_some(told.unknown_series)}")
        print_record({**record, "unknown series": len(told.unknown_series)})
        return
    if told.unknown_predictions:
        n = len(told.unknown_predictions)
        say(f"{n} predictions are not stored (yet); their outcomes are kept: {_some(told.unknown_predictions)}")
    print_record({**record, "unknown predictions": len(told.unknown_predictions)})


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")


def _entries_of_frame(project: Project, frame: pl.DataFrame, file: Path) -> list[dict[str, Any]]:
    data = project.settings.data
    series = ["series"] if "series" in frame.columns and "series" not in data.series else data.series
    time = data.time if data.time in frame.columns else "time"
    value = data.target if data.target in frame.columns else "value"
    for name, wanted in [*((name, name) for name in series), (time, data.time), (value, data.target)]:
        if name not in frame.columns:
            hint = nearest(wanted, frame.columns)
            raise DataError("column_missing", f"{file.name} has no column {wanted!r}", hint=hint, path=str(file))
    columns = [*series, time, value] + [name for name in ("prediction_id", "id") if name in frame.columns]
    entries = []
    for row in frame.select(columns).iter_rows():
        cells = dict(zip(columns, row, strict=True))
        named = cells[series[0]] if series == ["series"] else {name: cells[name] for name in series}
        entries.append(
            {
                "series": named,
                "time": instant_text(cells[time]),
                "value": number(cells[value]),
                "prediction_id": cells.get("prediction_id") or None,
                "id": cells.get("id") or None,
            }
        )
    return entries
