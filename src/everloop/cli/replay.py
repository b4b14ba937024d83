"""``everloop replay``: the loop over past data."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, project_of
from everloop.cli.output import percent, print_json, print_table, progress, say
from everloop.cli.telling import describe
from everloop.loop.replay import Replay, ReplayPlan, open_replay, replay


def command(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], metavar="DAY", help="The first day.")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], metavar="DAY", help="The last day.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from where an earlier replay of these days stopped.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line for each day.")] = False,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Walk the loop through past data, day by day, and print what was decided.

    The real code runs: ingest, forecast, outcomes, monitor, retrain, promote. It works in a world of its own below
    .everloop/replays and changes nothing else. Override settings to ask what another rule would have done.

    Example: everloop replay --from 2011-09-01 --to 2011-12-09 --set release.alpha=0.01
    """
    plan = ReplayPlan(first.date(), last.date())
    run = open_replay(project_of(project, set_), plan, fresh=not resume)
    try:
        with progress(f"replay of {run.project.name}", len(plan.days)) as advance:
            for done, report in enumerate(replay(run, plan), start=1):
                advance(done, f"{report.at:%Y-%m-%d}")
                if verbose:
                    say(f"{report.at:%Y-%m-%d}  {describe(report)}")
        summary = summarize(run)
    finally:
        run.store.close()
    if as_json:
        print_json(summary)
        return
    print_decisions(run)
    print_table(
        ("days", "trainings", "promotions", "live WAPE", "backtest's WAPE", "pairs"),
        [
            (
                summary["days"],
                summary["trainings"],
                summary["promotions"],
                percent(summary["live_wape"]),
                percent(summary["expected_wape"]),
                summary["pairs"],
            )
        ],
        title="\nIn all",
    )
    say(f"the replay's own world: {run.project.home}")


def print_decisions(run: Replay) -> None:
    """The decisions of a replay as a table."""
    rows = [(f"{event.at:%Y-%m-%d}", event.kind, event.subject[:12], event.message) for event in run.decisions]
    if rows:
        print_table(("day", "decision", "about", "why"), rows, title="What was decided")
    else:
        say("nothing was decided in these days")


def summarize(run: Replay) -> dict[str, Any]:
    """A replay in numbers, with its decisions."""
    kinds = [event.kind for event in run.decisions]
    live = next((report.live for report in reversed(run.reports) if report.live is not None), None)
    return {
        "days": len(run.reports),
        "trainings": sum(report.retraining is not None for report in run.reports),
        "promotions": kinds.count("promoted"),
        "live_wape": live.accuracy.wape if live else None,
        "expected_wape": live.accuracy.expected_wape if live else None,
        "pairs": live.accuracy.n if live else 0,
        "decisions": [asdict(event) for event in run.decisions],
        "failures": [
            {"at": report.at, "stage": stage, **error.to_dict()["error"]}
            for report in run.reports
            for stage, error in report.failures
        ],
        "world": run.project.home,
    }
