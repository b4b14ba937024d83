"""Live errors against the ranges that the release carries: has a level left its range, at whatever look.

Every stream (error, bias, coverage of each level, and the estimate made beforehand, each by steps ahead) is held
against the ends of its range by an e-detector. ``monitor.false_alarms_per_year`` is shared among all of them, as the
chance that a level lies beyond the end that is tested and as the threshold: the ends tested lie outside of the range
shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import IntegrityError
from everloop.monitor.live_days import LiveDays
from everloop.stats.levels import LevelRange, excess_path, onset, running_deviation
from everloop.validate.expected import CONFIDENCE, EXPECTED_FILE, BucketRange, Expected, coverage_kind, log_error

__all__ = [
    "KINDS",
    "Stream",
    "count_ends",
    "expected_of",
    "judge_streams",
    "settled_days",
    "tested_confidence",
    "threshold",
]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

KINDS: dict[str, tuple[int, ...]] = {"error": (1,), "bias": (1, -1), "coverage": (-1,), "estimate": (1, -1)}
"""The streams, and at which ends of the range leaving it matters: 1 above, -1 below. The coverage of a wider level is
a stream of its own, such as ``"coverage 95"``, with the ends of the narrowest one's."""
_SETTLED = 0.9
_TRADE = 0.05
_RECENT = 28


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of level for one group of steps.

    Attributes:
        kind: one of :data:`KINDS`, or the coverage of a wider level.
        steps: the steps ahead, such as ``"1-7"``.
        range: where the level must lie.
        observations: the settled days that were judged, by number, shape ``(n,)``.
        values: the level of each day, without season, shape ``(n,)``.
        season: the season's part of each day's level, shape ``(n,)``.
        evidence: by end of the range, the logarithm of the evidence after each day, shape ``(n,)``.
        threshold: above this it has left.
        since: by end, the day since when it has most likely been beyond it; ``None`` where it is not.
        tested: the ends that are tested, which lie outside of the range; ``None`` where too little is known.
    """

    kind: str
    steps: str
    range: LevelRange
    observations: NDArray[np.int64]
    values: Floats
    season: Floats
    evidence: dict[int, Floats]
    threshold: float
    since: dict[int, int | None]
    tested: dict[int, float | None]

    @property
    def out(self) -> int:
        """The end that the level is beyond now: 1 above, -1 below, 0 within as far as is known."""
        beyond = [side for side, path in self.evidence.items() if len(path) and path[-1] >= self.threshold]
        return max(beyond, key=lambda side: float(self.evidence[side][-1])) if beyond else 0

    @property
    def strength(self) -> float:
        """The evidence of the stronger end, over the threshold: above 0 it has left."""
        ends = [float(path[-1]) for path in self.evidence.values() if len(path)]
        return max(ends) - self.threshold if ends else -math.inf

    def level(self, *, since: int | None = None) -> float | None:
        """The mean level, without season: since a day, or of the last four weeks' worth of judged days."""
        values = self.values[-_RECENT:] if since is None else self.values[self.observations >= since]
        return float(values.mean()) if len(values) else None

    def factor(self, *, since: int | None = None) -> float:
        """The mean of the season's part over the same days."""
        part = self.season[-_RECENT:] if since is None else self.season[self.observations >= since]
        return float(part.mean()) if len(part) else 0.0


def expected_of(folder: Path) -> Expected | None:
    """The ranges that a bundle carries; ``None`` for a release that was made without.

    Raises:
        IntegrityError: they cannot be read.
    """
    path = folder / EXPECTED_FILE
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Expected)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise IntegrityError(
            "expected_ranges", f"the release's ranges cannot be read: {error}", path=str(path)
        ) from error


def count_ends(expected: Expected) -> int:
    """How many ends of ranges are watched."""
    ends = sum(len(sides) for sides in KINDS.values()) + len(KINDS["coverage"]) * len(expected.wider)
    return len(expected.buckets) * ends


def threshold(expected: Expected, alarms_per_year: float) -> float:
    """The logarithm of the evidence that makes an alarm, for so many false ones a year over all streams."""
    return math.log(expected.yearly * count_ends(expected) / alarms_per_year)


