"""What the ranges say of a release now: the verdict with its evidence, and the estimate of what has no truth yet."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.monitor.estimates import LiveEstimate, estimate_ahead
from everloop.monitor.expected import Stream, expected_of, judge_streams, settled_days
from everloop.monitor.joining import JoinedForecast
from everloop.monitor.live_days import LiveDays, live_days
from everloop.stats.evidence import Evidence
from everloop.store.alerts import open_alerts
from everloop.store.deployments import ReleaseRow, find_release
from everloop.store.engine import Store
from everloop.store.standing import LevelStanding
from everloop.validate.expected import Expected, observation_of

__all__ = ["LiveWatch", "RangeRow", "watch_live"]

_METHOD = (
    "e-detector (Shin, Ramdas, Rinaldo 2024) with Shiryaev-Roberts sums over the end of a prediction interval from the "
    "backtest's windows, tempered by the long-run deviation"
)


@dataclass(frozen=True, slots=True)
class RangeRow:
    """One line of the table: a kind of level, for one group of steps, over the last judged days.

    Attributes:
        kind: ``"error"``, ``"bias"``, ``"coverage"`` (of the narrowest level), ``"coverage 95"`` or the like for each
            wider one, or ``"estimate"``.
        steps: the steps ahead.
        days: the settled days that were judged since the release went live.
        live: the level of the last 28 of them: of the error the typical daily WAPE, of the estimate the true error
            over the estimated one; ``None`` where no day was judged.
        center: what the backtest makes one expect for them.
        lower: the lower end of the range in which 95 % of windows lie, ``None`` where it is open.
        upper: its upper end.
        alarm_below: an alarm needs a level that is surely below this; ``None`` where there is no such alarm.
        alarm_above: likewise above.
        verdict: ``"within"``, ``"above"``, ``"below"`` (beyond all doubt), or ``"cannot tell"``.
        since: the day since when it has been beyond, ``None`` where it is within.
    """

    kind: str
    steps: str
    days: int
    live: float | None
    center: float
    lower: float | None
    upper: float | None
    alarm_below: float | None
    alarm_above: float | None
    verdict: str
    since: str | None


@dataclass(frozen=True, slots=True)
class LiveWatch:
    """A release against the ranges that it carries.

    Attributes:
        release: the release.
        rows: the table.
        evidence: of error, bias and coverage: the verdict ``"left"``, ``"within"`` or ``"cannot tell"``.
        estimate: the estimated error of the days without truth, ``None`` where none can be made.
        calibration: whether such estimates came true: ``"off"``, ``"within"`` or ``"cannot tell"``.
        partial: the days that have only a part of their truth and are not judged.
        season: how the season was learnt.
        streams: what the rows were made from.
        days: the sums, ``None`` for a release without ranges.
    """

    release: ReleaseRow
    rows: tuple[RangeRow, ...]
    evidence: Evidence
    estimate: LiveEstimate | None
    calibration: Evidence | None
    partial: tuple[str, ...]
    season: str
    streams: tuple[Stream, ...]
    days: LiveDays | None

    @property
    def out(self) -> list[Stream]:
        """The streams of error, bias and coverage that have left their range, the surest first."""
        beyond = [each for each in self.streams if each.kind != "estimate" and each.out]
        return sorted(beyond, key=lambda each: -each.strength)

    @property
    def standing(self) -> list[LevelStanding]:
        """The table as numbers, to be kept."""
        return [
            LevelStanding(each.kind, each.steps, each.live, each.lower, each.upper, each.verdict) for each in self.rows
        ]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "release": self.release.digest,
            "ranges": [asdict(row) for row in self.rows],
            "evidence": self.evidence.to_dict(),
            "estimate": None if self.estimate is None else self.estimate.to_dict(),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "partial": list(self.partial),
            "season": self.season,
        }


def watch_live(
    project: Project,
    store: Store,
    *,
    release: str,
    now: datetime,
    joined: Iterable[JoinedForecast] | None = None,
) -> LiveWatch:
    """A release's live errors against the ranges that it carries. Reads only.

    Args:
        project: the project.
        store: its store.
        release: a digest, a beginning of one, or a role.
        now: the present.
        joined: the predictions of the monitor's window beside the truth, where they are at hand.

    Raises:
        NotFoundError: there is no such release.
        IntegrityError: the ranges cannot be read.
    """
    with store.read() as tx:
        row = find_release(tx, release)
        is_drifting = any(alert.code == "drift" for alert in open_alerts(tx))
    expected = expected_of(project.releases / row.digest)
    if expected is None or not expected.buckets:
        return _without(row)
    frequency = Frequency.parse(project.settings.data.frequency)
    present = int(observation_of(np.array([frequency.index_of(now)]), expected.steps)[0])
    days = live_days(project, store, row, expected, now=now, joined=joined)
    budget = project.settings.monitor.false_alarms_per_year
    streams = judge_streams(expected, days, present=present, alarms_per_year=budget)
    namer = _Namer(frequency, expected)
    return LiveWatch(
        release=row,
        rows=tuple(_row(each, namer) for each in streams),
        evidence=_range_evidence([each for each in streams if each.kind != "estimate"], namer, budget),
        estimate=estimate_ahead(expected, days, namer.day, is_drifting=is_drifting),
        calibration=_calibration([each for each in streams if each.kind == "estimate"], namer, budget),
        partial=_partial(expected, days, present, namer),
        season=expected.season,
        streams=tuple(streams),
        days=days,
    )


@dataclass(frozen=True, slots=True)
class _Namer:
    """Names days."""

    frequency: Frequency
    expected: Expected

    def day(self, observation: int) -> str:
        return str(self.frequency.times(np.array([observation * self.expected.steps]))[0].astype("M8[D]"))


def _row(stream: Stream, namer: _Namer) -> RangeRow:
    live = stream.level()
    verdict = "cannot tell" if live is None or stream.range.lower is None else "within"
    if stream.out:
        verdict = "above" if stream.out > 0 else "below"
    since = stream.since.get(stream.out) if stream.out else None
    return RangeRow(
        kind=stream.kind,
        steps=stream.steps,
        days=len(stream.values),
        live=_shown(stream, live),
        center=_shown(stream, stream.range.center) or 0.0,
        lower=_shown(stream, stream.range.lower),
        upper=_shown(stream, stream.range.upper),
        alarm_below=_shown(stream, stream.tested.get(-1)),
        alarm_above=_shown(stream, stream.tested.get(1)),
        verdict=verdict,
        since=None if since is None else namer.day(since),
    )


def _shown(stream: Stream, level: float | None) -> float | None:
    """A level as a person reads it: with its season, no logarithm, a share of coverage between 0 and 1."""
    if level is None:
        return None
    seasonal = level + stream.factor()
    if stream.kind in ("error", "estimate"):
        return math.exp(seasonal)
    return min(max(seasonal, 0.0), 1.0) if stream.kind.startswith("coverage") else seasonal


def _range_evidence(streams: list[Stream], namer: _Namer, budget: float) -> Evidence:
    judged = [each for each in streams if len(each.values)]
    bounded = [each for each in judged if each.range.lower is not None]
    if not bounded:
        reason = "no live day has met its truth yet" if not judged else "the backtest has too few windows for a range"
        return _evidence("cannot tell", reason, None, namer, budget)
    worst = max(bounded, key=lambda each: each.strength)
    if worst.out:
        row = _row(worst, namer)
        live, low, high = (_text(worst.kind, value) for value in (row.live, row.lower, row.upper))
        reason = (
            f"{_word(worst.kind)} {worst.steps} steps ahead has been {row.verdict} its expected range since "
            f"{row.since}: {live} over the last days, {low} to {high} expected"
        )
        return _evidence("left", reason, worst, namer, budget)
    count = max(len(each.values) for each in bounded)
    reason = f"over {count} settled days no level has surely left the range that the backtest gives it"
    return _evidence("within", reason, worst, namer, budget)


def _evidence(verdict: str, reason: str, stream: Stream | None, namer: _Namer, budget: float) -> Evidence:
    level = stream.level() if stream else None
    series: dict[str, list[Any]] = {}
    warnings: list[str] = []
    if stream is not None:
        side = stream.out or max(stream.evidence, key=lambda each: float(stream.evidence[each][-1]))
        shown = [_shown(stream, value) for value in stream.values.tolist()]
        series = {
            "day": [namer.day(each) for each in stream.observations.tolist()],
            "effect": shown,
            "lower": [_shown(stream, stream.range.lower)] * len(shown),
            "upper": [_shown(stream, stream.range.upper)] * len(shown),
            "evidence": stream.evidence[side].tolist(),
        }
        if stream.range.windows < 4:
            warnings.append(f"the range rests on {stream.range.windows} windows of the backtest, so it is wide")
    return Evidence(
        question="Do the live errors stay in the range that the release's backtest gives them?",
        verdict=verdict,
        reason=reason,
        effect=None if stream is None else _shown(stream, level),
        unit="" if stream is None else f"{_word(stream.kind)}, steps {stream.steps}",
        lower=None if stream is None else _shown(stream, stream.range.lower),
        upper=None if stream is None else _shown(stream, stream.range.upper),
        n=0 if stream is None else len(stream.values),
        observation="one settled day over all series",
        method=_METHOD,
        guarantee=f"at most about {budget:g} false alarms a year over all streams together, however often it is looked "
        "at, while levels move from month to month as they did in the backtest and the history",
        would_change="more settled days" if verdict != "left" else "levels that come back into their range",
        series=series,
        kind="live",
        alpha=budget,
        warnings=tuple(warnings),
    )


def _calibration(streams: list[Stream], namer: _Namer, budget: float) -> Evidence | None:
    judged = [each for each in streams if len(each.values)]
    if not judged:
        return None
    worst = max(judged, key=lambda each: each.strength)
    row = _row(worst, namer)
    if worst.out:
        verdict = "off"
        reason = (
            f"the errors {worst.steps} steps ahead have been {row.live:.2f} times what the intervals' widths foretold "
            f"since {row.since}: estimates of errors without truth cannot be relied on"
        )
    else:
        verdict = "within" if worst.range.lower is not None else "cannot tell"
        reason = f"errors were {row.live:.2f} times what the intervals' widths foretold, over {row.days} settled days"
    found = _evidence(verdict, reason, worst, namer, budget)
    question = "Do the errors that are estimated before the truth is known come true?"
    return replace(found, question=question, kind="calibration")


def _partial(expected: Expected, days: LiveDays, present: int, namer: _Namer) -> tuple[str, ...]:
    """The days of which some truth is still missing."""
    some = np.zeros(len(days.observations), dtype=np.bool_)
    for place, bucket in enumerate(expected.buckets):
        some |= settled_days(days, bucket, place, present=present)[1]
    return tuple(namer.day(each) for each in days.observations[some].tolist())


def _without(row: ReleaseRow) -> LiveWatch:
    reason = "the release was made without expected ranges; the next one that is trained carries them"
    evidence = Evidence(
        question="Do the live errors stay in the range that the release's backtest gives them?",
        verdict="cannot tell",
        reason=reason,
        effect=None,
        unit="",
        lower=None,
        upper=None,
        n=0,
        observation="one settled day over all series",
        method=_METHOD,
        guarantee="none without a range",
        would_change="a release that carries ranges",
        kind="live",
    )
    return LiveWatch(row, (), evidence, None, None, (), "", (), None)


_WORDS = {"error": "the daily WAPE", "bias": "the bias", "coverage": "the coverage", "estimate": "true over estimated"}


def _word(kind: str) -> str:
    return _WORDS.get(kind) or f"the coverage of the {kind.split()[1]} % interval"


def _text(kind: str, value: float | None) -> str:
    if value is None:
        return "unbounded"
    return f"{value:.2f}" if kind == "estimate" else f"{value:.1%}"
