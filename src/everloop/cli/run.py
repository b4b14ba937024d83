"""``everloop run``: the main job."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everloop.cli.marks import marked_in_words
from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import number, percent, print_json, print_table, progress, say
from everloop.core.clock import SystemClock
from everloop.core.errors import GateError
from everloop.data.ingest import ingest
from everloop.data.table import head
from everloop.improve.refresh import LoadedReleases, refresh_states
from everloop.improve.retraining import Retraining, retrain
from everloop.improve.triggers import Trigger
from everloop.loop.context import LoopContext, holder_name
from everloop.loop.lease import held_lease


def command(
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "asked for",
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """The main job, from the source to a release: ingest, examine the candidates, gates, fit, release, roll out.

    The first release that passes its gates takes charge at once; a later one is tried as release.rollout says.

    Example: everloop run --set train.candidates='["seasonal_naive", "lightgbm"]'
    """
    with opened(project, set_) as (found, store):
        clock = SystemClock()
        context = LoopContext(found, store, clock, holder_name())
        with held_lease(context) as lease:
            say(f"ingesting {found.settings.data.source}")
            ingested = ingest(found, clock)
            for warning in ingested.warnings:
                say(f"warning: {warning}")
            say(f"dataset version {ingested.version.version}: {ingested.version.rows} rows, {ingested.added} new")
            with progress("training", len(found.settings.train.candidates) + 1) as advance:
                trained = retrain(
                    found,
                    store,
                    clock,
                    Trigger("person", reason),
                    actor=actor(),
                    guard=lease.check,
                    progress=advance,
                )
            dataset = head(found.table)
            if dataset is not None:
                refresh_states(found, store, dataset, now=clock.now(), loaded=LoadedReleases(found))
    if as_json:
        print_json(as_record(trained))
    else:
        print_candidates(trained)
        if trained.examinations and trained.examinations[0].marks:
            say(f"marked: {marked_in_words(trained.examinations[0].marks)}; see: everloop marks")
        say(f"{trained.became}: {trained.reason}")
        if trained.release is not None:
            say("next: everloop serve, or everloop forecast --out forecasts.parquet")
    if trained.became == "rejected":
        raise GateError(
            "gates_failed", trained.reason, hint="see each gate: everloop compare; or change validate.gates"
        )


def print_candidates(trained: Retraining) -> None:
    """The candidates of a training side by side, best first."""
    rows = []
    for each in trained.examinations:
        scores = each.evaluation.scores.overall
        metric = each.metric
        rows.append(
            (
                each.candidate,
                number(None if each.value == float("inf") else each.value),
                percent(each.evaluation.skill.get(metric)),
                percent(scores["bias"].value),
                "yes" if each.passed else "no: " + ", ".join(gate.code for gate in each.gates if gate.blocks),
                each.run_id[:12],
            )
        )
    columns = ("candidate", trained.examinations[0].metric.upper(), "better than naive by", "bias", "passed", "run")
    print_table(columns, rows)


def as_record(trained: Retraining) -> dict[str, Any]:
    """A training as JSON values."""
    return {
        "became": trained.became,
        "reason": trained.reason,
        "release": trained.release.digest if trained.release else None,
        "dataset": {"version": trained.dataset.version, "digest": trained.dataset.digest},
        "candidates": [
            {
                "name": each.candidate,
                "run_id": each.run_id,
                "passed": each.passed,
                "metrics": each.summary(),
                "gates": [gate.to_dict() for gate in each.gates],
            }
            for each in trained.examinations
        ],
    }
