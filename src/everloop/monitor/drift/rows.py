"""Drift of models of rows: their inputs and what they answer, by day, held against their own first weeks.

What such a model was trained on is mostly not known here. So its reference are its first eight weeks with answers (26
weeks, where the period is a week), and until they are over the verdict is "cannot tell".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.digest import digest_json
from everloop.core.errors import SettingsError, nearest
from everloop.core.project import Project
from everloop.monitor.drift.expectation import Expectation
from everloop.monitor.drift.report import DriftReport
from everloop.monitor.drift.settling import accepted_change, reset_day
from everloop.monitor.drift.streams import kinds_of, plan_streams, streams_of
from everloop.monitor.drift.summaries import ALL, Summary, join_summaries
from everloop.monitor.drift.tables import Watched, period_days, period_of, summarize_rows
from everloop.monitor.drift.telling import Look, nothing_to_tell, tell
from everloop.monitor.row_joining import Inputs, join_rows
from everloop.stats.drift.judging import judge
from everloop.stats.drift.reference import learn
from everloop.store.deployments import ReleaseRow, find_release, in_role
from everloop.store.drift import SummaryRow, get_reference, keep_reference, keep_summaries, summaries_of
from everloop.store.engine import Store
from everloop.store.facts import Prediction

__all__ = ["PREDICTION", "look_for_row_drift"]

PREDICTION = "(prediction)"
"""The column under which a model's own answers are told."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REFERENCE = {1: 56, 7: 26}
_INPUT = "input."
_KEPT = "\0kept"
_FORMAT = 4


def look_for_row_drift(
    project: Project, store: Store, *, now: datetime, release: str = "champion", inputs: Inputs | None = None
) -> DriftReport:
    """Whether a model of rows is asked, and answers, as in its first weeks.

    Args:
        project: the project.
        store: its store; summaries and what the release learnt are kept in it.
        now: the present; whole periods before it are looked at.
        release: a digest, a beginning of one, or a role.
        inputs: reads the inputs of an answer; without it the answers alone are looked at.

    Raises:
        NotFoundError: there is no such release.
        SettingsError: ``monitor.leave_out`` names no column.
    """
    days = period_days(project.settings)
    with store.read() as tx:
        row = find_release(tx, release)
        roles = [digest for role in ("champion", "challenger") if (digest := in_role(tx, role))]
        named = tuple(find_release(tx, digest) for digest in roles)
        accepted = accepted_change(tx)
    end = period_of((now.astimezone(UTC) - _EPOCH).days, days)
    summary = _summary(store, row, end=end, days=days, inputs=inputs)
    expectation = _expectation(project, store, row, summary, now=now)
    if expectation is None:
        reason = (
            f"too little history: {len(summary.periods)} of the first {_REFERENCE[days]} {_unit(days)}s with answers"
        )
        return nothing_to_tell(row, reason)
    is_new = summary.periods >= expectation.end
    since = reset_day(row, accepted)
    found = judge(
        expectation.streams,
        summary.periods[is_new],
        streams_of(summary, expectation.plan)[is_new],
        false_alarms_per_year=project.settings.monitor.false_alarms_per_year,
        since=since,
    )
    at = accepted.at if accepted is not None and since is not None else None
    return tell(Look(row, named, expectation, days, None, project.settings, at), found)


