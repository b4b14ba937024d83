"""``everloop train``: from the table to a release that nobody is served by yet."""

from __future__ import annotations

from everloop.cli.examinations import examination_record, print_examinations
from everloop.cli.options import JsonOption, ProjectOption, SetOption, actor, opened
from everloop.cli.output import print_json, progress, say
from everloop.core.clock import SystemClock
from everloop.core.errors import GateError
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.experiment.training import fit_candidate
from everloop.experiment.tuned import with_tuned
from everloop.release.build import build_release
from everloop.release.bundle import Release
from everloop.release.champion import champion_reference
from everloop.staging.rehearsal import rehearse
from everloop.store.engine import Store
from everloop.validate.candidates import examine_candidates
from everloop.validate.examination import Examination
from everloop.validate.gates.result import in_words


def command(project: ProjectOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """Examine every candidate by a rolling-origin backtest, fit the best on all data, and make a release of it.

    Each candidate is an MLflow run. The release is not put in charge: see everloop promote, or everloop run for
    all at once. Exit status 6 says that no candidate passed its gates; their runs hold the reasons.

    Example: everloop train --set train.candidates='["lightgbm"]'
    """
    with opened(project, set_) as (found, store):
        examinations, release = _train(with_tuned(found, store), store)
    if as_json:
        candidates = [examination_record(each) for each in examinations]
        print_json({"release": release.digest if release else None, "candidates": candidates})
    else:
        print_examinations(examinations, currency=found.settings.costs.currency)
    if release is None:
        failed = next(gate for gate in examinations[0].gates if gate.blocks)
        raise GateError(
            "gates_failed",
            f"no candidate passed its gates; the best, {examinations[0].candidate}, failed {failed.name}: "
            f"{failed.message}",
            hint="see the runs: everloop compare; or change validate.gates",
        )
    say(f"release {release.digest[:12]}; next: everloop promote {release.digest[:12]}")


def _train(project: Project, store: Store) -> tuple[list[Examination], Release | None]:
    """Every candidate's examination, best first, and the release of the best that passed."""
    settings, clock = project.settings, SystemClock()
    panel, dataset = load_panel(project, history=settings.train.history, horizon=settings.forecast.horizon)
    tracker = open_tracker(project, clock=clock)
    tracker.close_abandoned()
    lineage = collect_lineage(project)
    with progress("training", len(settings.train.candidates) + 1) as advance:
        examinations = examine_candidates(
            project,
            panel,
            dataset,
            tracker=tracker,
            lineage=lineage,
            champion=champion_reference(project, store, panel, dataset=dataset),
            on_failure=lambda name, error: say(f"candidate {name} failed[{error.code}]: {error.message}"),
            progress=advance,
        )
        best = next((each for each in examinations if each.passed), None)
        if best is None:
            return examinations, None
        advance(len(settings.train.candidates), f"fitting {best.candidate}")
        fitted = fit_candidate(project, panel, best.candidate, dataset=dataset)
        release = build_release(
            project,
            clock,
            examination=best,
            fitted=fitted,
            panel=panel,
            dataset=dataset,
            lineage=lineage,
            tracker=tracker,
            store=store,
            actor=actor(),
        )
    for gate in rehearse(project, store, clock, release, trained=fitted.model):
        if not gate.passed:
            say("{}: {} {}".format(gate.code, *in_words(gate.to_dict())))
    return examinations, release
