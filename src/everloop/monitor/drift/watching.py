"""Looking for drift: what a release expects, held against what came since.

A look is a function of the table, the predictions and what the release learnt, so it does not matter how often it is
taken, in which order the data came, or whether the program was restarted in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from everloop.core.project import Project
from everloop.monitor.drift.events import event_columns
from everloop.monitor.drift.expectation import Expectation, Material, expectation_of, reference_end
from everloop.monitor.drift.importances import importances_of
from everloop.monitor.drift.report import DriftReport
from everloop.monitor.drift.residuals import ErrorSums, live_errors
from everloop.monitor.drift.settling import Acceptance, accepted_change, concerns, reset_day
from everloop.monitor.drift.streams import error_streams, side_by_side, streams_of
from everloop.monitor.drift.summaries import ALL, Summary
from everloop.monitor.drift.tables import Watched, summarize_table, watched_columns
from everloop.monitor.drift.telling import Look, nothing_to_tell, tell
from everloop.monitor.joining import JoinedForecast
from everloop.stats.drift.judging import judge
from everloop.store.deployments import ReleaseRow, find_release, in_role
from everloop.store.engine import Store

__all__ = ["look_for_drift"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SETTLED_SHARE = 0.8
_SETTLED_DAYS = 7
_TRAIL = 28


def look_for_drift(
    project: Project,
    store: Store,
    *,
    now: datetime,
    release: str = "champion",
    joined: Iterable[JoinedForecast] | None = None,
) -> DriftReport:
    """Whether the world is still the one that a release was trained on.

    Args:
        project: the project.
        store: its store; summaries and what the release learnt are kept in it.
        now: the present; whole periods before it are looked at.
        release: a digest, a beginning of one, or a role.
        joined: the predictions of the monitor's window beside the truth, where they are at hand.

    Raises:
        NotFoundError: there is no such release.
        SettingsError: a setting names a column that there is not.
    """
    case = _case(project, store, release, now)
    reason = _obstacle(case, project)
    if reason:
        return nothing_to_tell(case.release, reason)
    days, end = case.watched.days, case.end
    # one day more: what is known ahead of it may move the day before
    summary = summarize_table(project, store, case.watched, until=case.until + timedelta(days=1))
    errors = live_errors(project, store, case.release, until=case.until, days=days, joined=joined).until(end - days)
    expectation = expectation_of(project, store, case.release, Material(case.watched, summary, errors), now=now)
    if expectation is None:
        return nothing_to_tell(case.release, "too little history: there is nothing before the release's cutoff")
    periods, values = _since(expectation, _settled(summary.until(end - days), project.settings.data.target), errors)
    found = judge(
        expectation.streams,
        periods,
        values,
        false_alarms_per_year=project.settings.monitor.false_alarms_per_year,
        since=reset_day(case.release, case.accepted),
        regressors=event_columns(summary, expectation.plan.events, periods) if days == 1 else None,
    )
    accepted = case.accepted
    look = Look(
        release=case.release,
        roles=case.roles,
        expectation=expectation,
        period_days=days,
        importances=importances_of(project, case.release),
        settings=project.settings,
        accepted=accepted.at if accepted is not None and concerns(accepted, case.release) else None,
    )
    return tell(look, found)


@dataclass(frozen=True, slots=True)
class _Case:
    """Whom a look is about, and until when.

    Attributes:
        release: the release.
        roles: the releases that have a role now.
        accepted: the change that was accepted last.
        watched: what is watched in the table; it has no days for a model of rows.
        until: the midnight before which is looked.
    """

    release: ReleaseRow
    roles: tuple[ReleaseRow, ...]
    accepted: Acceptance | None
    watched: Watched
    until: datetime

    @property
    def end(self) -> int:
        """The day of ``until`` since 1970."""
        return (self.until - _EPOCH).days


def _case(project: Project, store: Store, release: str, now: datetime) -> _Case:
    with store.read() as tx:
        row = find_release(tx, release)
        roles = [digest for role in ("champion", "challenger") if (digest := in_role(tx, role))]
        named = tuple(find_release(tx, digest) for digest in roles)
        accepted = accepted_change(tx)
    until = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    has_table = project.settings.project.task == "forecasting"
    watched = watched_columns(project) if has_table else Watched((), frozenset(), "", 0, "", 0)
    return _Case(row, named, accepted, watched, until)


def _obstacle(case: _Case, project: Project) -> str:
    """Why nothing can be looked at; empty where it can."""
    if project.settings.project.task != "forecasting":
        return "a model of rows is looked at by its answers"
    if not case.watched.days:
        return f"a step of {project.settings.data.frequency} is longer than a week"
    if case.end < reference_end(case.release):
        cutoff = case.release.cutoff
        return f"the release knows data up to {cutoff:%Y-%m-%d}, which is not before {case.until:%Y-%m-%d}"
    return ""


def _since(
    expectation: Expectation, settled: Summary, errors: ErrorSums
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The periods after what was learnt from, and the values of all streams in them."""
    own = error_streams(errors)[1]
    own[errors.periods <= expectation.live_until] = np.nan
    periods, values = side_by_side((settled.periods, streams_of(settled, expectation.plan)), (errors.periods, own))
    is_new = periods >= expectation.end
    return periods[is_new], values[is_new]


def _settled(summary: Summary, target: str) -> Summary:
    """The periods whose rows have come: of the newest, those with fewer than is usual wait for up to a week."""
    moments = summary.numbers.get((target, ALL))
    if moments is None or not len(summary.periods):
        return summary
    is_known = moments.known > 0
    if not is_known.any():
        return summary.at(np.zeros(0, dtype=np.int64))
    # rows of times to come hold known-ahead values alone
    last = int(np.flatnonzero(is_known)[-1])
    usual = float(np.median(moments.known[: last + 1][is_known[: last + 1]][-_TRAIL:]))
    newest = int(summary.periods[last])
    while last > 0 and moments.known[last] < _SETTLED_SHARE * usual and newest - summary.periods[last] < _SETTLED_DAYS:
        last -= 1
    return summary.at(np.arange(last + 1))
