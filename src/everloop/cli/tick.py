"""``everloop tick``: one step of the loop."""

from __future__ import annotations

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import print_json, say
from everloop.cli.telling import step_as_json, tell_step
from everloop.core.clock import SystemClock
from everloop.loop.context import LoopContext, holder_name
from everloop.loop.tick import tick


def command(project: ProjectOption = None, set_: SetOption = None, as_json: JsonOption = False) -> int:
    """One step of the whole loop: data, monitoring, decisions, retraining, forecasts.

    It does what is due and nothing else, so call it as often as you like: from cron, a Kubernetes CronJob or
    Airflow. Exit status 1 says that a stage failed; the others were done all the same.

    Example: everloop tick
    """
    with opened(project, set_) as (found, store):
        report = tick(LoopContext(found, store, SystemClock(), holder_name()))
    if as_json:
        print_json(step_as_json(report))
    else:
        tell_step(report, say)
    return 1 if report.failures else 0
