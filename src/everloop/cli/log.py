"""``everloop log``: what the prediction log holds, its export, and its pruning."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import print_json, print_record, progress, say
from everloop.core.clock import SystemClock
from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.store.engine import Store
from everloop.store.history import count_predictions


def command(
    action: Annotated[Literal["stats", "export", "prune"], typer.Argument(help="What to do.")],
    to: Annotated[
        str, typer.Option("--to", metavar="PATH", help="With export: the Delta table instead of log.export.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With prune: count, change nothing.")] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the prediction log, append what is new to a Delta table, or delete what is old enough.

    export appends each prediction once, however often it is called or killed. prune deletes predictions that are
    older than log.keep_days and that no watched outcome, trial or split needs; with log.export set, none that the
    table does not hold.

    Example: everloop log export --to exports/predictions
    """
    if to and action != "export":
        raise UsageError("log_to", f"{action} goes to no place", hint="--to belongs to: everloop log export")
    if dry_run and action != "prune":
        raise UsageError("log_dry_run", f"{action} deletes nothing", hint="--dry-run belongs to: everloop log prune")
    with opened(project, set_) as (found, store):
        if action == "stats":
            _stats(found, store, as_json=as_json)
        elif action == "export":
            _export(found, store, to or found.settings.log.export, as_json=as_json)
        else:
            _prune(found, store, is_dry=dry_run, as_json=as_json)


def _stats(project: Project, store: Store, *, as_json: bool) -> None:
    from everloop.serve.log.stats import log_stats

    stats = log_stats(project, store, now=SystemClock().now())
    if as_json:
        print_json(asdict(stats))
        return
    record: dict[str, Any] = {
        "predictions": stats.predictions,
        "first": stats.first,
        "last": stats.last,
        "buffer on disk": f"{stats.spooled} predictions, {stats.spool_bytes} bytes",
        "kept": "for ever" if stats.keep_days == 0 else f"{stats.keep_days} days",
        "may be deleted": stats.due,
    }
    for export in stats.exports:
        record[f"exported to {export['location']}"] = f"until {export['last_day']}, looked at {export['at']}"
    print_record(record)


def _export(project: Project, store: Store, place: str, *, as_json: bool) -> None:
    from everloop.serve.log.export import export_location, export_predictions

    if not place:
        raise UsageError("log_to", "where are the predictions to go?", hint="say --to PATH, or set log.export")
    with store.read() as tx:
        total = count_predictions(tx)
    with progress("exporting", total) as advance:
        done = export_predictions(
            store,
            export_location(project, place),
            now=SystemClock().now(),
            progress=lambda done, _: advance(done, "predictions"),
        )
    if as_json:
        print_json(asdict(done))
        return
    version = "no table yet" if done.version is None else f"version {done.version}"
    say(f"{done.rows} predictions appended to {done.location} ({version})")


def _prune(project: Project, store: Store, *, is_dry: bool, as_json: bool) -> None:
    from everloop.serve.log.retention import prune_predictions

    pruned = prune_predictions(project, store, now=SystemClock().now(), actor=actor(), is_dry=is_dry)
    if pruned.bound is None:
        raise UsageError(
            "log_kept", "predictions are kept for ever", hint="set log.keep_days, or try --set log.keep_days=90"
        )
    if as_json:
        print_json(asdict(pruned) | {"dry_run": is_dry})
        return
    verb = "would be deleted" if is_dry else "deleted"
    say(f"{pruned.deleted} predictions {verb}: about times before {pruned.bound.over_before:%Y-%m-%d %H:%M}Z")
    for reason in pruned.bound.reasons:
        say(f"  more are kept than log.keep_days says: {reason}")
    if project.settings.log.export:
        say(
            f"  they are first exported to {project.settings.log.export}"
            if is_dry
            else f"  {pruned.exported} of them were exported just now to {project.settings.log.export}"
        )
