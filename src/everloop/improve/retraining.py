"""Retraining: examine the candidates, and bring the best that holds into the release's rollout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from everloop.core.clock import Clock
from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.data.table import DatasetVersion
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.experiment.tuned import with_tuned
from everloop.improve.attempts import Attempts
from everloop.improve.triggers import LastTraining, Trigger
from everloop.release.bundle import Release
from everloop.release.champion import champion_reference
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.store.marks import set_mark
from everloop.validate.candidates import examine_candidates
from everloop.validate.examination import Examination

__all__ = ["LAST_TRAINING", "Retraining", "retrain"]

LAST_TRAINING = "last_training"


@dataclass(frozen=True, slots=True)
class Retraining:
    """What a retraining came to.

    Attributes:
        trigger: why it started.
        dataset: the data it used.
        examinations: each candidate's backtest and gates, best first.
        release: the new release, ``None`` where no candidate passed its gates; of several that all failed their
            rehearsal the first.
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
    attempts = Attempts(
        project=project,
        store=store,
        clock=clock,
        actor=actor,
        panel=panel,
        dataset=dataset,
        lineage=collect_lineage(project),
        tracker=tracker,
        guard=guard,
        tell=lambda word: progress(0, word),
    )
    examinations = examine_candidates(
        project,
        panel,
        dataset,
        tracker=tracker,
        lineage=attempts.lineage,
        champion=champion_reference(project, store, panel, dataset=dataset),
        on_failure=attempts.note_failure,
        progress=progress,
    )
    outcome = attempts.take(examinations)
    return Retraining(trigger, dataset, tuple(examinations), outcome.release, outcome.became, outcome.reason)
