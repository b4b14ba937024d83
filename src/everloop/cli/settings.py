"""``everloop settings``: the settings in force, and their reference."""

from __future__ import annotations

from typing import Annotated

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, project_of
from everloop.cli.output import print_json, print_table
from everloop.core.reference import describe_settings, settings_page, values_in_force


def command(
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the reference page (Markdown) instead.")
    ] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every setting with its value in force, unit and help.

    Example: everloop settings --set forecast.horizon=14
    """
    if reference:
        typer.echo(settings_page(), nl=False)
        return
    values = values_in_force(project_of(project, set_).settings)
    keys = describe_settings()
    if as_json:
        print_json(values)
        return
    print_table(
        ("key", "value", "unit", "help"), [(key.path, values.get(key.path), key.unit, key.help) for key in keys]
    )
