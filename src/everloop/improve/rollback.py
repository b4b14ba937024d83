"""Rolling back by itself: when live errors have left the range that the champion carries, also weeks after it came.

The previous champion takes over only where that helps: its bundle is whole, its own expected range lies below what is
seen now, its own live errors had not left that range, and on the days since the errors rose it would have been better.
A change of the world that hurts every model therefore raises the alert and rolls nothing back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, NotFoundError
from everloop.core.project import Project
from everloop.improve.backcast import Backcast, backcast
from everloop.improve.refresh import LoadedReleases
from everloop.monitor.expected import Stream, expected_of
from everloop.monitor.joining import JoinedForecast
from everloop.monitor.live_days import keep_days
from everloop.monitor.ranges import LiveWatch, watch_live
from everloop.release.bundle import open_release
from everloop.release.promotion import Promotion, previous_champion, rollback
from everloop.stats.evidence import Evidence
from everloop.store.alerts import clear_alert, raise_alert
from everloop.store.deployments import deploy, in_role
from everloop.store.engine import Store
from everloop.store.events import list_events, record_event
from everloop.store.evidence import keep_evidence, list_evidence
from everloop.store.standing import keep_live_standing
from everloop.store.trials import decide_trial, open_trial
from everloop.validate.expected import Expected

__all__ = ["ESTIMATE_ALERT", "RANGE_ALERT", "roll_back_if_better", "settle_watch"]

RANGE_ALERT = "live_range"
ESTIMATE_ALERT = "estimate_off"
_HINT = "see: everloop monitor; to go back by hand: everloop rollback"


@dataclass(frozen=True, slots=True)
class _Case:
    """What speaks about going back: from the champion to the release before it, for one stream that left its range."""

    watch: LiveWatch
    stream: Stream
    target: str
    own: float
    promised: float | None


def settle_watch(store: Store, watch: LiveWatch, *, at: datetime, actor: str) -> None:
    """Keep the sums; raise the alerts of a champion whose levels left their range, end them when they are back.

    Args:
        store: the store.
        watch: what was found.
        at: when.
        actor: who looked.
    """
    if watch.days is not None:
        keep_days(store, watch.release, watch.days)
    pairs = [(RANGE_ALERT, watch.evidence, "left"), (ESTIMATE_ALERT, watch.calibration, "off")]
    with store.write() as tx:
        keep_live_standing(tx, watch.release.digest, watch.standing, at=at)
        for code, evidence, bad in pairs:
            if evidence is not None and evidence.verdict == bad:
                record = evidence.to_dict()
                subject = watch.release.digest
                if raise_alert(
                    tx, code, evidence.reason, at=at, actor=actor, hint=_HINT, subject=subject, evidence=record
                ):
                    keep_evidence(tx, record, at=at, kind=evidence.kind, subject=subject)
            else:
                clear_alert(tx, code, at=at, actor=actor)


def roll_back_if_better(
    project: Project,
    store: Store,
    clock: Clock,
    watch: LiveWatch,
    joined: Sequence[JoinedForecast],
    *,
    loaded: LoadedReleases,
    actor: str,
) -> Promotion | None:
    """Put the previous champion in charge again where the champion's errors left their range and that helps.

    Args:
        project: the project.
        store: its store.
        clock: the time.
        watch: the champion against its ranges.
        joined: the champion's predictions of the monitor's window beside the truth.
        loaded: releases opened so far.
        actor: who, for the audit log.

    Returns:
        What changed; ``None`` where nothing did.
    """
    settings = project.settings.release
    out = [each for each in watch.out if each.kind in ("error", "bias")]
    if settings.rollback == "off" or not out:
        return None
    now = clock.now()
    with store.read() as tx:
        if in_role(tx, "champion") != watch.release.digest:
            return None
        last = list_events(tx, kinds=("rolled_back",), limit=1)
    if last and now - last[0].at < timedelta(days=settings.rollback_cooldown_days):
        return None
    evidence = _weigh(project, store, watch, out[0], joined, now=now, loaded=loaded)
    _keep_once(store, evidence, watch.release.digest, at=now, cooldown=settings.rollback_cooldown_days)
    if evidence.verdict != "roll back":
        return None
    done = rollback(project, store, clock, reason=evidence.reason, actor=actor)
    _end_trial(store, at=now, actor=actor)
    return done


def _weigh(
    project: Project,
    store: Store,
    watch: LiveWatch,
    stream: Stream,
    joined: Sequence[JoinedForecast],
    *,
    now: datetime,
    loaded: LoadedReleases,
) -> Evidence:
    """Whether the previous champion is to take over, with what speaks for it."""
    own = stream.level(since=stream.since[stream.out])
    assert own is not None  # a stream that is out has days
    try:
        target = previous_champion(store)[1]
        open_release(project.releases / target, digest=target)
        expected = expected_of(project.releases / target)
    except NotFoundError as error:
        return _verdict(_Case(watch, stream, "", own, None), "keep", error.message, None)
    except EverloopError as error:
        return _verdict(_Case(watch, stream, "", own, None), "keep", f"it cannot be served: {error.message}", None)
    case = _Case(watch, stream, target, own, _promise(expected, stream))
    if case.promised is None:
        return _verdict(case, "keep", "it carries no expected range", None)
    if case.promised >= _badness(stream, own):
        return _verdict(case, "keep", "its own expected range is no better than what is seen now", None)
    if watch_live(project, store, release=target, now=now).out:
        return _verdict(case, "keep", "its own live errors had left its range too", None)
    try:
        found = backcast(project, store, target, _since(project, stream, joined, watch), loaded=loaded)
    except EverloopError as error:
        return _verdict(case, "keep", f"it cannot forecast these days: {error.message}", None)
    if found.ratio is None:
        return _verdict(case, "keep", "no past day shows whether it would have been better", found)
    if found.ratio >= 1 or 2 * found.wins <= len(found.own):
        return _verdict(case, "keep", "it would have been no better on the same days", found)
    return _verdict(case, "roll back", "", found)


def _since(
    project: Project, stream: Stream, joined: Sequence[JoinedForecast], watch: LiveWatch
) -> list[JoinedForecast]:
    """The champion's batches that speak of days since the errors rose."""
    since = stream.since[stream.out]
    expected = expected_of(project.releases / watch.release.digest)
    steps = expected.steps if expected is not None else 1
    first = (since or 0) * steps
    return [
        each for each in joined if each.release == watch.release.digest and len(each.index) and each.index[0] >= first
    ]


