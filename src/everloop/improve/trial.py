"""Shadow trials: a challenger answers every request beside the champion, until the evidence decides."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.core.settings.releasing import ReleaseSettings
from everloop.improve.comparison import decide, pair_cases
from everloop.monitor.joining import JoinedForecast
from everloop.release.rollout import begin_rollout, end_rollout
from everloop.stats.evidence import Evidence
from everloop.stats.paired.comparison import PairedRule
from everloop.stats.paired.losses import loss_of
from everloop.store.deployments import deploy, in_role
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.store.evidence import keep_evidence
from everloop.store.trials import Trial, decide_trial, open_trial, start_trial
from everloop.validate.clusters import choose_cluster

__all__ = ["begin_trial", "judge_trial", "settle_trial"]


def begin_trial(
    store: Store, settings: ReleaseSettings, challenger: str, *, at: datetime, reason: str, actor: str
) -> None:
    """Put a challenger on trial beside the champion; an open trial ends undecided, its champion stays."""
    with store.write() as tx:
        champion = in_role(tx, "champion") or ""
        going_on = open_trial(tx)
        if going_on is not None and going_on.challenger == challenger:
            return
        if going_on is not None:
            message = f"trial of {going_on.challenger[:12]} ended undecided: a newer challenger takes its place"
            decide_trial(tx, going_on, "superseded", {"reason": message}, at=at)
            record_event(tx, at, "superseded", message, actor=actor, subject=going_on.challenger)
        start_trial(tx, challenger, champion, at=at)
        deploy(tx, "challenger", challenger, at=at, reason=reason)
        message = f"{challenger[:12]} is tried in shadow beside {champion[:12]}: {reason}"
        record_event(tx, at, "challenged", message, actor=actor, subject=challenger)
        if going_on is not None:
            end_rollout(tx, at=at, reason=message, actor=actor, release=going_on.challenger)
        begin_rollout(tx, settings, challenger, at=at, reason=reason, actor=actor)


def judge_trial(project: Project, trial: Trial, joined: list[JoinedForecast]) -> Evidence:
    """The verdict on a trial from the predictions of both, beside the truth."""
    settings = project.settings.release
    champion = [each for each in joined if each.release == trial.champion and each.role == "champion"]
    shadow = [each for each in joined if each.release == trial.challenger and each.role == "shadow"]
    series = sorted({text for each in shadow for text in each.series})
    cluster, group = choose_cluster(project.settings.data.series, series, settings.cluster)
    rule = PairedRule(
        alpha=settings.alpha,
        margin=settings.margin,
        min_days=settings.min_days,
        max_days=settings.max_days,
        futility=settings.futility,
    )
    loss = loss_of(settings.loss)
    frequency = Frequency.parse(project.settings.data.frequency)

    def name_day(index: int) -> str:
        return str(frequency.times(np.array([index]))[0].astype("M8[s]")).removesuffix("T00:00:00")

    losses = pair_cases(champion, shadow, cluster=group, loss=loss)
    return decide(losses, rule, loss=loss, cluster=cluster, name_day=name_day)


def settle_trial(store: Store, trial: Trial, evidence: Evidence, *, at: datetime, actor: str) -> None:
    """Keep the evidence and carry out its verdict: the trial's end, who is in charge, and the event.

    All of it is done at once or not at all; a trial that goes on has only its evidence kept.
    """
    is_promotion = evidence.verdict == "promote"
    kind = "promoted" if is_promotion else "kept"
    with store.write() as tx:
        going_on = open_trial(tx)
        if going_on is None or going_on.seq != trial.seq:
            return  # settled already: the step is being done twice
        keep_evidence(tx, evidence.to_dict(), at=at, kind=evidence.kind, subject=trial.challenger)
        if evidence.verdict == "go on":
            return
        decide_trial(tx, trial, evidence.verdict, evidence.to_dict(), at=at)
        if is_promotion and in_role(tx, "champion") == trial.champion:
            deploy(tx, "champion", trial.challenger, at=at, reason=evidence.reason)
        deploy(tx, "challenger", None, at=at, reason=evidence.reason)
        record_event(tx, at, kind, evidence.reason, actor=actor, subject=trial.challenger, evidence=evidence.to_dict())
        end_rollout(tx, at=at, reason=evidence.reason, actor=actor, release=None if is_promotion else trial.challenger)
