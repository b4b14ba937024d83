"""``everloop backtest``: one candidate's examination."""

from __future__ import annotations

from typing import Annotated

import typer

from everloop.cli.examinations import examination_record, print_examinations, print_gates
from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened
from everloop.cli.output import number, percent, print_json, print_table, progress
from everloop.core.clock import SystemClock
from everloop.data.loading import load_panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.experiment.tuned import with_tuned
from everloop.release.champion import champion_reference
from everloop.validate.examination import BASELINE, Examination, Shared, backtest_candidate, examine


def command(
    candidate: Annotated[str, typer.Argument(help="A built-in name, or 'module:Class' for your own.")],
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Backtest one candidate on past windows and judge it by the gates; nothing is fitted for release.

    It is recorded as an MLflow run, with metrics by window and by step ahead.

    Example: everloop backtest lightgbm --set validate.windows=5
    """
    with opened(project, set_) as (found, store):
        found = with_tuned(found, store)
        settings = found.settings
        panel, dataset = load_panel(found, history=settings.train.history, horizon=settings.forecast.horizon)
        tracker = open_tracker(found, clock=SystemClock())
        with progress(f"backtest of {candidate}", settings.validation.windows) as advance:
            shared = Shared(
                project=found,
                panel=panel,
                dataset=dataset,
                tracker=tracker,
                lineage=collect_lineage(found),
                baseline=backtest_candidate(found, panel, BASELINE, options={}, dataset=dataset),
                champion=champion_reference(found, store, panel, dataset=dataset),
            )
            examination = examine(candidate, shared, progress=lambda done, _: advance(done, "windows"))
    if as_json:
        print_json(examination_record(examination))
        return
    print_examinations([examination], currency=found.settings.costs.currency)
    _print_windows(examination)
    print_gates([gate.to_dict() for gate in examination.gates])


def _print_windows(examination: Examination) -> None:
    metric, scores = examination.metric, examination.evaluation
    rows = [
        (
            f"window {place + 1}",
            number(mine[metric].value),
            number(naive[metric].value),
            percent(mine["bias"].value),
            mine[metric].n,
        )
        for place, (mine, naive) in enumerate(zip(scores.scores.by_fold, scores.baseline.by_fold, strict=True))
    ]
    print_table(("window", metric.upper(), "seasonal naive", "bias", "n"), rows)
