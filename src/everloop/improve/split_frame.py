"""The units and days of a split: who was dealt to which arm, since when, and which days are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from everloop.data.panel import split_key
from everloop.serve.traffic import Split
from everloop.store.split_answers import SplitAnswer
from everloop.store.splits import TrafficSplit

__all__ = ["SplitFrame", "arms_of", "closed_days", "frame_of", "unit_of_series"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SplitFrame:
    """The units of a split's present stage in the order of their texts, and its closed days.

    Attributes:
        units: the units.
        arm: the arm of each, 0 for the champion's.
        entered: the day, from 0, of each unit's first answer.
        first: the first day.
        days: how many are closed.
        answers: answers by unit and day, shape ``(units, days)``.
        failures: those among them that another release had to give.
    """

    units: tuple[str, ...]
    arm: NDArray[np.int64]
    entered: NDArray[np.int64]
    first: date
    days: int
    answers: Floats
    failures: Floats

    @property
    def place(self) -> dict[str, int]:
        """The row of each unit."""
        return {unit: row for row, unit in enumerate(self.units)}

    def column(self, dates: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """The column of each date; outside of ``0`` to ``days - 1`` where it is none of these."""
        return (dates.astype("M8[D]") - np.datetime64(self.first)).astype(np.int64)


def arms_of(split: TrafficSplit, champion: str) -> tuple[str, ...]:
    """The releases that have a share now, the champion first."""
    running = sorted(release for release, share in split.weights.items() if share > 0 and release != champion)
    return (champion, *running)


def closed_days(split: TrafficSplit, *, now: datetime, settle_days: int, newest_truth: date | None = None) -> int:
    """How many days of the present stage are over and settled; none after the newest truth, where there is one."""
    last = now.astimezone(UTC).date() - timedelta(days=1 + settle_days)
    if newest_truth is not None:
        last = min(last, newest_truth)
    return max((last - split.stages[-1].at.astimezone(UTC).date()).days + 1, 0)


def frame_of(split: TrafficSplit, arms: Sequence[str], answers: Iterable[SplitAnswer], *, days: int) -> SplitFrame:
    """Units and their arms.

    A unit is in the arm that the split's hash gives it, whoever answered it in the end: where a release fails and
    another steps in, that is what the unit came to by it.

    Args:
        split: the split.
        arms: its releases, the champion first.
        answers: those of its present stage.
        days: how many days are closed.
    """
    drawn = Split.compile(split)
    first = split.stages[-1].at.astimezone(UTC).date()
    number = {release: place for place, release in enumerate(arms)}
    seen: dict[str, list[tuple[int, bool]]] = {}
    arm_of: dict[str, int] = {}
    for each in answers:
        if each.unit not in arm_of:
            # a unit that is kept by its digest cannot be drawn again: who answered it first tells its arm
            release = each.release if each.unit.startswith("blake2b:") else drawn.assign(each.unit)
            arm_of[each.unit] = number.get(release, -1)
        day = (each.at.astimezone(UTC).date() - first).days
        seen.setdefault(each.unit, []).append((max(day, 0), each.is_failure))
    units = tuple(sorted(unit for unit, days_seen in seen.items() if arm_of[unit] >= 0 and min(days_seen)[0] < days))
    counts = np.zeros((2, len(units), days))
    entered = np.zeros(len(units), dtype=np.int64)
    for row, unit in enumerate(units):
        entered[row] = min(day for day, _ in seen[unit])
        for day, is_failure in seen[unit]:
            if day < days:
                counts[:, row, day] += (1.0, float(is_failure))
    arm = np.array([arm_of[unit] for unit in units], dtype=np.int64)
    return SplitFrame(units, arm, entered, first, days, counts[0], counts[1])


def unit_of_series(split: TrafficSplit, columns: Sequence[str]) -> Callable[[str], str | None]:
    """The unit that a series belongs to, where the split draws by series or by a column of theirs."""
    if split.unit == "series":
        return str
    if split.unit not in columns:
        return lambda text: None
    place = list(columns).index(split.unit)
    return lambda text: split_key(text)[place]
