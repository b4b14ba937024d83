"""Predictions meet outcomes, whenever either arrives.

Both are stored as facts and joined anew each time, so the order in which they came makes no difference:

- an outcome that comes twice is one outcome (it has one id, or the same content);
- a corrected outcome replaces the earlier one, from the next join on;
- an outcome that is early waits until there is a prediction for it;
- an outcome without any prediction is kept, goes into the table for the next training, and is counted;
- an outcome that was known before the prediction was made says nothing about foresight: it is left out and
  counted as hindsight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from everloop.core.frequency import Frequency
from everloop.store.facts import Outcome, Prediction
from everloop.store.values import ForecastValues

__all__ = ["JoinedForecast", "Truth", "join"]

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened, in a window of time, as dense arrays.

    Attributes:
        frequency: the grid of the columns.
        first: the grid index of the first column.
        rows: the row of each series.
        values: shape ``(series, periods)``, NaN where nothing is known.
        known_since: when each value was first known, microseconds since 1970.
        unscored: which values judge no forecast, since they are no true picture of demand; ``None`` where all do.
    """

    frequency: Frequency
    first: int
    rows: dict[str, int]
    values: NDArray[np.float64]
    known_since: NDArray[np.int64]
    unscored: NDArray[np.bool_] | None = None

    def without(self, series: NDArray[np.str_], times_us: NDArray[np.int64]) -> Truth:
        """The same truth, of which some instants judge no forecast; those that are not in it are passed over."""
        rows = np.array([self.rows.get(str(each), -1) for each in series], dtype=np.int64)
        columns = self.frequency.index(times_us.astype("M8[us]")) - self.first
        is_here = (rows >= 0) & (columns >= 0) & (columns < self.values.shape[1])
        unscored = np.zeros(self.values.shape, dtype=np.bool_)
        unscored[rows[is_here], columns[is_here]] = True
        return replace(self, unscored=unscored)

    @classmethod
    def build(
        cls,
        frequency: Frequency,
        *,
        series: NDArray[np.str_],
        times_us: NDArray[np.int64],
        values: NDArray[np.float64],
        received_us: NDArray[np.int64],
        known_us: NDArray[np.int64],
        outcomes: Iterable[Outcome] = (),
    ) -> Truth:
        """Lay out the table's rows, and the outcomes over them; of one series and time the latest received wins.

        ``received_us`` is when a row of the table was last changed, ``known_us`` when its value was first known.
        """
        told = list(outcomes)
        names = np.concatenate([series, np.array([each.series for each in told], dtype=object)])
        times = np.concatenate([times_us, np.array([_micros(each.time) for each in told], dtype=np.int64)])
        known = np.concatenate([values, np.array([each.value for each in told], dtype=np.float64)])
        told_at = np.array([_micros(each.received_at) for each in told], dtype=np.int64)
        when = np.concatenate([received_us, told_at])
        first_known = np.concatenate([known_us, told_at])
        index = frequency.index(times.astype("M8[us]"))
        first = int(index.min()) if len(index) else 0
        periods = int(index.max()) - first + 1 if len(index) else 0
        labels, row = np.unique(names.astype(str), return_inverse=True)
        order = np.argsort(when, kind="stable")
        shape = (len(labels), periods)
        block = np.full(shape, np.nan)
        known_since = np.full(shape, _NEVER, dtype=np.int64)
        # in order of receipt, so that of several writes to one place the latest stays
        block[row[order], index[order] - first] = known[order]
        # hindsight is judged by the first time that a value was known, corrections aside
        np.minimum.at(known_since, (row, index - first), first_known)
        return cls(frequency, first, {str(label): place for place, label in enumerate(labels)}, block, known_since)


@dataclass(frozen=True, slots=True)
class JoinedForecast:
    """One prediction beside the truth.

    Attributes:
        prediction: its id.
        release: the digest of the release that gave it.
        role: who answered, see :class:`everloop.store.records.Prediction`.
        kind: the door it came through, likewise.
        twin: the id of the answer that a shadow stands beside, likewise.
        series: the series' texts, length ``n``.
        index: the grid index of each instant, shape ``(h,)``.
        steps: how many steps ahead each instant was, shape ``(h,)``.
        mean: the forecast, shape ``(n, h)``.
        actual: the truth, shape ``(n, h)``, NaN where it is not known or is hindsight.
        lower: by level.
        upper: by level.
        hindsight: how many values were known before the prediction was made.
        at: when the prediction was made.
        unit: what a split drew it by, where there was one.
        experiment: the stage of the split that chose the release, where there was one.
        left_out: how many known values are no true picture of demand, and so judge nothing (``data.cleaning``).
    """

    prediction: str
    release: str
    role: str
    kind: str
    twin: str | None
    series: tuple[str, ...]
    index: NDArray[np.int64]
    steps: NDArray[np.int64]
    mean: NDArray[np.float64]
    actual: NDArray[np.float64]
    lower: dict[float, NDArray[np.float64]]
    upper: dict[float, NDArray[np.float64]]
    hindsight: int
    at: datetime | None = None
    unit: str | None = None
    experiment: str | None = None
    left_out: int = 0


def join(predictions: Iterable[Prediction], truth: Truth) -> list[JoinedForecast]:
    """Every prediction beside what is known now of its series and instants."""
    return [_join_one(each, truth) for each in predictions]


def _join_one(prediction: Prediction, truth: Truth) -> JoinedForecast:
    values = ForecastValues.unpack(prediction.response)
    index = truth.frequency.index(values.times.astype("M8[us]"))
    column = index - truth.first
    periods = truth.values.shape[1]
    rows = np.array([truth.rows.get(key, -1) for key in values.series], dtype=np.int64)
    actual = np.full(values.mean.shape, np.nan)
    hindsight = left_out = 0
    is_inside = (column >= 0) & (column < periods)
    if is_inside.any() and (rows >= 0).any():
        found = np.flatnonzero(rows >= 0)
        places = np.ix_(rows[found], column[is_inside])
        block = truth.values[places].copy()
        was_known = truth.known_since[places] < _micros(prediction.at)
        hindsight = int((was_known & np.isfinite(block)).sum())
        block[was_known] = np.nan
        if truth.unscored is not None:
            left_out = int((truth.unscored[places] & np.isfinite(block)).sum())
            block[truth.unscored[places]] = np.nan
        actual[np.ix_(found, np.flatnonzero(is_inside))] = block
    # the first instant of a forecast that starts right after its cutoff is one step ahead
    first = int(truth.frequency.index(np.array([_naive(prediction.first_time)], "M8[us]"))[0])
    return JoinedForecast(
        prediction=prediction.id,
        release=prediction.release,
        role=prediction.role,
        kind=prediction.kind,
        twin=prediction.twin,
        series=values.series,
        index=index,
        steps=index - first + 1,
        mean=values.mean,
        actual=actual,
        lower=values.lower,
        upper=values.upper,
        hindsight=hindsight,
        at=prediction.at,
        unit=prediction.unit,
        experiment=prediction.experiment,
        left_out=left_out,
    )


def _micros(instant: datetime) -> int:
    return int(np.datetime64(_naive(instant), "us").astype(np.int64))


def _naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
