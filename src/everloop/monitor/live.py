"""What live accuracy says now: the champion's, and a challenger's in shadow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Connection

from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data.loading import truth as read_truth
from everloop.data.loading import unscored
from everloop.monitor.accuracy import Accuracy, assess_decay, daily_errors, measure
from everloop.monitor.joining import JoinedForecast, Truth, join
from everloop.stats.evidence import Evidence
from everloop.store.deployments import ReleaseRow, find_release
from everloop.store.engine import Store
from everloop.store.facts import Prediction, outcomes_since, predictions_reaching

__all__ = ["LiveReport", "expected_by_step", "joined_since", "look", "truth_since"]


@dataclass(frozen=True, slots=True)
class LiveReport:
    """A release's live accuracy and the verdict on its decay."""

    release: ReleaseRow
    accuracy: Accuracy
    decay: Evidence
    since: datetime


def look(
    project: Project, store: Store, *, release: str, now: datetime, joined: list[JoinedForecast] | None = None
) -> LiveReport:
    """The live accuracy of a release over the monitor's window.

    Args:
        project: the project.
        store: its store.
        release: a digest, a beginning of one, or a role.
        now: the present.
        joined: predictions beside the truth, where they are at hand already.

    Raises:
        NotFoundError: there is no such release.
    """
    settings = project.settings.monitor
    since = now - timedelta(days=settings.window_days)
    with store.read() as tx:
        row = find_release(tx, release)
        pairs = joined_since(project, tx, since=since, releases=(row.digest,)) if joined is None else joined
    own = [each for each in pairs if each.release == row.digest]
    promised = expected_by_step(row)
    accuracy = measure(row.digest, own, promised)
    decay = assess_decay(
        daily_errors(own, promised),
        max_decay=settings.max_decay,
        alpha=settings.alpha,
        min_outcomes=settings.min_outcomes,
    )
    return LiveReport(row, accuracy, decay, since)


def joined_since(
    project: Project, connection: Connection, *, since: datetime, releases: tuple[str, ...] = ()
) -> list[JoinedForecast]:
    """The predictions that speak of instants at or after ``since``, beside the truth of those instants.

    What-ifs are left out: nobody will see what would have been. So are answers whose inputs were not kept, since
    nobody knows what they were about; the daily batches always keep theirs. Outcomes that ``data.cleaning`` leaves out
    of training judge nothing here either, by the marks that all the data known by now give.
    """
    truth = truth_since(project, connection, since=since)
    marked = unscored(project, since=since)
    if marked.height:
        truth = truth.without(marked["series"].to_numpy().astype(object), _micros(marked["time"]))
    said = predictions_reaching(connection, since, releases=releases)
    ahead = frozenset(project.settings.data.known_ahead)
    return join((each for each in said if not _is_what_if(each, ahead)), truth)


def truth_since(project: Project, connection: Connection, *, since: datetime) -> Truth:
    """What is known now of instants at or after ``since``: the table, and over it what was told."""
    frequency = Frequency.parse(project.settings.data.frequency)
    table = read_truth(project, since=since)
    return Truth.build(
        frequency,
        series=table["series"].to_numpy().astype(object),
        times_us=_micros(table["time"]),
        values=table["actual"].to_numpy().astype(np.float64),
        received_us=_micros(table["ingested_at"]),
        known_us=_micros(table["known_at"]),
        outcomes=outcomes_since(connection, since.astimezone(UTC)),
    )


def expected_by_step(release: ReleaseRow) -> dict[int, float]:
    """The WAPE that a release's backtest promises, by steps ahead.

    A step that never met a day of trade in the backtest (every one of them a closed weekday, say) is promised the
    overall error.
    """
    overall = (release.metrics.get("candidate") or {}).get("wape")
    table = release.metrics.get("by_step") or []
    promised = {int(row["step"]): overall if row.get("wape") is None else row["wape"] for row in table}
    return {step: float(wape) for step, wape in promised.items() if wape is not None}


def _is_what_if(prediction: Prediction, ahead: frozenset[str]) -> bool:
    """Whether an answer is, or may be, about a world that was asked for, which outcomes do not judge."""
    if not prediction.request:
        return True
    request = msgspec.json.decode(prediction.request)
    return bool(request.get("future")) or not ahead.isdisjoint(request.get("columns") or ())


def _micros(column: pl.Series) -> NDArray[np.int64]:
    return column.cast(pl.Int64).to_numpy().astype(np.int64)
