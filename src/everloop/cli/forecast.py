"""``everloop forecast``: the champion's forecast of every series, as a file or on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_table, say
from everloop.core.clock import SystemClock
from everloop.core.errors import UsageError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data.panel import split_key
from everloop.serve.answers import Answer, Answerer
from everloop.serve.query import ForecastQuery, level_labels

_FORMATS = (".parquet", ".csv")
_DAYS = ("d", "w", "mo", "q", "y")
_SHOWN = 40


def command(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write FILE.parquet or FILE.csv.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option("--horizon", help="Steps ahead instead of forecast.horizon.", min=1)
    ] = None,
    level: Annotated[
        list[float] | None, typer.Option("--level", help="An interval level in percent; may be repeated.")
    ] = None,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast every series with the champion: one row for each series and date.

    The columns are the series' own, the time, forecast, and lo-80, hi-80 and so on for each level. The forecast is
    stored as a prediction, so that it is monitored and can be traced. A file appears whole or not at all.

    Example: everloop forecast --out forecasts.parquet
    """
    if out is not None and out.suffix not in _FORMATS:
        raise UsageError("format", f"cannot write {out.name!r}", hint="end the name in .parquet or .csv", path="--out")
    with opened(project, set_) as (found, store):
        query = ForecastQuery(horizon=horizon, levels=None if level is None else tuple(level))
        answer = Answerer(found, store, SystemClock()).answer_batch(query=query)
    frame = forecast_frame(found, answer)
    if out is not None:
        _write(frame, out)
    for note in answer.notes:
        say(f"note: {note}")
    summary = {
        "prediction_id": answer.prediction_id,
        "release": answer.release,
        "cutoff": answer.cutoff,
        "rows": frame.height,
        "file": out,
    }
    if as_json:
        print_json(summary | ({} if out is not None else {"forecasts": _plain(frame)}))
        return
    if out is None:
        rows = frame.head(_SHOWN).rows()
        print_table(frame.columns, [[str(cell) if hasattr(cell, "year") else cell for cell in row] for row in rows])
        if frame.height > _SHOWN:
            say(f"{frame.height - _SHOWN} more rows; write them all: everloop forecast --out FILE.parquet")
    where = f" in {out}" if out is not None else ""
    say(f"{frame.height} rows{where}; prediction {answer.prediction_id} by release {answer.release[:12]}")


def forecast_frame(project: Project, answer: Answer) -> pl.DataFrame:
    """An answer as rows: series columns, time, ``forecast``, and the bounds of each level (null where unknown)."""
    data = project.settings.data
    values = answer.values
    n, steps = values.mean.shape
    keys = [split_key(key) for key in values.series]
    columns = [
        pl.Series(name, [key[place] for key in keys], dtype=pl.String).gather(np.repeat(np.arange(n), steps))
        for place, name in enumerate(data.series)
    ]
    times = pl.Series(data.time, np.tile(values.times, n)).cast(pl.Datetime("us"))
    columns.append(times.cast(pl.Date) if Frequency.parse(data.frequency).unit in _DAYS else times)
    columns.append(pl.Series("forecast", values.mean.ravel()))
    for level in values.lower:
        low, high = level_labels(level)
        columns += [
            pl.Series(low, values.lower[level].ravel()).fill_nan(None),
            pl.Series(high, values.upper[level].ravel()).fill_nan(None),
        ]
    return pl.DataFrame(columns)


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: cell.isoformat() if hasattr(cell, "isoformat") else cell for name, cell in row.items()}
        for row in frame.to_dicts()
    ]


def _write(frame: pl.DataFrame, out: Path) -> None:
    making = out.with_name(f".{out.name}.making")
    try:
        if out.suffix == ".csv":
            frame.write_csv(making)
        else:
            frame.write_parquet(making)
        making.replace(out)
    except OSError as error:
        raise UsageError(
            "write", f"cannot write {out}: {error.strerror or error}", hint="does the folder exist?", path="--out"
        ) from error
    finally:
        making.unlink(missing_ok=True)
