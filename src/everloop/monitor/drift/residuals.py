"""What a release said beside what came true, summed by period: the streams that tell of a changed relation.

Of each instant the forecast that was made last counts, over all series together, so the errors of one day come from
one batch. Sums are kept for each day: a day is summed again as long as it lies in the monitor's window, so truth that
comes late or is corrected within it is heeded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from everloop.core.digest import digest_bytes
from everloop.core.errors import IntegrityError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.monitor.drift.tables import period_of
from everloop.monitor.joining import JoinedForecast
from everloop.monitor.live import expected_by_step, joined_since
from everloop.store.deployments import ReleaseRow
from everloop.store.drift import SummaryRow, keep_summaries, summaries_of
from everloop.store.engine import Store

__all__ = ["ErrorSums", "backtest_errors", "live_errors"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST_SHARE = 0.5
"""An instant with truth for fewer of its series than this, of what its batch spoke of, does not count yet."""


@dataclass(frozen=True, slots=True)
class ErrorSums:
    """Sums by period, each of shape ``(p,)``.

    Attributes:
        periods: the first day of each, days since 1970.
        forecast: of what was forecast.
        actual: of what came true.
        absolute: of the absolute errors.
        promised: of the absolute errors that the backtest promised for the same steps, NaN where it says nothing.
    """

    periods: NDArray[np.int64]
    forecast: NDArray[np.float64]
    actual: NDArray[np.float64]
    absolute: NDArray[np.float64]
    promised: NDArray[np.float64]

    @property
    def bias(self) -> NDArray[np.float64]:
        """The logarithm of forecast over actual: 0 without bias, NaN where either sum is not above zero."""
        is_usable = (self.forecast > 0) & (self.actual > 0)
        ratio = np.divide(self.forecast, self.actual, out=np.ones(len(self.actual)), where=is_usable)
        return np.where(is_usable, np.log(ratio), np.nan)

    @property
    def excess(self) -> NDArray[np.float64]:
        """The logarithm of the absolute error over the promised one, NaN where either is not above zero."""
        is_usable = (self.absolute > 0) & (self.promised > 0)
        ratio = np.divide(self.absolute, self.promised, out=np.ones(len(self.actual)), where=is_usable)
        return np.where(is_usable, np.log(ratio), np.nan)

    def until(self, last: int) -> ErrorSums:
        """The periods that begin by day ``last``."""
        kept = self.periods <= last
        columns = (self.forecast, self.actual, self.absolute, self.promised)
        return ErrorSums(self.periods[kept], *(each[kept] for each in columns))

    @classmethod
    def collect(cls, days: Mapping[int, Sequence[float]], days_of_period: int) -> ErrorSums:
        """Sums by day (forecast, actual, absolute, promised) as sums by period."""
        sums: dict[int, NDArray[np.float64]] = {}
        for day, values in days.items():
            period = period_of(day, days_of_period)
            sums[period] = sums.get(period, np.zeros(4)) + np.array(values)
        periods = sorted(sums)
        columns = np.array([sums[period] for period in periods]).reshape(len(periods), 4).T
        return cls(np.array(periods, dtype=np.int64), *columns)


def live_errors(
    project: Project,
    store: Store,
    release: ReleaseRow,
    *,
    until: datetime,
    days: int,
    joined: Iterable[JoinedForecast] | None = None,
) -> ErrorSums:
    """The sums of what a release forecast since it was made, for the days before an instant.

    Args:
        project: the project.
        store: where the sums of earlier days are kept.
        release: whose forecasts.
        until: the days before it.
        days: how many days a period has.
        joined: the predictions of the monitor's window beside the truth, where they are at hand.
    """
    source = f"errors:{release.digest[:48]}"
    with store.read() as tx:
        kept = {int(part): row for part, row in summaries_of(tx, source).items()}
        window = until - timedelta(days=project.settings.monitor.window_days)
        if joined is None or not kept:
            # what was never summed is summed from the beginning; then the window is enough
            since = window if kept else min(window, release.cutoff)
            joined = joined_since(project, tx, since=since, releases=(release.digest,))
    # the grid on which predictions are joined with the truth
    frequency = Frequency.parse(project.settings.data.frequency)
    fresh = _sums_by_day((each for each in joined if each.release == release.digest), frequency, release)
    end = (until - _EPOCH).days
    found = {day: _unpack(row) for day, row in kept.items()} | fresh
    changed = {str(day): row for day, values in fresh.items() if (row := _row(day, values)) != kept.get(day)}
    if changed:
        with store.write() as tx:
            keep_summaries(tx, source, changed)
    return ErrorSums.collect({day: values for day, values in found.items() if day < end}, days)


def backtest_errors(folder: Path, release: ReleaseRow, *, days: int) -> ErrorSums:
    """The sums of what a release's backtest forecast: what is usual for its errors, before it went live.

    Args:
        folder: the release's bundle.
        release: the release.
        days: how many days a period has.
    """
    path = folder / "evidence" / "backtest.parquet"
    if not path.is_file():
        return ErrorSums.collect({}, days)
    rows = pl.read_parquet(path, columns=["step", "time", "actual", "forecast"])
    actual, forecast = (rows[name].cast(pl.Float64).to_numpy() for name in ("actual", "forecast"))
    promised = expected_by_step(release)
    steps = rows["step"].to_numpy()
    wape = np.array([promised.get(step, np.nan) for step in range(int(steps.max(initial=0)) + 1)])
    known = np.isfinite(actual) & np.isfinite(forecast)
    day, where = np.unique(rows["time"].dt.epoch("d").to_numpy().astype(np.int64)[known], return_inverse=True)
    actual, forecast = actual[known], forecast[known]
    # summed row by row: to the last bit the same each time
    sums = [
        np.bincount(where, weights, minlength=len(day))
        for weights in (
            forecast,
            actual,
            np.abs(forecast - actual),
            wape[steps[known]] * np.abs(actual),
        )
    ]
    return ErrorSums.collect({int(each): values for each, *values in zip(day, *sums, strict=True)}, days)


def _sums_by_day(
    joined: Iterable[JoinedForecast], frequency: Frequency, release: ReleaseRow
) -> dict[int, tuple[float, ...]]:
    """The sums of each instant's last batch, added up by day."""
    promised = expected_by_step(release)
    best: dict[int, tuple[int, tuple[float, ...]]] = {}
    for each in joined:
        if each.kind != "batch":
            continue
        known = np.isfinite(each.actual) & np.isfinite(each.mean)
        share = known.mean(axis=0) if len(known) else np.zeros(len(each.index))
        for place in np.flatnonzero(share >= _LEAST_SHARE).tolist():
            instant, step = int(each.index[place]), int(each.steps[place])
            if step < 1 or (instant in best and best[instant][0] <= step):
                continue
            rows = known[:, place]
            forecast, actual = each.mean[rows, place], each.actual[rows, place]
            sales = float(np.abs(actual).sum())
            sums = (
                float(forecast.sum()),
                float(actual.sum()),
                float(np.abs(forecast - actual).sum()),
                sales * promised.get(step, np.nan),
            )
            best[instant] = (step, sums)
    days: dict[int, tuple[float, ...]] = {}
    for instant in sorted(best):
        day = int(frequency.times(np.array([instant]))[0].astype("M8[D]").astype(np.int64))
        before = days.get(day, (0.0, 0.0, 0.0, 0.0))
        days[day] = tuple(float(a + b) for a, b in zip(before, best[instant][1], strict=True))
    return days


def _row(day: int, values: tuple[float, ...]) -> SummaryRow:
    content = msgspec.msgpack.encode(list(values))
    return SummaryRow(str(day), digest_bytes(content), content)


def _unpack(row: SummaryRow) -> tuple[float, ...]:
    try:
        return msgspec.msgpack.decode(row.content, type=tuple[float, float, float, float])
    except msgspec.DecodeError as error:
        raise IntegrityError("drift_summary", f"a summary for drift cannot be read: {error}") from error
