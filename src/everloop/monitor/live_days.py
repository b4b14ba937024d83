"""Live forecasts beside the truth, summed by day and by steps ahead; the sums of days gone by are kept.

A day is summed anew while it lies in the monitor's window, so truth that comes late or is corrected within it is
heeded; older days stay as they were last seen. What is kept is made again from the predictions where it is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.digest import digest_bytes
from everloop.core.errors import IntegrityError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.monitor.joining import JoinedForecast
from everloop.monitor.live import joined_since
from everloop.store.deployments import ReleaseRow
from everloop.store.drift import SummaryRow, keep_summaries, summaries_of
from everloop.store.engine import Store
from everloop.validate.expected import Expected, observation_of

__all__ = ["COLUMNS", "LiveDays", "keep_days", "live_days", "sum_days"]

Floats = NDArray[np.float64]

COLUMNS = (
    "forecasts",
    "known",
    "absolute",
    "signed",
    "actual",
    "inside",
    "covered",
    "width",
    "width_ahead",
    "forecast_ahead",
)
"""What is summed: forecast values, those with an outcome; of the latter the absolute and signed errors and the sales;
outcomes within the narrowest interval, those that have one, and its width; width and forecast of all values, outcome
or not. After these stand, for each wider level, the outcomes within and those that have an interval."""


@dataclass(frozen=True, slots=True)
class LiveDays:
    """Sums by observation (a day, or the step of the data where that is longer) and by steps ahead.

    Attributes:
        observations: their numbers on the grid, ascending, shape ``(t,)``.
        months: the month of each, 1 to 12, shape ``(t,)``.
        sums: shape ``(t, buckets, len(COLUMNS) + 2 * wider levels)``.
        fresh: which of them were summed now, shape ``(t,)``.
    """

    observations: NDArray[np.int64]
    months: NDArray[np.int64]
    sums: Floats
    fresh: NDArray[np.bool_]

    def column(self, name: str) -> Floats:
        """One of the sums, shape ``(t, buckets)``."""
        column: Floats = self.sums[:, :, COLUMNS.index(name)]
        return column

    def wider(self, place: int) -> tuple[Floats, Floats]:
        """Outcomes within the wider level number ``place``, and those that have an interval, each ``(t, buckets)``."""
        first = len(COLUMNS) + 2 * place
        return self.sums[:, :, first], self.sums[:, :, first + 1]


def live_days(
    project: Project,
    store: Store,
    release: ReleaseRow,
    expected: Expected,
    *,
    now: datetime,
    joined: Iterable[JoinedForecast] | None = None,
) -> LiveDays:
    """The sums of a release from its first live forecast until its last one, the days ahead among them.

    Args:
        project: the project.
        store: its store.
        release: whose forecasts.
        expected: its ranges, which tell how steps are grouped.
        now: the present.
        joined: the predictions of the monitor's window beside the truth, where they are at hand.
    """
    frequency = Frequency.parse(project.settings.data.frequency)
    window = now.astimezone(UTC) - timedelta(days=project.settings.monitor.window_days)
    with store.read() as tx:
        kept = {int(part): row for part, row in summaries_of(tx, _source(release)).items()}
        since = _since(frequency, expected, kept, window, release)
        if joined is None or since < window:
            joined = joined_since(project, tx, since=since, releases=(release.digest,))
    start = int(observation_of(np.array([frequency.index_of(since)]), expected.steps)[0])
    if frequency.times(np.array([start * expected.steps]))[0] < np.datetime64(since.replace(tzinfo=None), "us"):
        start += 1  # the truth of a day that began before the window is not all there
    own = (each for each in joined if each.release == release.digest and each.kind == "batch")
    observations, sums = sum_days(own, expected)
    is_new = observations >= start
    found = {day: _unpack(row, _shape(expected)) for day, row in kept.items()}
    # of a day gone by that nobody forecasts any more, what was kept stays
    fresh = dict(zip(observations[is_new].tolist(), sums[is_new], strict=True))
    return _laid_out(found | fresh, set(fresh), frequency, expected)


def sum_days(joined: Iterable[JoinedForecast], expected: Expected) -> tuple[NDArray[np.int64], Floats]:
    """The sums of some predictions: observations, ascending, and their sums as :class:`LiveDays` has them."""
    totals: dict[int, Floats] = {}
    shape = _shape(expected)
    starts = np.array([bucket.first for bucket in expected.buckets])
    for each in joined:
        columns = _columns(each, expected)
        bucket = np.searchsorted(starts, each.steps, side="right") - 1
        inside = (each.steps >= 1) & (each.steps <= expected.buckets[-1].last)
        days = observation_of(each.index, expected.steps)
        for place in np.flatnonzero(inside).tolist():
            totals.setdefault(int(days[place]), np.zeros(shape))[bucket[place]] += columns[place]
    observations = np.array(sorted(totals), dtype=np.int64)
    sums = np.array([totals[day] for day in observations.tolist()]).reshape(len(observations), *shape)
    return observations, sums


def keep_days(store: Store, release: ReleaseRow, days: LiveDays) -> None:
    """Keep the sums of the days that have any truth; what is kept already stays."""
    has_truth = days.fresh & (days.column("known").sum(axis=1) > 0)
    rows = {str(day): _row(day, days.sums[at]) for at, day in enumerate(days.observations.tolist()) if has_truth[at]}
    with store.read() as tx:
        known = summaries_of(tx, _source(release))
    changed = {part: row for part, row in rows.items() if known.get(part) != row}
    if changed:
        with store.write() as tx:
            keep_summaries(tx, _source(release), changed)


def _shape(expected: Expected) -> tuple[int, int]:
    return len(expected.buckets), len(COLUMNS) + 2 * len(expected.wider)


def _columns(each: JoinedForecast, expected: Expected) -> Floats:
    """The sums over series of one prediction, shape ``(h, columns)``."""
    mean = np.where(np.isfinite(each.mean), each.mean, 0.0)
    known = np.isfinite(each.actual) & np.isfinite(each.mean)
    error = np.where(known, mean - np.where(known, each.actual, 0.0), 0.0)
    result = np.zeros((_shape(expected)[1], len(each.index)))
    result[0] = np.isfinite(each.mean).sum(axis=0)
    result[1] = known.sum(axis=0)
    result[2], result[3] = np.abs(error).sum(axis=0), error.sum(axis=0)
    result[4] = np.where(known, np.abs(each.actual), 0.0).sum(axis=0)
    if expected.level is not None and expected.level in each.lower:
        bounded, result[5], result[6] = _covered(each, known, expected.level)
        width = np.where(bounded, each.upper[expected.level] - each.lower[expected.level], 0.0)
        result[7] = np.where(known, width, 0.0).sum(axis=0)
        result[8] = width.sum(axis=0)
    result[9] = np.abs(mean).sum(axis=0)
    for place, level in enumerate(expected.wider):
        if level in each.lower:
            first = len(COLUMNS) + 2 * place
            _, result[first], result[first + 1] = _covered(each, known, level)
    return result.T


def _covered(
    each: JoinedForecast, known: NDArray[np.bool_], level: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Which values have an interval; and by step, how many outcomes lie in it, and how many have one."""
    lower, upper = each.lower[level], each.upper[level]
    bounded = np.isfinite(lower) & np.isfinite(upper)
    has = known & bounded
    return bounded, (has & (each.actual >= lower) & (each.actual <= upper)).sum(axis=0), has.sum(axis=0)


