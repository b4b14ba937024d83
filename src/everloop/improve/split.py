"""Judging a split: what the units came to that each release answered, and what follows from it.

Everything is computed anew from what is stored, so late and corrected outcomes may come in any order. Only the present
stage of a split counts: when weights change, some units change their release. The error bound is spent by the day over
all stages together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl

from everloop.core.digest import digest_json
from everloop.core.errors import SettingsError, nearest
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.core.settings.releasing import ReleaseSettings
from everloop.improve.split_frame import arms_of, closed_days, frame_of, unit_of_series
from everloop.improve.split_metrics import (
    BEFORE_DAYS,
    BUILT_IN,
    MetricSpec,
    Truths,
    guardrail_of,
    primary_of,
    unit_metric,
)
from everloop.improve.split_rows import newest_row, row_metric
from everloop.monitor.joining import JoinedForecast
from everloop.monitor.live import joined_since
from everloop.monitor.row_joining import join_rows
from everloop.monitor.traffic import look_at_split
from everloop.release.rollout import end_rollout
from everloop.stats.paired.losses import loss_of
from everloop.stats.split.comparison import SplitDecision, compare_arms
from everloop.stats.split.metrics import UnitMetric
from everloop.stats.split.rule import SplitRule
from everloop.store.deployments import deploy, in_role
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.store.evidence import keep_evidence
from everloop.store.marks import get_mark, set_mark
from everloop.store.measurements import Measurement, measurements_between, metric_names
from everloop.store.split_answers import answers_of_stage
from everloop.store.splits import TrafficSplit, change_split, split_in_force
from everloop.store.trials import Trial, decide_trial, open_trial, start_trial

__all__ = ["adopt_split", "is_judged", "judge_split", "rule_of", "settle_split", "split_of", "split_state"]

_JUDGED = "split_judged"


def adopt_split(project: Project, store: Store, *, at: datetime, actor: str) -> None:
    """Open a trial for a challenger that was given its share by hand, so that it is judged as any other."""
    if project.settings.release.rollout not in ("canary", "ab"):
        return
    with store.write() as tx:
        split, champion, challenger = split_in_force(tx), in_role(tx, "champion"), in_role(tx, "challenger")
        if open_trial(tx) is not None or split is None or champion is None or challenger is None:
            return
        if not all(split.weights.get(each, 0.0) > 0 for each in (champion, challenger)):
            return
        start_trial(tx, challenger, champion, at=split.stages[0].at)
        message = f"{challenger[:12]} is tried on a share of the units beside {champion[:12]}"
        record_event(tx, at, "challenged", message, actor=actor, subject=challenger)


def split_of(store: Store, trial: Trial) -> TrafficSplit | None:
    """The split in force that a trial belongs to, while any challenger has a share of it beside the champion."""
    with store.read() as tx:
        split = split_in_force(tx)
    if split is None or not {trial.champion, trial.challenger} <= split.weights.keys():
        return None
    shares = {release: share for release, share in split.weights.items() if share > 0}
    return split if trial.champion in shares and len(shares) > 1 else None


def split_state(project: Project, split: TrafficSplit, *, now: datetime) -> str:
    """What a judgement of a split belongs to: it is made anew every hour, and when weights or settings change."""
    settings = project.settings.release
    hour = now.astimezone(UTC).strftime("%Y-%m-%dT%H")
    return digest_json([split.label, hour, settings.model_dump()])


def is_judged(store: Store, state: str) -> bool:
    """Whether a split was judged in this state; then there is nothing new."""
    with store.read() as tx:
        return bool(get_mark(tx, _JUDGED) == state)


def judge_split(project: Project, store: Store, trial: Trial, split: TrafficSplit, *, now: datetime) -> SplitDecision:
    """What a split shows by now.

    Args:
        project: the project.
        store: its store.
        trial: the trial that the split belongs to.
        split: the split, in force.
        now: the present.

    Raises:
        SettingsError: a guardrail cannot be read, or a metric is not known.
    """
    settings = project.settings.release
    primary, guardrails = primary_of(settings), [guardrail_of(text) for text in settings.guardrails]
    arms = arms_of(split, trial.champion)
    truths, rows = _gather(project, store, split, arms, [primary, *guardrails], now=now)
    look = look_at_split(store)

    def metric(spec: MetricSpec) -> UnitMetric:
        is_of_rows = rows is not None and not spec.is_measured and spec.name != "failures"
        return row_metric(spec, truths, rows) if is_of_rows and rows is not None else unit_metric(spec, truths)

    deciding = metric(primary)
    decision = compare_arms(
        deciding if primary.name == "failures" else deciding.until(truths.settled),
        [metric(spec) for spec in guardrails],
        truths.frame.arm,
        [release[:12] for release in arms],
        rule=rule_of(settings, split),
        cluster=split.unit if split.unit != "header" else "unit",
        entered=truths.frame.entered,
        mismatch=look.verdict if look is not None and look.test.is_mismatch else "",
    )
    return _as_canary(decision) if settings.rollout == "canary" else decision


def _gather(
    project: Project,
    store: Store,
    split: TrafficSplit,
    arms: tuple[str, ...],
    specs: Sequence[MetricSpec],
    *,
    now: datetime,
) -> tuple[Truths, pl.DataFrame | None]:
    """What is stored of a split's units, up to its last closed day; the first metric tells how far the truth goes.

    Beside it, for models of rows, their answers and the truth of these.
    """
    settings = project.settings.release
    since = split.stages[-1].at - timedelta(days=BEFORE_DAYS)
    measured = sorted({spec.name for spec in specs if spec.is_measured})
    joined: list[JoinedForecast] = []
    answered: pl.DataFrame | None = None
    with store.read() as tx:
        if project.settings.project.task == "forecasting":
            joined = joined_since(project, tx, since=since, releases=arms)
        else:
            answered = join_rows(tx, since=since, releases=arms).frame
        rows = measurements_between(tx, since, now, measured) if measured else []
        answers = list(answers_of_stage(tx, split))
        _check_known(specs, metric_names(tx) if measured else ())
    frequency = Frequency.parse(project.settings.data.frequency)
    days = closed_days(split, now=now, settle_days=0)
    settled = closed_days(split, now=now, settle_days=settings.settle_days)
    if settled < settings.max_days:  # then the time is up, whether a truth has come or not
        if answered is not None and not specs[0].is_measured:
            newest = newest_row(answered, split.label)
        else:
            newest = _newest(specs[0], joined, rows, split.label, frequency)
        known = closed_days(split, now=now, settle_days=settings.settle_days, newest_truth=newest)
        settled = known if newest is not None else 0
    truths = Truths(
        frame_of(split, arms, answers, days=days),
        settled,
        split.label,
        arms[0],
        joined,
        rows,
        frequency,
        unit_of_series(split, project.settings.data.series),
        loss_of(settings.loss),
        settings.variance_reduction,
    )
    return truths, answered


def _as_canary(decision: SplitDecision) -> SplitDecision:
    """A canary only warns: unless it harms, the comparison of shadows decides."""
    if decision.verdict == "stop":
        return decision
    reason = f"no guardrail is harmed beyond doubt, the shadow comparison decides; {decision.overall.reason}"
    overall = replace(decision.overall, verdict="go on", reason=reason)
    return replace(decision, verdict="go on", winner=None, reason=reason, overall=overall)


def rule_of(settings: ReleaseSettings, split: TrafficSplit | None = None) -> SplitRule:
    """The rule that the settings ask for; a split's earlier stages have spent their days of it."""
    before = 0 if split is None else (split.stages[-1].at.date() - split.stages[0].at.date()).days
    return SplitRule(
        alpha=settings.alpha,
        guardrail_alpha=settings.alpha,
        min_days=settings.min_days,
        max_days=settings.max_days,
        goal="not worse" if settings.margin > 0 else "better",
        days_before=before,
    )