def _promise(expected: Expected | None, stream: Stream) -> float | None:
    """The worst that another release's range allows for the same kind of level and steps; ``None`` if unknown."""
    if expected is None:
        return None
    bucket = next((each for each in expected.buckets if each.name == stream.steps), None)
    span = None if bucket is None else getattr(bucket, stream.kind)
    if span is None or span.lower is None or span.upper is None:
        return None
    return float(span.upper) if stream.kind == "error" else max(abs(span.lower), abs(span.upper))


def _badness(stream: Stream, level: float) -> float:
    return level if stream.kind == "error" else abs(level)


def _verdict(case: _Case, verdict: str, why_not: str, found: Backcast | None) -> Evidence:
    watch, stream = case.watch, case.stream
    about = f"{case.target[:12]}" if case.target else "a previous champion"
    if verdict == "roll back" and found is not None and found.ratio is not None:
        reason = (
            f"{watch.evidence.reason}; {about} would have made {found.ratio:.2f} times the error on the same days "
            f"(better from {found.wins} of {len(found.own)} origins)"
        )
    else:
        reason = f"{watch.evidence.reason}; not rolled back to {about}: {why_not}"
    compared = {} if found is None else {"own": found.own.tolist(), "previous": found.other.tolist()}
    is_error = stream.kind == "error"
    promised = case.promised
    return Evidence(
        question="Would the previous champion do better now?",
        verdict=verdict,
        reason=reason,
        effect=None if found is None or found.ratio is None else found.ratio - 1,
        unit="share of the champion's absolute error",
        lower=None,
        upper=None,
        n=0 if found is None else len(found.own),
        observation="one day's forecasts of all series, made again with the data of that day",
        method="forecasts made again from past dataset versions, and both releases' expected ranges",
        guarantee=f"it is asked only after an alarm, of which at most about {watch.evidence.alpha:g} a year are false; "
        "the comparison itself is no test",
        would_change="an earlier release that carries a better range" if verdict == "keep" else "nothing; it is done",
        series=compared,
        kind="rollback",
        alpha=watch.evidence.alpha,
        warnings=()
        if promised is None
        else (
            f"level now {np.exp(case.own) if is_error else case.own:.3f}, the previous release's range allows "
            f"{np.exp(promised) if is_error else promised:.3f}",
        ),
    )


def _keep_once(store: Store, evidence: Evidence, subject: str, *, at: datetime, cooldown: float) -> None:
    """Keep what decides; that nothing is done is kept once in a cool-down, and not each day."""
    with store.write() as tx:
        last = list_evidence(tx, kinds=("rollback",), subject=subject, limit=1)
        is_old = last and last[0].verdict == evidence.verdict and at - last[0].at < timedelta(days=cooldown)
        if not is_old:
            keep_evidence(tx, evidence.to_dict(), at=at, kind="rollback", subject=subject)


def _end_trial(store: Store, *, at: datetime, actor: str) -> None:
    """A trial against the release that is gone cannot be decided any more."""
    with store.write() as tx:
        trial = open_trial(tx)
        if trial is None or trial.champion == in_role(tx, "champion"):
            return
        message = f"trial of {trial.challenger[:12]} ended undecided: its champion was rolled back"
        decide_trial(tx, trial, "superseded", {"reason": message}, at=at)
        deploy(tx, "challenger", None, at=at, reason=message)
        record_event(tx, at, "superseded", message, actor=actor, subject=trial.challenger)
