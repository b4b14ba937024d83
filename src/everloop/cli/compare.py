"""``everloop compare``: runs ranked, or the time that a trial would take."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, project_of
from everloop.cli.output import number, percent, print_json, print_table, say
from everloop.core.errors import UsageError
from everloop.core.project import Project


def command(
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            "-m",
            help="Rank by wape, mase, rmsse, pinball, wrmsse, wspl, cost or bias; with --plan, error or target.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many at most.", min=1)] = 20,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say how long a trial would take for which effect, by the project's past.")
    ] = False,
    effect: Annotated[
        list[float] | None,
        typer.Option("--effect", help="With --plan: an improvement to find, 0.05 for 5 %; may be repeated.", min=0),
    ] = None,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank runs, the best first; runs on other data or windows than the newest one's come after, marked.

    With --plan: how many days an A/B test would take, with and without each unit's own past, and a shadow trial.

    Example: everloop compare --metric rmsse -n 5; everloop compare --plan --effect 0.03
    """
    found = project_of(project, set_)
    if plan:
        _plan(found, metric, effect, as_json=as_json)
    else:
        _rank(found, metric, limit, as_json=as_json)


def _rank(found: Project, metric: str | None, limit: int, *, as_json: bool) -> None:
    from everloop.experiment.compare import rank_runs
    from everloop.experiment.tracking import open_tracker

    ranked = rank_runs(open_tracker(found), metric=metric, limit=limit)
    if as_json:
        print_json([asdict(each) for each in ranked])
        return
    if not ranked:
        say("no runs yet; begin with: everloop train")
        return
    shown = ranked[0].metric.upper()
    # what a forecast's errors cost stands beside how large they are
    has_cost = any(each.cost is not None for each in ranked)
    beside = [name for name in ("WAPE", "COST") if has_cost and name != shown]
    rows = [
        (
            each.run_id[:12],
            each.candidate,
            number(each.value),
            *(number(each.wape if name == "WAPE" else each.cost) for name in beside),
            percent(each.skill),
            each.started_at,
            each.dataset_version,
            "yes" if each.is_comparable else "no",
            each.gates,
            each.release[:12],
        )
        for each in ranked
    ]
    columns = ("run", "candidate", shown, *beside, "better than naive by", "at", "data", "comparable")
    print_table((*columns, "gates", "release"), rows)


def _plan(found: Project, metric: str | None, effects: list[float] | None, *, as_json: bool) -> None:
    from everloop.improve.split_plan import plan_trial
    from everloop.stats.split.planning import PlannedDays

    if metric not in (None, "error", "target"):
        raise UsageError("plan_metric", f"a plan knows no metric {metric!r}", hint="take error or target")
    chosen: Literal["error", "target"] = "target" if metric == "target" else "error"
    plan = plan_trial(found, metric=chosen, effects=effects or [0.02, 0.05, 0.1])
    if as_json:
        print_json(asdict(plan))
        return

    def days(each: PlannedDays) -> str:
        if each.median is None:
            return f"not in {plan.max_days} ({each.decided:.0%} do)"
        later = f"{each.p80:.0f}" if each.p80 is not None else f"over {plan.max_days}"
        return f"{each.median:.0f} (80 % by {later})"

    rows = []
    for place, each in enumerate(plan.split):
        shadow = days(plan.shadow[place]) if plan.shadow else "cannot tell"
        rows.append((f"{each.effect:.1%}", days(each), days(plan.adjusted[place]), shadow))
    title = f"Days to find a challenger whose {plan.metric} is better, at most {plan.alpha:.0%} false promotions"
    print_table(("better by", "split", "split, with each unit's past", "shadow"), rows, title=title)
    say(
        f"by {plan.past_days} days of the past: {plan.units} units ({plan.unit}), {plan.share:.0%} of them to the "
        f"challenger; a shadow by {plan.clusters} clusters ({plan.cluster}); at most {plan.max_days} days"
    )
    if plan.likeness is not None:
        say(f"the two simple forecasts that stand for the models have losses that correlate by {plan.likeness:.2f}")
    for line in plan.advice:
        say(line)