def tested_confidence(expected: Expected, alarms_per_year: float) -> float:
    """The confidence of the ends that are tested: never less than that of the range shown."""
    return max(CONFIDENCE, 1 - alarms_per_year / count_ends(expected))


def settled_days(days: LiveDays, bucket: BucketRange, place: int, *, present: int) -> tuple[Flags, Flags]:
    """Which days have all the truth that can be expected, and which have a part of it, each of shape ``(t,)``.

    Args:
        days: the sums.
        bucket: the group of steps, whose backtest knows what share of the forecasts gets an outcome at all.
        place: its number.
        present: the observation that is going on; it and later ones are not over.
    """
    known, forecasts = days.column("known")[:, place], days.column("forecasts")[:, place]
    is_over = days.observations < present
    is_full = known >= _SETTLED * bucket.known * forecasts
    return is_over & is_full & (known > 0), is_over & ~is_full & (forecasts > 0)


def judge_streams(expected: Expected, days: LiveDays, *, present: int, alarms_per_year: float) -> list[Stream]:
    """Every stream of a release against its range, over all settled days.

    Args:
        expected: the ranges.
        days: the sums.
        present: the observation that is going on.
        alarms_per_year: how many false alarms a year all streams together may give.
    """
    limit = threshold(expected, alarms_per_year)
    confidence = tested_confidence(expected, alarms_per_year)
    found = []
    for place, bucket in enumerate(expected.buckets):
        settled = settled_days(days, bucket, place, present=present)[0]
        # a closed day, or one with hardly any trade, tells nothing of errors in proportion to sales
        settled &= days.column("actual")[:, place] >= _TRADE * bucket.actual
        for kind, (span, values) in _levels(expected, days, bucket, place).items():
            if span is None:
                continue
            part = expected.factor(kind, days.months)
            usable = settled & np.isfinite(values)
            sides = KINDS["coverage" if kind.startswith("coverage") else kind]
            tested = {side: span.end(side, confidence) for side in sides}
            found.append(
                _stream(
                    kind,
                    bucket.name,
                    span,
                    days.observations[usable],
                    (values - part)[usable],
                    part[usable],
                    limit,
                    tested,
                )
            )
    return found


def _levels(
    expected: Expected, days: LiveDays, bucket: BucketRange, place: int
) -> dict[str, tuple[LevelRange | None, Floats]]:
    """The range of each kind, and the level of each day, NaN where there is none."""
    absolute, actual, covered = (days.column(name)[:, place] for name in ("absolute", "actual", "covered"))
    found = {
        "error": (bucket.error, log_error(absolute, actual)),
        "bias": (bucket.bias, _ratio(days.column("signed")[:, place], actual)),
        "coverage": (bucket.coverage, _ratio(days.column("inside")[:, place], covered)),
    }
    for number, level in enumerate(expected.wider):
        inside, bounded = (each[:, place] for each in days.wider(number))
        found[coverage_kind(level)] = (bucket.wider.get(f"{level:g}"), _ratio(inside, bounded))
    if bucket.per_width is not None:
        foretold = log_error(absolute, bucket.per_width * days.column("width")[:, place])
        found["estimate"] = (bucket.estimate, foretold)
    return found


def _stream(
    kind: str,
    steps: str,
    span: LevelRange,
    when: NDArray[np.int64],
    values: Floats,
    season: Floats,
    limit: float,
    tested: dict[int, float | None],
) -> Stream:
    deviation = running_deviation(values, span.deviation)
    evidence, since = {}, {}
    for side, end in tested.items():
        evidence[side] = excess_path(values, end, deviation, side=side)
        is_out = end is not None and len(values) > 0 and evidence[side][-1] >= limit
        since[side] = int(when[onset(values, end, deviation, side=side)]) if is_out and end is not None else None
    return Stream(kind, steps, span, when, values, season, evidence, limit, since, tested)


def _ratio(over: Floats, under: Floats) -> Floats:
    share: Floats = np.divide(over, under, out=np.full(len(under), np.nan), where=under > 0)
    return share
