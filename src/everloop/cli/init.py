"""``everloop init``: a project from a data file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from everloop.cli.options import JsonOption
from everloop.cli.output import print_json, print_record, say
from everloop.core.errors import UsageError
from everloop.core.project import SETTINGS_FILE
from everloop.data.infer import Guess, infer_file
from everloop.data.settings_file import render_toml


def command(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A CSV or Parquet file, one row a series and date.")],
    folder: Annotated[Path, typer.Option("--folder", "-f", help="Where to make the project.")] = Path(),
    name: Annotated[str, typer.Option("--name", help="Its name; by default the file's.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite settings that are there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the settings instead of writing them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at a data file and write an everloop.toml that fits it, with the reason for each guess.

    Example: everloop init sales.csv
    """
    guess = infer_file(data)
    folder = folder.resolve()
    source = os.path.relpath(data.resolve(), folder) if data.resolve().is_relative_to(folder) else str(data.resolve())
    text = render_toml(guess, name or data.stem, source)
    target = folder / SETTINGS_FILE
    if dry_run:
        typer.echo(text, nl=False)
        return
    if target.exists() and not force:
        raise UsageError(
            "project_exists",
            f"{target} is there already",
            hint="look first: everloop init DATA --dry-run; then --force, or --folder for another place",
            path=str(target),
        )
    folder.mkdir(parents=True, exist_ok=True)
    making = target.with_suffix(".toml.new")
    making.write_text(text, encoding="utf-8")
    making.replace(target)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text(".everloop/\n", encoding="utf-8")
    if as_json:
        print_json({"settings": target, "guess": _record(guess)})
        return
    print_record(_record(guess))
    for subject, reason in guess.reasons.items():
        say(f"{subject}: {reason}")
    say(f"wrote {target}; look it over, then: everloop run" + ("" if folder == Path.cwd() else f" -p {folder}"))


def _record(guess: Guess) -> dict[str, str]:
    """The guess, a line for each part that is not empty."""
    parts = {
        "series": ", ".join(guess.series),
        "time": f"{guess.time}, every {guess.frequency}",
        "target": guess.target,
        "static": ", ".join(guess.static),
        "observed": ", ".join(guess.observed),
        "closed on": ", ".join(guess.closed_weekdays),
        "left out": ", ".join(guess.ignored),
        "horizon": f"{guess.horizon} steps",
    }
    return {name: value for name, value in parts.items() if value}
