"""``everloop compare``: runs ranked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, project_of
from everloop.cli.output import number, percent, print_json, print_table, say
from everloop.experiment.compare import rank_runs
from everloop.experiment.tracking import open_tracker


def command(
    metric: Annotated[
        str | None, typer.Option("--metric", "-m", help="Rank by wape, mase, rmsse, pinball or bias.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many at most.", min=1)] = 20,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank runs, the best first; runs on other data or windows than the newest one's come after, marked.

    Example: everloop compare --metric rmsse -n 5
    """
    found = project_of(project, set_)
    ranked = rank_runs(open_tracker(found), metric=metric, limit=limit)
    if as_json:
        print_json([asdict(each) for each in ranked])
        return
    if not ranked:
        say("no runs yet; begin with: everloop train")
        return
    rows = [
        (
            each.run_id[:12],
            each.candidate,
            number(each.value),
            percent(each.skill),
            each.started_at,
            each.dataset_version,
            "yes" if each.is_comparable else "no",
            each.gates,
            each.release[:12],
        )
        for each in ranked
    ]
    columns = ("run", "candidate", ranked[0].metric.upper(), "better than naive by", "at", "data", "comparable")
    print_table((*columns, "gates", "release"), rows)