def _since(
    frequency: Frequency, expected: Expected, kept: dict[int, SummaryRow], window: datetime, release: ReleaseRow
) -> datetime:
    """From when on the days must be summed: the window's start, or the last day kept where that is earlier."""
    if not kept:
        return min(window, release.cutoff.astimezone(UTC))
    last = frequency.times(np.array([max(kept) * expected.steps]))[0].astype("M8[us]").astype(np.int64)
    return min(window, datetime.fromtimestamp(int(last) / 1_000_000, tz=UTC))


def _laid_out(found: dict[int, Floats], fresh: set[int], frequency: Frequency, expected: Expected) -> LiveDays:
    days: Sequence[int] = sorted(found)
    observations = np.array(days, dtype=np.int64)
    times = frequency.times(observations * expected.steps)
    shape = (len(days), *_shape(expected))
    return LiveDays(
        observations=observations,
        months=np.asarray(times.astype("M8[M]").astype(np.int64) % 12 + 1, dtype=np.int64),
        sums=np.array([found[day] for day in days], dtype=np.float64).reshape(shape),
        fresh=np.array([day in fresh for day in days], dtype=np.bool_),
    )


def _source(release: ReleaseRow) -> str:
    return f"live:{release.digest[:48]}"


def _row(day: int, sums: Floats) -> SummaryRow:
    content = msgspec.msgpack.encode(sums.tolist())
    return SummaryRow(str(day), digest_bytes(content), content)


def _unpack(row: SummaryRow, shape: tuple[int, int]) -> Floats:
    try:
        sums = np.array(msgspec.msgpack.decode(row.content, type=list[list[float]]), dtype=np.float64)
    except (msgspec.DecodeError, ValueError) as error:
        raise IntegrityError("live_days", f"the kept sums of a day cannot be read: {error}") from error
    if sums.shape != shape:
        raise IntegrityError("live_days", "the kept sums of a day are of another form")
    return sums
