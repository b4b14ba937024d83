"""Looking for drift: what a release expects, held against what came since.

A look is a function of the table, the predictions and what the release learnt, so it does not matter how often it is
taken, in which order the data came, or whether the program was restarted in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import numpy as np

from everloop.core.project import Project
from everloop.monitor.drift.expectation import Material, expectation_of, reference_end
from everloop.monitor.drift.importances import importances_of
from everloop.monitor.drift.report import DriftReport
from everloop.monitor.drift.residuals import live_errors
from everloop.monitor.drift.settling import accepted_change, concerns, reset_day
from everloop.monitor.drift.streams import error_streams, side_by_side, streams_of
from everloop.monitor.drift.summaries import ALL, Summary
from everloop.monitor.drift.tables import summarize_table, watched_columns
from everloop.monitor.drift.telling import Look, nothing_to_tell, tell
from everloop.monitor.joining import JoinedForecast
from everloop.stats.drift.judging import judge
from everloop.store.deployments import find_release, in_role
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
    settings = project.settings
    with store.read() as tx:
        row = find_release(tx, release)
        roles = [digest for role in ("champion", "challenger") if (digest := in_role(tx, role))]
        named = tuple(find_release(tx, digest) for digest in roles)
        accepted = accepted_change(tx)
    if settings.project.task != "forecasting":
        return nothing_to_tell(row, "a model of rows is looked at by its answers")
    watched = watched_columns(project)
    until = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = (until - _EPOCH).days
    if not watched.days:
        return nothing_to_tell(row, f"a step of {settings.data.frequency} is longer than a week")
    if end < reference_end(row):
        return nothing_to_tell(
            row, f"the release knows data up to {row.cutoff:%Y-%m-%d}, which is not before {until:%Y-%m-%d}"
        )
    summary = summarize_table(project, store, watched, until=until)
    errors = live_errors(project, store, row, until=until, days=watched.days, joined=joined).until(end - watched.days)
    expectation = expectation_of(project, store, row, Material(watched, summary, errors), now=now)
    if expectation is None:
        return nothing_to_tell(row, "too little history: there is nothing before the release's cutoff")
    settled = _settled(summary.until(end - watched.days), settings.data.target)
    own = error_streams(errors)[1]
    own[errors.periods <= expectation.live_until] = np.nan
    periods, values = side_by_side((settled.periods, streams_of(settled, expectation.plan)), (errors.periods, own))
    is_new = (periods >= expectation.end) & (periods <= end - watched.days)
    found = judge(
        expectation.streams,
        periods[is_new],
        values[is_new],
        false_alarms_per_year=settings.monitor.false_alarms_per_year,
        since=reset_day(row, accepted),
    )
    look = Look(
        release=row,
        roles=named,
        expectation=expectation,
        period_days=watched.days,
        importances=importances_of(project, row),
        settings=settings,
        accepted=accepted.at if accepted is not None and concerns(accepted, row) else None,
    )
    return tell(look, found)


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
