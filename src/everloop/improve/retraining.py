"""Retraining: examine the candidates, fit the best that passes its gates, release it, and put it to the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from everloop.core.clock import Clock
from everloop.core.errors import ModelError
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.data.table import DatasetVersion
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.experiment.training import fit_candidate
from everloop.experiment.tuned import with_tuned
from everloop.improve.trial import begin_trial
from everloop.improve.triggers import LastTraining, Trigger
from everloop.release.build import build_release
from everloop.release.bundle import Release, open_release
from everloop.release.champion import champion_reference
from everloop.release.promotion import promote
from everloop.release.registry import sync_aliases
from everloop.staging.rehearsal import rehearse
from everloop.store.deployments import in_role
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.store.marks import set_mark
from everloop.validate.candidates import examine_candidates
from everloop.validate.examination import Examination
from everloop.validate.gates.result import GateResult, blocking

if TYPE_CHECKING:
    # MLflow takes three seconds to import; opening a tracker does it
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["LAST_TRAINING", "Retraining", "retrain"]

LAST_TRAINING = "last_training"


@dataclass(frozen=True, slots=True)
class Retraining:
    """What a retraining came to.

    Attributes:
        trigger: why it started.
        dataset: the data it used.
        examinations: each candidate's backtest and gates, best first.
        release: the new release, ``None`` where no candidate passed; it may have failed its rehearsal.
        became: ``"champion"``, ``"challenger"``, ``"rejected"`` or ``"known"`` (the champion is this very
            model already).
        reason: a sentence for a person.
    """

    trigger: Trigger
    dataset: DatasetVersion
    examinations: tuple[Examination, ...]
    release: Release | None
    became: str
    reason: str


def _silent(done: int, word: str = "") -> None:
    return None


def _no_guard() -> None:
    return None


def retrain(
    project: Project,
    store: Store,
    clock: Clock,
    trigger: Trigger,
    *,
    actor: str,
    guard: Callable[[], None] = _no_guard,
    progress: Callable[[int, str], None] = _silent,
) -> Retraining:
    """Train anew on the newest data and bring what comes of it into the release's rollout.

    Args:
        project: the project.
        store: its store.
        clock: the time.
        trigger: why.
        actor: who, for the audit log.
        guard: raises where this process may no longer act; asked before anything is decided.
        progress: told the steps done and a word on the present one.

    Raises:
        DataError: there are no data, or too few of them.
    """
    project = with_tuned(project, store)
    panel, dataset = load_panel(
        project, history=project.settings.train.history, horizon=project.settings.forecast.horizon
    )
    now = clock.now()
    with store.write() as tx:
        set_mark(tx, LAST_TRAINING, LastTraining(now, dataset.digest).to_json(), at=now)
        record_event(tx, now, "training", f"{trigger.kind}: {trigger.reason}", actor=actor, subject=dataset.digest)
    tracker = open_tracker(project, clock=clock)
    tracker.close_abandoned()
    lineage = collect_lineage(project)
    examinations = examine_candidates(
        project,
        panel,
        dataset,
        tracker=tracker,
        lineage=lineage,
        champion=champion_reference(project, store, panel),
        on_failure=lambda candidate, error: _note_failure(store, clock, candidate, error, actor),
        progress=progress,
    )
    passed = [each for each in examinations if each.passed]
    guard()
    if not passed:
        return _reject(store, clock, trigger, dataset, examinations, actor)
    best = passed[0]
    progress(0, f"fitting {best.candidate}")
    fitted = fit_candidate(project, panel, best.candidate)
    known = _in_charge(project, store)
    if known is not None and known.manifest.model_digest == fitted.model_digest:
        reason = f"{best.candidate} gives the very model that is in charge already, release {known.digest[:12]}"
        return Retraining(trigger, dataset, tuple(examinations), known, "known", reason)
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
        actor=actor,
    )
    stopped = blocking(rehearse(project, store, clock, release, trained=fitted.model))
    guard()
    if stopped:
        reason = _stop(store, clock, release, stopped, actor)
        return Retraining(trigger, dataset, tuple(examinations), release, "rejected", reason)
    became, reason = _roll_out(project, store, clock, release, best, actor=actor, tracker=tracker)
    return Retraining(trigger, dataset, tuple(examinations), release, became, reason)


def _note_failure(store: Store, clock: Clock, candidate: str, error: ModelError, actor: str) -> None:
    with store.write() as tx:
        message = f"candidate {candidate} failed: {error.message}"
        evidence = error.to_dict()
        record_event(tx, clock.now(), "candidate_failed", message, actor=actor, subject=candidate, evidence=evidence)


def _in_charge(project: Project, store: Store) -> Release | None:
    with store.read() as tx:
        digest = in_role(tx, "champion")
    return None if digest is None else open_release(project.releases / digest, digest=digest)


def _reject(
    store: Store, clock: Clock, trigger: Trigger, dataset: DatasetVersion, examinations: list[Examination], actor: str
) -> Retraining:
    best = examinations[0]
    failed = [gate for gate in best.gates if not gate.passed]
    reason = f"no candidate passed its gates; the best, {best.candidate}, failed " + "; ".join(
        f"{gate.code}: {gate.message}" for gate in failed
    )
    with store.write() as tx:
        evidence = {"gates": [gate.to_dict() for gate in best.gates]}
        record_event(tx, clock.now(), "rejected", reason, actor=actor, subject=best.candidate, evidence=evidence)
    return Retraining(trigger, dataset, tuple(examinations), None, "rejected", reason)


def _stop(store: Store, clock: Clock, release: Release, stopped: list[GateResult], actor: str) -> str:
    """Tell that a release did not pass its rehearsal; it stays where it is, and whoever is in charge too."""
    reason = f"release {release.digest[:12]} did not pass its rehearsal: " + "; ".join(
        f"{gate.code}: {gate.message}" for gate in stopped
    )
    with store.write() as tx:
        evidence = {"gates": [gate.to_dict() for gate in stopped]}
        record_event(tx, clock.now(), "rejected", reason, actor=actor, subject=release.digest, evidence=evidence)
    return reason


def _roll_out(
    project: Project, store: Store, clock: Clock, release: Release, best: Examination, *, actor: str, tracker: Tracker
) -> tuple[str, str]:
    """Bring a release into charge, or on trial, as ``release.rollout`` says."""
    with store.read() as tx:
        champion = in_role(tx, "champion")
    skill = best.evaluation.skill.get(best.metric)
    shown = "" if skill is None else f", {best.metric.upper()} {skill:.1%} better than the seasonal naive's"
    if champion is None or project.settings.release.rollout == "direct":
        reason = f"{best.candidate} passed its gates{shown}; " + (
            "nobody was in charge" if champion is None else "release.rollout is 'direct'"
        )
        promote(project, store, clock, release.digest, reason=reason, actor=actor, tracker=tracker)
        return "champion", reason
    reason = f"{best.candidate} passed its gates{shown}"
    begin_trial(store, project.settings.release, release.digest, at=clock.now(), reason=reason, actor=actor)
    sync_aliases(project, store, clock, actor=actor, tracker=tracker)
    return "challenger", reason
