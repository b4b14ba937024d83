"""``everloop promote``: a release takes charge."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import print_json, say
from everloop.core.clock import SystemClock
from everloop.release.bundle import open_release
from everloop.release.promotion import failed_gates, promote
from everloop.staging.rehearsal import rehearse_once
from everloop.store.deployments import find_release, in_role


def command(
    name: Annotated[str, typer.Argument(help="A release's digest, the beginning of one, or 'challenger'.")],
    role: Annotated[
        Literal["champion", "challenger"], typer.Option("--role", help="The role that it is given.")
    ] = "champion",
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Although a gate failed; needs --reason.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, change nothing.")] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a release in charge, after verifying every file of its bundle; servers follow by themselves.

    A release that was never rehearsed is so first. One that failed a gate is refused (exit status 6) unless it is
    forced with a reason.

    Example: everloop promote 3f9a2c --reason "spring range"
    """
    with opened(project, set_) as (found, store):
        if dry_run:
            with store.read() as tx:
                row, present = find_release(tx, name), in_role(tx, role)
            release = open_release(found.releases / row.digest, digest=row.digest)
            rehearsed = [gate.to_dict() for gate in rehearse_once(found, store, SystemClock(), release)]
            failed = [gate["name"] for gate in failed_gates(row, rehearsed)]
            record = {"role": role, "release": row.digest, "previous": present, "failed_gates": failed}
            if as_json:
                print_json(record | {"changed": False})
                return
            say(f"would make {row.digest[:12]} ({row.candidate}) {role}; now it is {(present or 'nobody')[:12]}")
            if failed:
                say(f"it failed {', '.join(failed)}: that needs --force --reason '...'")
            return
        with store.read() as tx:
            digest = find_release(tx, name).digest
        rehearse_once(found, store, SystemClock(), open_release(found.releases / digest, digest=digest))
        why = reason if reason or force else "asked for"
        done = promote(found, store, SystemClock(), name, role=role, reason=why, actor=actor(), force=force)
    if as_json:
        print_json(asdict(done))
        return
    if not done.changed:
        say(f"{(done.release or '')[:12]} is {role} already")
        return
    say(f"{(done.release or '')[:12]} is {role}; before it was {(done.previous or 'nobody')[:12]}")
    if done.warning:
        say(f"warning: {done.warning}")
