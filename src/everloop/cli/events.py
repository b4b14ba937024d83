"""``everloop events``: the audit log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, print_table, say
from everloop.store.events import list_events


def command(
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="Only events of this kind; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many of the newest.", min=1)] = 30,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was decided, when, by whom, and why.

    Example: everloop events --kind promoted --kind kept
    """
    with opened(project, set_) as (_, store), store.read() as tx:
        events = list_events(tx, kinds=tuple(kind or ()), limit=limit)
    if as_json:
        print_json([asdict(event) for event in events])
        return
    if not events:
        say("no events yet; begin with: everloop run")
        return
    rows = [(event.at, event.kind, event.actor, event.subject[:12], event.message) for event in events]
    print_table(("at", "kind", "by", "subject", "what"), rows)