def settle_split(
    store: Store,
    trial: Trial,
    split: TrafficSplit,
    decision: SplitDecision,
    *,
    at: datetime,
    actor: str,
    state: str = "",
) -> None:
    """Keep the evidence and carry out the verdict: who is in charge, who loses its share, the trial's end, the event.

    All of it is done at once or not at all. A challenger that harms a guardrail loses its share though others go on.
    ``state`` is that of :func:`split_state`, so that the same is not judged again.
    """
    record = decision.overall.to_dict()
    arms = arms_of(split, trial.champion)
    with store.write() as tx:
        going_on, present = open_trial(tx), split_in_force(tx)
        if going_on is None or going_on.seq != trial.seq or present is None or present.label != split.label:
            return  # settled already, or the weights were changed meanwhile: the next step looks anew
        for part in (decision.overall, *decision.parts):
            keep_evidence(tx, part.to_dict(), at=at, kind=part.kind, subject=trial.challenger)
        set_mark(tx, _JUDGED, state, at=at)
        if decision.verdict in ("go on", "cannot tell"):
            if decision.stopped:
                weights = {release: share for release, share in split.weights.items() if share > 0}
                weights[trial.champion] += sum(weights.pop(arms[number]) for number in decision.stopped)
                change_split(tx, weights, at=at, reason="a guardrail is harmed beyond doubt", actor=actor)
            return
        winner = None if decision.winner is None else arms[decision.winner]
        decide_trial(tx, trial, decision.verdict, record, at=at)
        if winner is not None and in_role(tx, "champion") == trial.champion:
            deploy(tx, "champion", winner, at=at, reason=decision.reason)
        deploy(tx, "challenger", None, at=at, reason=decision.reason)
        kind = {"promote": "promoted", "keep": "kept", "stop": "stopped"}[decision.verdict]
        subject = winner or trial.challenger
        record_event(tx, at, kind, decision.reason, actor=actor, subject=subject, evidence=record)
        end_rollout(tx, at=at, reason=decision.reason, actor=actor, release=trial.challenger)


def _check_known(specs: Sequence[MetricSpec], measured: Sequence[str]) -> None:
    for spec in specs:
        if spec.is_measured and spec.name not in measured:
            known = [*BUILT_IN, *measured]
            raise SettingsError(
                "setting_metric",
                f"there is no metric {spec.name!r}: nothing of that name was measured yet",
                hint=f"{nearest(spec.name, known)}; measurements are told by: everloop measurements FILE",
                path="release.metric" if spec is specs[0] else "release.guardrails",
            )


def _newest(
    spec: MetricSpec,
    joined: Sequence[JoinedForecast],
    rows: Sequence[Measurement],
    label: str,
    frequency: Frequency,
) -> date | None:
    """The last day of which anything is known of a metric."""
    if spec.is_measured:
        return max((row.at.astimezone(UTC).date() for row in rows if row.metric == spec.name), default=None)
    newest = None
    for each in joined:
        is_known = np.isfinite(each.actual).any(axis=0)
        if each.experiment == label and is_known.any():
            last: date = frequency.times(each.index[is_known]).astype("M8[D]").max().item()
            newest = last if newest is None else max(newest, last)
    return newest
