"""``everloop rollback``: the previous champion takes charge again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import print_json, say
from everloop.core.clock import SystemClock
from everloop.release.bundle import open_release
from everloop.release.promotion import previous_champion, rollback


def command(
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "asked for",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who would take charge, change nothing.")] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the previous champion back in charge; once more, and it is the one before that.

    Example: everloop rollback --reason "forecasts of store 7 are zero"
    """
    with opened(project, set_) as (found, store):
        if dry_run:
            current, target = previous_champion(store)
            open_release(found.releases / target, digest=target)
            if as_json:
                print_json({"role": "champion", "release": target, "previous": current, "changed": False})
            else:
                say(f"would go back from {current[:12]} to {target[:12]}")
            return
        done = rollback(found, store, SystemClock(), reason=reason, actor=actor())
    if as_json:
        print_json(asdict(done))
        return
    say(f"{(done.release or '')[:12]} is champion again; {(done.previous or '')[:12]} is not")
    if done.warning:
        say(f"warning: {done.warning}")
