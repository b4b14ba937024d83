"""One step of the whole loop. Read it top to bottom: this is what Everloop does.

Each stage is idempotent, so a step may be done twice, or die at any point and be done again: data are known by
their content, states and releases by their digest, predictions of a day by what they were made from, and each
decision is one transaction with its event. A stage that fails raises an alert and leaves the others to their work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from everloop.core.errors import EverloopError
from everloop.data.ingest import IngestResult, ingest, ingest_frame
from everloop.data.outcomes import outcomes_frame
from everloop.data.table import DatasetVersion, head
from everloop.improve.refresh import refresh_states
from everloop.improve.retraining import LAST_TRAINING, Retraining, retrain
from everloop.improve.rollback import roll_back_if_better, settle_watch
from everloop.improve.row_ranges import settle_row_ranges
from everloop.improve.split import adopt_split, is_judged, judge_split, settle_split, split_of, split_state
from everloop.improve.trial import judge_trial, settle_trial
from everloop.improve.triggers import LastTraining, Trigger, due_trigger
from everloop.loop.context import LoopContext
from everloop.loop.lease import HeldLease, held_lease
from everloop.loop.row_inputs import inputs_of
from everloop.monitor.drift.report import DriftReport
from everloop.monitor.drift.rows import look_for_row_drift
from everloop.monitor.drift.settling import DRIFT_ALERT, settle_drift
from everloop.monitor.drift.watching import look_for_drift
from everloop.monitor.joining import JoinedForecast
from everloop.monitor.live import LiveReport, joined_since, look
from everloop.monitor.ranges import LiveWatch, watch_live
from everloop.monitor.row_live import look_at_rows
from everloop.monitor.traffic import check_split
from everloop.release.registry import sync_aliases
from everloop.serve.answers import Answerer
from everloop.serve.batch.making import batch_id
from everloop.serve.log.retention import tend_log
from everloop.store.alerts import clear_alert, open_alerts, raise_alert
from everloop.store.deployments import in_role, latest_state
from everloop.store.events import Event, events_after, last_event, record_event
from everloop.store.facts import has_prediction, outcomes_after
from everloop.store.marks import get_mark, set_mark
from everloop.store.trials import open_trial

__all__ = ["TickReport", "tick"]

ACTOR = "loop"
_OUTCOMES_READ = "outcomes_read"


@dataclass(slots=True)
class TickReport:
    """What one step did.

    Attributes:
        at: when.
        dataset: the dataset version at its end, ``None`` where there are no data yet.
        ingested: what the source brought.
        live: the champion's live accuracy.
        watch: the champion against the ranges that it carries.
        drift: what changed since the champion was trained, where that is watched.
        retraining: what a retraining came to, where one was due.
        predicted: how many batches of forecasts were stored.
        events: what was recorded, decisions among them.
        failures: the stages that failed, with their errors.
    """

    at: datetime
    dataset: DatasetVersion | None = None
    ingested: IngestResult | None = None
    live: LiveReport | None = None
    watch: LiveWatch | None = None
    drift: DriftReport | None = None
    retraining: Retraining | None = None
    predicted: int = 0
    events: list[Event] = field(default_factory=list)
    failures: list[tuple[str, EverloopError]] = field(default_factory=list)


def tick(context: LoopContext) -> TickReport:
    """Do what is due now: data, monitoring, decisions, retraining, states, forecasts.

    Raises:
        ConflictError: another controller holds the lease; nothing was done.
        UnavailableError: the store does not answer.
    """
    report = TickReport(at=context.clock.now())
    with held_lease(context) as lease:
        with context.store.read() as tx:
            before = last_event(tx)
        with _stage(context, report, "traffic"):
            check_split(context.store, at=report.at, actor=ACTOR)
        has_table = context.project.settings.project.task == "forecasting"
        if has_table:
            with _stage(context, report, "ingest"):
                _bring_data(context, report)
        with _stage(context, report, "trial"):
            adopt_split(context.project, context.store, at=report.at, actor=ACTOR)
            if report.dataset is None:
                _decide(context, report, [])
        if report.dataset is not None:
            joined: list[JoinedForecast] = []
            with _stage(context, report, "monitor"):
                joined = _watch(context, report)
            with _stage(context, report, "drift"):
                _look_for_drift(context, report, joined)
            with _stage(context, report, "retrain"):
                _retrain_if_due(context, report, lease)
            with _stage(context, report, "refresh"):
                refresh_states(context.project, context.store, report.dataset, now=report.at, loaded=context.loaded)
            with _stage(context, report, "forecast"):
                _forecast(context, report)
        elif not has_table:
            with _stage(context, report, "monitor"):
                _watch_rows(context, report)
            with _stage(context, report, "drift"):
                _look_for_drift(context, report, [])
        with _stage(context, report, "log"):
            tend_log(context.project, context.store, now=report.at, actor=ACTOR)
        with context.store.read() as tx:
            report.events = events_after(tx, before)
    return report


def _bring_data(context: LoopContext, report: TickReport) -> None:
    """Outcomes that were told, then the source; what is bad goes to quarantine."""
    project, store = context.project, context.store
    report.dataset = head(project.table)
    with store.read() as tx:
        read_until = int(get_mark(tx, _OUTCOMES_READ) or 0)
        told = outcomes_after(tx, read_until)
    if told and report.dataset is not None:
        frame = outcomes_frame(project, told)
        result = ingest_frame(project, context.clock, frame, label="outcomes")
        _record_ingestion(context, result, "outcomes that were told")
        with store.write() as tx:
            set_mark(tx, _OUTCOMES_READ, told[-1].seq, at=report.at)
    report.ingested = ingest(project, context.clock, until=context.data_until(report.at))
    _record_ingestion(context, report.ingested, "the source")
    report.dataset = head(project.table)


def _record_ingestion(context: LoopContext, result: IngestResult, origin: str) -> None:
    if not result.changed and not result.quarantined:
        return
    message = (
        f"{result.added} new and {result.corrected} corrected rows from {origin}, {result.quarantined} quarantined: "
        f"dataset version {result.version.version}"
    )
    with context.store.write() as tx:
        record_event(
            tx,
            context.clock.now(),
            "ingested",
            message,
            actor=ACTOR,
            subject=result.version.digest,
            evidence={
                "version": result.version.version,
                "digest": result.version.digest,
                "added": result.added,
                "corrected": result.corrected,
                "quarantined": result.quarantined,
                "warnings": list(result.warnings),
            },
        )


def _watch(context: LoopContext, report: TickReport) -> list[JoinedForecast]:
    """Join predictions with outcomes; say decay; decide an open trial. Gives what was joined."""
    project, store = context.project, context.store
    with store.read() as tx:
        champion = in_role(tx, "champion")
        trial = open_trial(tx)
        since = report.at - timedelta(days=project.settings.monitor.window_days)
        if trial is not None:
            since = min(since, trial.started_at)
        joined = joined_since(project, tx, since=since) if champion else []
    if champion is None:
        return joined
    report.live = look(project, store, release=champion, now=report.at, joined=joined)
    decay = report.live.decay
    with store.write() as tx:
        if decay.verdict == "decay":
            hint = "a retraining starts by itself where retrain.on holds 'decay'; see: everloop monitor"
            evidence = decay.to_dict()
            raise_alert(
                tx, "decay", decay.reason, at=report.at, actor=ACTOR, hint=hint, subject=champion, evidence=evidence
            )
        elif decay.verdict == "no decay":
            clear_alert(tx, "decay", at=report.at, actor=ACTOR)
    _hold_to_range(context, report, champion, joined)
    _decide(context, report, joined)
    return joined


def _watch_rows(context: LoopContext, report: TickReport) -> None:
    """Hold the errors of a model of rows to the range of its first weeks."""
    with context.store.read() as tx:
        champion = in_role(tx, "champion")
    if champion is not None:
        found = look_at_rows(context.project, context.store, release=champion, now=report.at)
        settle_row_ranges(context.store, found, at=report.at, actor=ACTOR)


def _look_for_drift(context: LoopContext, report: TickReport, joined: list[JoinedForecast]) -> None:
    """Hold what came against what the champion learnt to expect."""
    with context.store.read() as tx:
        champion = in_role(tx, "champion")
    if champion is None or not context.project.settings.monitor.drift:
        return
    project, store = context.project, context.store
    if project.settings.project.task == "forecasting":
        report.drift = look_for_drift(project, store, now=report.at, release=champion, joined=joined)
    else:
        reader = inputs_of(project, champion)
        report.drift = look_for_row_drift(project, store, now=report.at, release=champion, inputs=reader)
    settle_drift(store, report.drift, at=report.at, actor=ACTOR)


def _decide(context: LoopContext, report: TickReport, joined: list[JoinedForecast]) -> None:
    """Judge an open trial: by the units of its split where it has one, else by its shadows."""
    project, store = context.project, context.store
    with store.read() as tx:
        trial = open_trial(tx)
    if trial is None:
        return
    rollout = project.settings.release.rollout
    split = split_of(store, trial) if rollout in ("canary", "ab") else None
    if split is not None:
        state = split_state(project, split, now=report.at)
        verdict = ""
        if not is_judged(store, state):
            decision = judge_split(project, store, trial, split, now=report.at)
            settle_split(store, trial, split, decision, at=report.at, actor=ACTOR, state=state)
            verdict = decision.verdict
        if verdict in ("promote", "keep", "stop"):
            sync_aliases(project, store, context.clock, actor=ACTOR)
            return
        if rollout == "ab":
            return
    if report.dataset is None:
        return
    evidence = judge_trial(project, trial, [each for each in joined if each.index.size])
    settle_trial(store, trial, evidence, at=report.at, actor=ACTOR)
    if evidence.verdict != "go on":
        sync_aliases(project, store, context.clock, actor=ACTOR)


def _hold_to_range(context: LoopContext, report: TickReport, champion: str, joined: list[JoinedForecast]) -> None:
    """Hold the champion's errors to the range that it carries; go back where the one before it would do better."""
    project, store = context.project, context.store
    report.watch = watch_live(project, store, release=champion, now=report.at, joined=joined)
    settle_watch(store, report.watch, at=report.at, actor=ACTOR)
    roll_back_if_better(project, store, context.clock, report.watch, joined, loaded=context.loaded, actor=ACTOR)


