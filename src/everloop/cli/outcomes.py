"""``everloop outcomes``: what really happened, from a file."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import polars as pl
import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_record, say
from everloop.core.clock import SystemClock
from everloop.core.errors import DataError, EverloopError, NotFoundError, UsageError, nearest
from everloop.core.project import Project
from everloop.serve.answers import Answerer
from everloop.serve.outcomes import tell_outcomes

_FORMATS = (".csv", ".parquet", ".json")


def command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A CSV, Parquet or JSON file with the series, the time and the value."),
    ],
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what really happened: late truth that is not in the source yet, or feedback.

    A table holds the series columns (or one column 'series'), the time column (or 'time'), and the target (or
    'value'); a JSON file holds what POST /v1/outcomes takes. All are stored, or none. The same file twice changes
    nothing. The next step of the loop joins them with the predictions and brings them into the table.

    Example: everloop outcomes truth-2026-05-01.csv
    """
    with opened(project, set_) as (found, store):
        entries = read_outcomes(found, file)
        known = None
        with contextlib.suppress(EverloopError):  # without a champion no series is known, which is no fault of the file
            known = Answerer(found, store, SystemClock()).served().positions
        told = tell_outcomes(found, store, SystemClock(), entries, known=known, source=f"cli:{file.name}"[:128])
    if as_json:
        print_json(asdict(told))
        return
    unknown = told.unknown_series
    if unknown:
        some = ", ".join(unknown[:5]) + (" ..." if len(unknown) > 5 else "")
        say(f"{len(unknown)} series are not forecast yet; their outcomes are kept: {some}")
    print_record({"stored": told.stored, "known already": told.duplicates, "unknown series": len(unknown)})


def read_outcomes(project: Project, file: Path) -> list[dict[str, Any]]:
    """The outcomes of a file, as ``tell_outcomes`` takes them.

    Raises:
        NotFoundError: there is no such file.
        UsageError: its name tells no format.
        DataError: it cannot be read, or a column is missing.
    """
    if file.suffix not in _FORMATS:
        raise UsageError("format", f"cannot read {file.name!r}", hint="give a .csv, .parquet or .json", path=str(file))
    if not file.is_file():
        raise NotFoundError("file_missing", f"there is no file {file}", hint="check the path", path=str(file))
    try:
        if file.suffix == ".json":
            return _entries_of(msgspec.json.decode(file.read_bytes()), file)
        # texts stay texts: a series may be called 007
        frame = pl.read_csv(file, infer_schema=False) if file.suffix == ".csv" else pl.read_parquet(file)
    except (msgspec.DecodeError, pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise DataError(
            "file_unreadable", f"cannot read {file}: {error}", hint="is it complete?", path=str(file)
        ) from error
    return _entries_of_frame(project, frame, file)


def _entries_of(tree: Any, file: Path) -> list[dict[str, Any]]:
    entries = tree.get("outcomes") if isinstance(tree, dict) else tree
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        hint = '{"outcomes": [{"series": "CA_1/FOODS_1_001", "time": "2026-05-01", "value": 3}]}'
        raise DataError("outcomes_shape", f"{file} holds no outcomes", hint=hint, path=str(file))
    return entries


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
                "time": _instant(cells[time]),
                "value": _number(cells[value]),
                "prediction_id": cells.get("prediction_id") or None,
                "id": cells.get("id") or None,
            }
        )
    return entries


def _instant(cell: Any) -> Any:
    """A date or an instant as ISO text."""
    return cell.isoformat() if hasattr(cell, "isoformat") else cell


def _number(cell: Any) -> Any:
    """A CSV's text as a number, where it is one."""
    if isinstance(cell, str):
        with contextlib.suppress(ValueError):
            return float(cell)
    return cell
