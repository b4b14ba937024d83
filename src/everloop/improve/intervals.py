"""Learning how wide intervals must be, from what came true since release.

Each period's truth is held against the daily batches that spoke of it at four leads. An outcome is placed in the
interval that the release itself would have given, whatever widths it was given with, and counted against the ends as
the present factors put them: so a forecast that was made weeks ago teaches no correction twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.monitor.joining import JoinedForecast, join
from everloop.monitor.live import truth_since
from everloop.stats.adaptive import ABOVE, BELOW, Widths
from everloop.store.deployments import StateRow, find_release
from everloop.store.facts import Prediction, predictions_reaching
from everloop.store.marks import get_mark, set_mark

__all__ = ["keep_widths", "learnt_widths", "widths_of"]

_MARK = "intervals:"
_CLASS_SHARES = (0.5, 0.8, 0.95)
_FEWEST_IN_CLASS = 200

Floats = NDArray[np.float64]


def widths_of(connection: Connection, state: str) -> Widths | None:
    """The widths that a serving state answers with, ``None`` where these are the release's own."""
    tree = get_mark(connection, f"{_MARK}{state}") if state else None
    return None if tree is None else Widths.from_dict(tree)


def keep_widths(connection: Connection, state: str, widths: Widths, *, at: datetime) -> None:
    """Keep what a serving state answers with, within the transaction that registers it; it never changes."""
    if get_mark(connection, f"{_MARK}{state}") is None:
        set_mark(connection, f"{_MARK}{state}", widths.to_dict(), at=at)


def learnt_widths(
    project: Project, connection: Connection, *, release: str, state: StateRow | None, until: datetime
) -> Widths | None:
    """The widths of a release after all periods whose truth is known by now.

    Args:
        project: the project.
        connection: its store.
        release: the release's digest.
        state: its latest serving state, whose widths are learnt on.
        until: the last instant with truth.

    Returns:
        ``None`` where nothing was learnt yet.
    """
    if state is None or not project.settings.forecast.adapt_intervals:
        return None
    frequency = Frequency.parse(project.settings.data.frequency)
    widths = widths_of(connection, state.id)
    cutoff = find_release(connection, release).cutoff
    through = frequency.index_of(cutoff) if widths is None else widths.through
    end = frequency.index_of(until)
    if end <= through:
        return widths
    since = _instant(frequency, through + 1)
    said = predictions_reaching(connection, since, releases=(release,), kinds=("batch",))
    horizon = project.settings.forecast.horizon
    chosen = [each for each in said if _leads(each, frequency, through + 1, end, horizon)]
    if not chosen:
        return widths
    given = {each.id: widths_of(connection, each.state) for each in chosen}
    joined = [each for each in join(chosen, truth_since(project, connection, since=since)) if each.lower]
    for period in range(through + 1, end + 1):
        cells = [_Cells.of(each, given[each.prediction], period) for each in joined if (each.index == period).any()]
        widths = _learn(widths, [each for each in cells if len(each.truth)], period)
    return widths


@dataclass(frozen=True, slots=True)
class _Cells:
    """One prediction's cells of a period that have truth: the distances from forecast to each end, unstretched.

    A distance is infinite where the end cannot be missed, and NaN where there is none.
    """

    truth: Floats
    mean: Floats
    below: dict[float, Floats]
    above: dict[float, Floats]

    @classmethod
    def of(cls, joined: JoinedForecast, given: Widths | None, period: int) -> _Cells:
        column = int(np.flatnonzero(joined.index == period)[0])
        actual, mean = joined.actual[:, column], joined.mean[:, column]
        known = np.isfinite(actual)
        below, above = {}, {}
        for level in joined.lower:
            low, high = joined.lower[level][known, column], joined.upper[level][known, column]
            factors = (1.0, 1.0) if given is None else given.factors(level, mean[known])
            # an interval without width is that of a closed day, and says nothing
            has_width = high > low
            below[level] = np.where(has_width, (mean[known] - low) / factors[BELOW], np.nan)
            above[level] = np.where(has_width, (high - mean[known]) / factors[ABOVE], np.nan)
            # a count cannot miss an end at zero; with the others such ends make up what was promised of all
            if not (joined.lower[level] < 0).any():
                below[level] = np.where(has_width & (low == 0), np.inf, below[level])
        return cls(actual[known], mean[known], below, above)


def _learn(widths: Widths | None, cells: list[_Cells], period: int) -> Widths | None:
    """The widths after a period; they begin with the first one that has truth."""
    if not cells:
        return widths
    if widths is None:
        means = np.concatenate([np.abs(each.mean) for each in cells])
        widths = Widths.start(sorted(cells[0].below), _cuts(means), through=period)
    shape = widths.log_factors.shape
    missed, counts = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    for each in cells:
        classes = widths.classes_of(each.mean)
        for place, level in enumerate(widths.levels):
            if level not in each.below:
                continue
            factors = widths.factors(level, each.mean)
            ends = (each.below[level], each.above[level])
            beyond = (each.mean - each.truth, each.truth - each.mean)
            for end in (BELOW, ABOVE):
                is_given = ~np.isnan(ends[end])
                is_missed = is_given & (beyond[end] > ends[end] * factors[end])
                counts[place, end] += np.bincount(classes[is_given], minlength=shape[2])
                missed[place, end] += np.bincount(classes[is_missed], minlength=shape[2])
    return widths.learn(missed / np.maximum(counts, 1), counts, through=period)


def _cuts(means: Floats) -> list[float]:
    """The forecasts that part the classes, where enough series are there for each."""
    rarest = [share for share in _CLASS_SHARES if (1.0 - share) * len(means) >= _FEWEST_IN_CLASS]
    return [float(each) for each in np.unique(np.quantile(means, rarest))] if rarest else []


def _leads(prediction: Prediction, frequency: Frequency, first: int, last: int, horizon: int) -> bool:
    """Whether a batch speaks of a period at a lead that is looked at: the first, the last, and two between."""
    begin = frequency.index_of(prediction.first_time)
    leads = {max(1, round(horizon * share)) for share in (0.0, 1 / 3, 2 / 3, 1.0)}
    return any(first <= begin + lead - 1 <= last for lead in leads)


def _instant(frequency: Frequency, index: int) -> datetime:
    micros = int(frequency.times(np.array([index]))[0].astype("M8[us]").astype(np.int64))
    return datetime.fromtimestamp(micros / 1_000_000, tz=UTC)
