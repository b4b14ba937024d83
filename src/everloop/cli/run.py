"""``everloop run``: the main job."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from everloop.cli.examinations import print_examinations
from everloop.cli.marks import marked_in_words
from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import print_json, progress, say
from everloop.core.clock import SystemClock
from everloop.core.errors import GateError
from everloop.core.project import Project
from everloop.data.ingest import ingest
from everloop.data.table import head
from everloop.improve.refresh import LoadedReleases, refresh_states
from everloop.improve.retraining import Retraining, retrain
from everloop.improve.triggers import Trigger
from everloop.loop.context import LoopContext, holder_name
from everloop.loop.lease import held_lease
from everloop.store.engine import Store
from everloop.store.events import list_events
from everloop.validate.tuning import is_tunable


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
            failures = _failures(found, store, trained)
    if as_json:
        print_json(as_record(trained, failures))
    else:
        print_examinations(trained.examinations, failures, currency=found.settings.costs.currency)
        _say_more(found, trained, failures)
        if trained.examinations and trained.examinations[0].marks:
            say(f"marked: {marked_in_words(trained.examinations[0].marks)}; see: everloop marks")
        say(f"{trained.became}: {trained.reason}")
        if trained.became != "rejected":
            say("next: everloop serve, or everloop forecast --out forecasts.parquet")
    if trained.became == "rejected":
        where = "everloop compare" if trained.release is None else f"everloop release {trained.release.digest[:12]}"
        raise GateError("gates_failed", trained.reason, hint=f"see each gate: {where}; or change validate.gates")


def _failures(project: Project, store: Store, trained: Retraining) -> dict[str, str]:
    """Why each candidate that has no examination could not be examined."""
    done = {each.candidate for each in trained.examinations}
    with store.read() as tx:
        newest = {each.subject: each.evidence for each in list_events(tx, kinds=("candidate_failed",))}
    return {
        name: newest.get(name, {}).get("error", {}).get("message", "see: everloop events")
        for name in project.settings.train.candidates
        if name not in done
    }


def _say_more(project: Project, trained: Retraining, failures: dict[str, str]) -> None:
    """What a reader of the table may ask next."""
    chosen = next((each for each in trained.examinations if each.passed), None)
    if chosen is not None and chosen is not trained.examinations[0]:
        say(f"{trained.examinations[0].candidate} has the least error, but fails its gates: everloop compare")
    if failures:
        say(f"{len(failures)} of the candidates failed; a traceback is in their MLflow runs (error.txt)")
    if chosen is not None:
        tune = f"; better options: everloop tune {chosen.candidate}" if is_tunable(project, chosen.candidate) else ""
        say(f"what its features bring: everloop explain {chosen.candidate}{tune}")


def as_record(trained: Retraining, failures: dict[str, str]) -> dict[str, Any]:
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
        "failed": failures,
    }
