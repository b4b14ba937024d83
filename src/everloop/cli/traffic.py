"""``everloop traffic``: who answers what share of the traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import percent, print_json, print_table, say
from everloop.core.clock import SystemClock
from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.monitor.traffic import SplitReport, look_at_split
from everloop.release.bundle import open_release
from everloop.store.deployments import find_release, in_role
from everloop.store.engine import Store
from everloop.store.splits import TrafficSplit, change_split, end_split, split_in_force, start_split

_SHARES = "champion=0.9 challenger=0.1"


def command(
    action: Annotated[Literal["show", "set", "end"], typer.Argument(help="What to do.")] = "show",
    shares: Annotated[
        list[str] | None, typer.Argument(help=f"For set: releases or roles with shares that sum to 1: {_SHARES}.")
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", help="For a new split: what is drawn, release.split_unit by default; a column, series or header."
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "asked for",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, change nothing.")] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show, set or end the split of the traffic; servers follow within their poll interval, without a lost request.

    Each unit (a series, a store, a user) stays with its release. Changed weights move only as many units as they must.
    The counts are checked for sample ratio mismatch, by a test that may be looked at as often as one likes.

    Example: everloop traffic set champion=0.9 challenger=0.1 --unit store_id --reason "canary"
    """
    if shares and action != "set":
        raise UsageError("traffic_shares", f"'{action}' takes no shares", hint=f"everloop traffic set {_SHARES}")
    with opened(project, set_) as (found, store):
        if action == "show":
            _show(store, as_json=as_json)
        elif action == "end":
            _end(store, reason, dry_run=dry_run, as_json=as_json)
        else:
            _set(found, store, _parsed(shares or []), unit, reason, dry_run=dry_run, as_json=as_json)


def _show(store: Store, *, as_json: bool) -> None:
    report = look_at_split(store)
    roles = _roles(store)
    if as_json:
        print_json(
            None if report is None else report.to_dict() | {"roles": {name: each for each, name in roles.items()}}
        )
    elif report is None:
        say(f"traffic is not split: the champion answers all; begin with: everloop traffic set {_SHARES}")
    else:
        _print(report, roles)


def _print(report: SplitReport, roles: Mapping[str, str]) -> None:
    split = report.split
    if split.ended_at is not None:
        say(f"traffic is not split; this one ended at {split.ended_at:%Y-%m-%d %H:%M}Z:")
    rows = [
        (
            arm.release[:12],
            roles.get(arm.release, ""),
            percent(arm.weight, digits=2),
            arm.requests,
            arm.units,
            percent(arm.expected, digits=2),
            percent(arm.observed, digits=2),
        )
        for arm in report.arms
    ]
    print_table(("release", "role", "share", "answers", "units", "expected", "observed"), rows)
    say(
        f"split {split.experiment} by {split.unit}, since {split.stages[0].at:%Y-%m-%d %H:%M}Z, "
        f"{len(split.stages) - 1} changes; {report.loose} answers to requests without a unit"
    )
    say(report.verdict)


def _set(
    project: Project,
    store: Store,
    asked: Mapping[str, float],
    unit: str | None,
    reason: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    weights = _weights(project, store, asked)
    with store.read() as tx:
        present = split_in_force(tx)
    if present is not None and unit not in (None, present.unit):
        raise UsageError(
            "split_unit",
            f"the split in force draws by {present.unit!r}; another unit would draw everybody anew",
            hint="end it first: everloop traffic end",
        )
    if dry_run:
        shown = ", ".join(f"{release[:12]} {share:.2%}" for release, share in weights.items())
        say(f"would {'begin a split' if present is None else 'change the split'}: {shown}")
        return
    now = SystemClock().now()
    with store.write() as tx:
        if split_in_force(tx) is None:
            by = unit or project.settings.release.split_unit
            split = start_split(tx, weights, unit=by, at=now, reason=reason, actor=actor())
        else:
            split = change_split(tx, weights, at=now, reason=reason, actor=actor())
    _tell(split, "is now split", as_json=as_json)


def _end(store: Store, reason: str, *, dry_run: bool, as_json: bool) -> None:
    with store.read() as tx:
        split = split_in_force(tx)
    if split is not None and not dry_run:
        with store.write() as tx:
            split = end_split(tx, at=SystemClock().now(), reason=reason, actor=actor())
    if split is None:
        if as_json:
            print_json(None)
        say("traffic is not split")
        return
    _tell(split, "would not be split any more" if dry_run else "is not split any more, it was", as_json=as_json)


def _tell(split: TrafficSplit, what: str, *, as_json: bool) -> None:
    if as_json:
        tree: dict[str, Any] = asdict(split)
        del tree["salt"]
        print_json(tree)
        return
    shown = ", ".join(f"{release[:12]} {share:.2%}" for release, share in split.weights.items())
    say(f"traffic {what}: {shown} by {split.unit}")


def _parsed(shares: list[str]) -> dict[str, float]:
    """Names and shares."""
    parsed: dict[str, float] = {}
    for text in shares:
        name, equals, share = text.partition("=")
        try:
            value = float(share)
        except ValueError:
            equals = ""
        if not equals or not name or name in parsed:
            raise UsageError("traffic_shares", f"{text!r} is no release and share", hint=f"give each once: {_SHARES}")
        parsed[name] = value
    if not parsed:
        raise UsageError("traffic_shares", "no shares are given", hint=f"everloop traffic set {_SHARES}")
    return parsed


def _weights(project: Project, store: Store, asked: Mapping[str, float]) -> dict[str, float]:
    """The shares by digest; a release that gets one is verified first."""
    weights: dict[str, float] = {}
    for name, share in asked.items():
        with store.read() as tx:
            digest = find_release(tx, name).digest
        if digest in weights:
            raise UsageError("traffic_shares", f"{name!r} names {digest[:12]} again", hint="give each release once")
        if share > 0:
            open_release(project.releases / digest, digest=digest)
        weights[digest] = share
    return weights


def _roles(store: Store) -> dict[str, str]:
    with store.read() as tx:
        found = {in_role(tx, "challenger"): "challenger", in_role(tx, "champion"): "champion"}
    return {digest: name for digest, name in found.items() if digest is not None}
