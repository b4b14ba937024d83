"""``everloop monitor drift``: what changed since a release was trained, and accepting it."""

from __future__ import annotations

from datetime import datetime

from everloop.cli.options import actor
from everloop.cli.output import percent, print_json, print_record, print_table, say
from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.loop.row_inputs import inputs_of
from everloop.monitor.drift.report import ColumnVerdict, DriftReport, Finding, amount
from everloop.monitor.drift.rows import look_for_row_drift
from everloop.monitor.drift.settling import accept_drift
from everloop.monitor.drift.watching import look_for_drift
from everloop.store.deployments import find_release
from everloop.store.engine import Store

__all__ = ["accept", "show_drift"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLOT_DAYS = 60


def show_drift(project: Project, store: Store, *, release: str, now: datetime, as_json: bool) -> None:
    """Look for drift and print what was found.

    Args:
        project: the project.
        store: its store.
        release: a digest, a beginning of one, or a role.
        now: the present.
        as_json: print JSON.
    """
    report = _look(project, store, release, now)
    if as_json:
        print_json(report.to_dict())
        return
    evidence = report.evidence
    print_record(_head(report))
    if report.columns:
        print()
        print_table(
            ("column", "verdict", "what", "since", "expected", "seen", "last day", "shift", "importance"),
            [_row(each) for each in report.columns],
        )
    if evidence.series:
        print()
        _plot(report)
    for warning in evidence.warnings:
        say(f"note: {warning}")
    for column, reason in report.left_out.items():
        say(f"not watched: {column}, {reason}")
    if evidence.verdict == "drift":
        say("if the change is as you want it: everloop monitor --accept drift --reason TEXT")


def _look(project: Project, store: Store, release: str, now: datetime) -> DriftReport:
    if project.settings.project.task == "forecasting":
        return look_for_drift(project, store, now=now, release=release)
    with store.read() as tx:
        digest = find_release(tx, release).digest
    return look_for_row_drift(project, store, now=now, release=digest, inputs=inputs_of(project, digest))


def accept(store: Store, what: str, *, reason: str, now: datetime) -> None:
    """Accept a change, and say so.

    Raises:
        UsageError: something else than drift is to be accepted, or without a reason.
        ConflictError: no drift is open.
    """
    if what != "drift" or not reason:
        raise UsageError(
            "accept_what",
            "only drift can be accepted, and with a reason",
            hint='everloop monitor --accept drift --reason "new price list"',
        )
    accepted = accept_drift(store, at=now, actor=actor(), reason=reason)
    since = f"since {accepted.since:%Y-%m-%d} " if accepted.since else ""
    say(f"the change {since}is accepted; what is usual now is learnt for four weeks, then drift is watched again")


def _head(report: DriftReport) -> dict[str, str]:
    evidence = report.evidence
    watched = f"{report.watched_until:%Y-%m-%d}, {evidence.n} periods" if report.watched_until else "nothing yet"
    head = {
        "release": f"{report.release.digest[:12]} ({report.release.candidate})",
        "learnt from": f"data up to {report.reference_until:%Y-%m-%d}; season: {report.season}",
        "watched until": watched,
        "drift": f"{evidence.verdict}: {evidence.reason}",
    }
    if report.drifting:
        head["releases touched"] = ", ".join(digest[:12] for digest in report.releases) or "none that has a role"
        head["series touched"] = ", ".join(report.groups) or "all, as far as groups are watched (monitor.groups)"
    if evidence.guarantee:
        head["guarantee"] = evidence.guarantee
    return head


def _row(column: ColumnVerdict) -> tuple[object, ...]:
    importance = None if column.importance is None else percent(column.importance)
    if not column.findings:
        return (column.column, f"{column.verdict}: {column.reason}", "", None, None, None, None, None, importance)
    first: Finding = column.findings[0]
    since = column.since.isoformat() if column.since else None
    expected = amount(first.usually, first.aspect)
    seen = amount(first.lately, first.aspect)
    about = f"{first.aspect} of {first.label}" if first.label else first.aspect
    more = len(column.alarms) - 1
    what = f"{about} (+{more})" if more > 0 else about
    day = f"{amount(first.seen, first.aspect)} ({first.day:%m-%d})"
    return (column.column, column.verdict, what, since, expected, seen, day, round(first.shift, 2), importance)


def _plot(report: DriftReport) -> None:
    """What was seen and what was expected of the first column that changed, in two lines of blocks."""
    series = report.evidence.series
    seen, expected = series["seen"][-_PLOT_DAYS:], series["expected"][-_PLOT_DAYS:]
    known = [value for value in (*seen, *expected) if value is not None]
    if not known:
        return
    low, high = min(known), max(known)
    step = (high - low) / (len(_BLOCKS) - 1) or 1.0
    print(f"{report.drifting[0].column}, {series['day'][-len(seen)]} to {series['day'][-1]}, {low:.4g} to {high:.4g}")
    for name, values in (("seen", seen), ("expected", expected)):
        print(f"  {name:<9}" + "".join(" " if v is None else _BLOCKS[round((v - low) / step)] for v in values))
