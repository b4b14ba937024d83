"""The part of ``everloop monitor`` that is about models of rows."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from everloop.cli.output import print_json, print_record, print_table, say
from everloop.core.project import Project
from everloop.monitor.row_live import look_at_rows
from everloop.store.alerts import open_alerts
from everloop.store.engine import Store

__all__ = ["show_rows"]


def show_rows(project: Project, store: Store, *, release: str, now: datetime, as_json: bool) -> None:
    """The live accuracy of a model of rows, on stdout.

    Args:
        project: the project.
        store: its store.
        release: a digest, a beginning of one, or a role.
        now: the present.
        as_json: as JSON rather than as tables.
    """
    report = look_at_rows(project, store, release=release, now=now)
    with store.read() as tx:
        alerts = open_alerts(tx)
    if as_json:
        print_json({**report.to_dict(), "alerts": [asdict(alert) for alert in alerts]})
        return
    print_record(
        {
            "release": f"{report.release.digest[:12]} ({report.release.candidate})",
            "window": f"since {report.since:%Y-%m-%d}",
            "waiting for truth": f"{report.waiting} rows",
        }
    )
    for output in report.outputs:
        print_record(asdict(output.scores), title=output.output)
    if report.watches:
        rows = []
        for each in report.watches:
            evidence = each.evidence
            rows.append((evidence.unit, each.days, each.live, evidence.lower, evidence.upper, each.verdict))
        print_table(("by day", "days", "live", "lowest", "highest", "verdict"), rows)
        for each in report.watches:
            if each.verdict != "within":
                say(f"{each.evidence.unit}: {each.evidence.reason}")
    if not any(output.scores.n for output in report.outputs):
        say("no outcome has met an answer yet; tell what happened: everloop outcomes FILE")
    for alert in alerts:
        say(f"alert[{alert.code}] since {alert.since:%Y-%m-%d %H:%M}Z: {alert.message}")