def _summary(store: Store, release: ReleaseRow, *, end: int, days: int, inputs: Inputs | None) -> Summary:
    """The answers before a day by period; a period that is over is read once."""
    source = f"rows:{digest_json([_FORMAT, release.digest, days, inputs is not None])[:32]}"
    with store.read() as tx:
        kept = {int(part): row for part, row in summaries_of(tx, source).items()}
        first = max(kept) + days if kept else period_of((release.created_at.astimezone(UTC) - _EPOCH).days, days)
        reader = None if inputs is None else _marked(inputs)
        since = _EPOCH + timedelta(days=first)
        frame = join_rows(tx, since=since, releases=(release.digest,), inputs=reader).frame if first < end else None
    parts = [Summary.unpack(row.content) for part, row in kept.items() if part < end]
    if frame is not None:
        fresh = _summarize(frame.filter(pl.col("at") < _EPOCH + timedelta(days=end)), days)
        each = [fresh.at(np.array([place])) for place in range(len(fresh.periods))]
        rows = {}
        for part in each:
            name, content = str(int(part.periods[0])), part.pack()
            rows[name] = SummaryRow(name, source, content)
        if rows:
            with store.write() as tx:
                keep_summaries(tx, source, rows)
        parts += each
    return join_summaries(parts)


def _marked(inputs: Inputs) -> Inputs:
    """The same inputs, with a mark on the rows whose inputs were kept: the others are not missing values."""

    def read(prediction: Prediction) -> Mapping[str, NDArray[Any]]:
        found = inputs(prediction)
        if not found:
            return {}
        return {**found, _KEPT: np.ones(len(next(iter(found.values()))))}

    return read


def _summarize(frame: pl.DataFrame, days: int) -> Summary:
    """The summary of joined rows: what was answered over all, inputs over those whose inputs were kept."""
    at = pl.col("at").dt.replace_time_zone(None)
    is_text = frame["predicted"].null_count() == frame.height
    answer = pl.col("predicted_label" if is_text else "predicted").alias(PREDICTION)
    said = frame.select(at, answer)
    parts = [
        summarize_rows(said, Watched((PREDICTION,), frozenset([PREDICTION] if is_text else []), "", 1, "at", days))
    ]
    if _INPUT + _KEPT in frame.columns:
        asked = frame.filter(pl.col(_INPUT + _KEPT).is_not_null())
        names = [each for each in frame.columns if each.startswith(_INPUT) and each != _INPUT + _KEPT]
        # "at" may be the name of an input, this cannot
        asked = asked.select(at.alias("\0at"), *(pl.col(each).alias(each.removeprefix(_INPUT)) for each in names))
        columns = tuple(each.removeprefix(_INPUT) for each in names)
        texts = frozenset(each for each in columns if asked[each].dtype == pl.String)
        parts.append(summarize_rows(asked, Watched(columns, texts, "", 1, "\0at", days)))
    return join_summaries(parts)


def _expectation(
    project: Project, store: Store, release: ReleaseRow, summary: Summary, *, now: datetime
) -> Expectation | None:
    """What the release expects after its first weeks; ``None`` while they are not over."""
    days, left_out = period_days(project.settings), project.settings.monitor.leave_out
    columns = sorted({column for column, group in summary.numbers if group == ALL})
    unknown = [name for name in left_out if name not in columns]
    if unknown and columns:
        raise SettingsError(
            "setting_column",
            f"monitor.leave_out names {unknown[0]!r}, which is not among the watched columns",
            hint=nearest(unknown[0], columns),
            path="monitor.leave_out",
        )
    digest = digest_json([_FORMAT, "rows", days, left_out, columns])
    with store.read() as tx:
        content = get_reference(tx, release.digest, digest)
    if content is not None:
        return Expectation.unpack(content)
    size = _REFERENCE[days]
    if len(summary.periods) < size:
        return None
    reference = summary.until(int(summary.periods[size - 1]))
    watched = [name for name in columns if name not in left_out]
    plan = plan_streams(reference, columns=watched, target="", known_ahead=())
    streams = learn(reference.periods, streams_of(reference, plan), kinds_of(plan.keys), period_days=days)
    end = int(reference.periods[-1]) + days
    made = Expectation(end, end - 1, True, plan, (), streams)  # as the record names it
    with store.write() as tx:
        keep_reference(tx, release.digest, digest, made.pack(), at=now)
    return made


def _unit(days: int) -> str:
    return "week" if days == 7 else "day"