def _retrain_if_due(context: LoopContext, report: TickReport, lease: HeldLease) -> None:
    """Start a retraining when the schedule, decay, or the lack of a champion asks for one."""
    assert report.dataset is not None
    decay = report.live.decay if report.live else None
    with context.store.read() as tx:
        last = LastTraining.from_json(get_mark(tx, LAST_TRAINING))
        drift = next((each for each in open_alerts(tx) if each.code == DRIFT_ALERT), None)
        trigger: Trigger | None = due_trigger(
            context.project.settings.retrain,
            now=report.at,
            last=last,
            dataset_digest=report.dataset.digest,
            has_champion=in_role(tx, "champion") is not None,
            on_trial=open_trial(tx) is not None,
            decay_reason=decay.reason if decay is not None and decay.verdict == "decay" else None,
            # a drift that was trained on once waits for the schedule: more of the same data would say little more
            drift_reason=drift.message if drift is not None and last is not None and drift.since > last.at else None,
        )
    if trigger is not None:
        report.retraining = retrain(
            context.project,
            context.store,
            context.clock,
            trigger,
            actor=ACTOR,
            guard=lease.check,
            progress=context.progress,
        )


def _forecast(context: LoopContext, report: TickReport) -> None:
    """Forecast every series with the champion, and with a challenger in its shadow, once for each state."""
    with context.store.read() as tx:
        champion = in_role(tx, "champion")
        state = latest_state(tx, champion) if champion else None
        if champion is None or state is None:
            return
        leader = batch_id(champion, state.id, "")
        is_done = has_prediction(tx, leader)
        challenger = in_role(tx, "challenger")
        shadow_state = latest_state(tx, challenger) if challenger else None
        shadow = batch_id(challenger, shadow_state.id, leader) if challenger and shadow_state else None
        is_shadow_done = shadow is None or has_prediction(tx, shadow)
    if is_done and is_shadow_done:
        return
    answerer = Answerer(context.project, context.store, context.clock)
    if not is_done:
        answerer.answer_batch("champion", prediction_id=leader)
        report.predicted += 1
    if shadow is not None and not is_shadow_done:
        answerer.answer_batch("challenger", prediction_id=shadow, twin=leader)
        report.predicted += 1


@contextlib.contextmanager
def _stage(context: LoopContext, report: TickReport, name: str) -> Iterator[None]:
    """Run a stage: its failure is an alert, its success ends one."""
    code = f"{name}_failed"
    try:
        yield
    except EverloopError as error:
        report.failures.append((name, error))
        with context.store.write() as tx:
            message = f"{name}: {error.message}"
            evidence = error.to_dict()
            raise_alert(tx, code, message, at=report.at, actor=ACTOR, hint=error.hint, evidence=evidence)
    else:
        with context.store.write() as tx:
            clear_alert(tx, code, at=report.at, actor=ACTOR)
