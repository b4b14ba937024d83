"""``everloop monitor``: live accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from everloop.cli.monitor_drift import accept, show_drift
from everloop.cli.monitor_live import draw_live
from everloop.cli.monitor_rows import show_rows
from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import number, percent, print_json, print_record, print_table, say
from everloop.core.clock import SystemClock
from everloop.monitor.live import LiveReport, look
from everloop.monitor.ranges import LiveWatch, watch_live
from everloop.serve.log.outage import local_alerts
from everloop.serve.log.spool import spool_folder
from everloop.store.alerts import Alert, open_alerts
from everloop.store.events import list_events


def command(
    release: Annotated[
        str, typer.Argument(metavar="[drift] [RELEASE]", help="A release's digest, its beginning, or a role.")
    ] = "champion",
    of: Annotated[str, typer.Argument(hidden=True)] = "",
    as_of: Annotated[
        datetime | None, typer.Option("--as-of", metavar="INSTANT", help="Look as if it were this instant (UTC) now.")
    ] = None,
    accept_: Annotated[
        str, typer.Option("--accept", metavar="drift", help="Take the change that is seen for the new normal.")
    ] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why it is accepted, for the audit log.")] = "",
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Live accuracy beside what the backtest promised, by steps ahead: decay, expected ranges, estimates.

    `everloop monitor drift` tells what changed in the data since the release was trained.

    Example: everloop monitor challenger
    """
    with opened(project, set_) as (found, store):
        now = as_of.replace(tzinfo=UTC) if as_of else SystemClock().now()
        if accept_:
            accept(store, accept_, reason=reason, now=now)
            return
        if release == "drift":
            show_drift(found, store, release=of or "champion", now=now, as_json=as_json)
            return
        if found.settings.project.task != "forecasting":
            show_rows(found, store, release=release, now=now, as_json=as_json)
            return
        report = look(found, store, release=release, now=now)
        watch = watch_live(found, store, release=report.release.digest, now=now)
        with store.read() as tx:
            alerts = open_alerts(tx) + local_alerts(spool_folder(found))
            rollbacks = list_events(tx, kinds=("rolled_back",), limit=1)
    if as_json:
        _print_json(report, watch, alerts)
        return
    _show(report)
    draw_live(watch, rollbacks)
    if report.accuracy.reason:
        say(f"{report.accuracy.reason}; tell what happened: everloop outcomes FILE, or wait for the next ingestion")
    for alert in alerts:
        say(f"alert[{alert.code}] since {alert.since:%Y-%m-%d %H:%M}Z: {alert.message}")


def _print_json(report: LiveReport, watch: LiveWatch, alerts: Sequence[Alert]) -> None:
    print_json(
        {
            "release": report.release.digest,
            "since": report.since,
            "accuracy": asdict(report.accuracy),
            "decay": report.decay.to_dict(),
            "expected": watch.to_dict(),
            "alerts": [asdict(alert) for alert in alerts],
        }
    )


def _show(report: LiveReport) -> None:
    """The accuracy over the window, and by steps ahead beside the backtest's."""
    accuracy = report.accuracy
    print_record(
        {
            "release": f"{report.release.digest[:12]} ({report.release.candidate})",
            "window": f"since {report.since:%Y-%m-%d}: {accuracy.n} forecasts with outcome, {accuracy.days} days",
            "live WAPE": percent(accuracy.wape),
            "backtest's WAPE": percent(accuracy.expected_wape),
            "bias": percent(accuracy.bias),
            **{f"coverage of {level} %": percent(share) for level, share in accuracy.coverage.items()},
            "waiting for truth": accuracy.waiting,
            "known beforehand": accuracy.hindsight,
            "left out (data.cleaning)": accuracy.left_out,
            "decay": f"{report.decay.verdict}: {report.decay.reason}",
        }
    )
    if accuracy.by_step:
        rows = [(row["step"], row["n"], number(row["wape"]), number(row["expected"])) for row in accuracy.by_step]
        print_table(("steps ahead", "n", "WAPE", "backtest's"), rows)
