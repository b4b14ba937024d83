"""From the judgement of streams to what a person reads: columns, dates, what was expected and what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from numpy.typing import NDArray

from everloop.core.settings.whole import Settings
from everloop.monitor.drift.expectation import Expectation
from everloop.monitor.drift.report import ColumnVerdict, DriftReport, Finding
from everloop.monitor.drift.streams import FORECAST_ERROR, ROWS, StreamKey, shown
from everloop.stats.drift.judging import Judgement
from everloop.stats.evidence import Evidence
from everloop.store.deployments import ReleaseRow

__all__ = ["Look", "nothing_to_tell", "tell"]

_EPOCH = date(1970, 1, 1)
_LATELY_DAYS = 28
_QUESTION = "Has the world changed since what the release was trained on?"
_METHOD = (
    "season, autoregression and out-of-fold surprises learnt from the release's own past; Shiryaev-Roberts mixture "
    "e-detectors (Shin, Ramdas, Rinaldo 2024), names by e-BH"
)


@dataclass(frozen=True, slots=True)
class Look:
    """What a judgement was made of.

    Attributes:
        release: the release.
        roles: the releases that have a role now.
        expectation: what the release expects.
        period_days: how many days a period has.
        importances: the share of each column in what the model gained, where it tells.
        settings: the project's settings.
        accepted: when a change was last accepted, where that concerns the release.
    """

    release: ReleaseRow
    roles: tuple[ReleaseRow, ...]
    expectation: Expectation
    period_days: int
    importances: Mapping[str, float] | None
    settings: Settings
    accepted: datetime | None = None

    @property
    def keys(self) -> tuple[StreamKey, ...]:
        """The streams that were judged, in the judgement's order."""
        return self.expectation.keys


def nothing_to_tell(release: ReleaseRow, reason: str) -> DriftReport:
    """The report where nothing can be looked at."""
    return DriftReport(release, release.cutoff, None, _cannot_tell(reason, n=0, period_days=1))


def tell(look: Look, found: Judgement) -> DriftReport:
    """The report of a judgement.

    Args:
        look: what was judged.
        found: the judgement, streams in the order of the look's keys.
    """
    columns = _columns(look, found)
    drifting = [each for each in columns if each.verdict == "drift"]
    watched_until = (
        _day(int(found.watched.days[-1])) + timedelta(days=look.period_days) if len(found.watched.days) else None
    )
    since = min((each.since for each in drifting if each.since), default=None)
    touched = tuple(each.digest for each in look.roles if since is not None and each.cutoff.date() < since)
    return DriftReport(
        release=look.release,
        reference_until=datetime.combine(_day(look.expectation.end - 1), time(0), tzinfo=UTC),
        watched_until=watched_until,
        evidence=_verdict(look, found, columns),
        columns=columns,
        left_out=dict(look.expectation.plan.left_out),
        season=look.expectation.streams.season,
        releases=touched,
        threshold=found.threshold,
    )


def _columns(look: Look, found: Judgement) -> tuple[ColumnVerdict, ...]:
    """The columns, those that changed first, and the greatest effect on the model before smaller ones."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(look.keys):
        places.setdefault(key.column, []).append(place)
    made = [_column(look, found, column, own) for column, own in places.items()]
    return tuple(sorted(made, key=lambda each: (each.verdict != "drift", -each.effect, each.column)))


def _column(look: Look, found: Judgement, column: str, places: Sequence[int]) -> ColumnVerdict:
    grouped = {key.label for key in (look.keys[place] for place in places) if key.label and key.aspect == "level"}
    findings = [_finding(look, found, place) for place in places if found.is_judged[place]]
    # a column as a whole before its groups
    findings.sort(
        key=lambda each: (not each.is_alarm, each.label in grouped, -abs(each.shift), each.aspect, each.label)
    )
    alarms = [each for each in findings if each.is_alarm]
    is_known = any(each.aspect != "unseen" for each in findings)
    importance = _importance(look, column)
    largest = max((abs(each.shift) for each in alarms or findings if np.isfinite(each.shift)), default=0.0)
    return ColumnVerdict(
        column=column,
        kind=_kind(look, column),
        verdict="drift" if alarms else "no drift" if is_known else "cannot tell",
        reason="" if alarms or is_known else "too little history",
        importance=importance,
        effect=largest * (1.0 if importance is None else importance),
        findings=tuple(findings),
        groups=tuple(sorted({each.label for each in alarms if each.aspect == "level" and each.label in grouped})),
    )


def _importance(look: Look, column: str) -> float | None:
    """The column's share; an error of the release counts in full, whatever the model makes of its inputs."""
    if look.importances is None or column in (FORECAST_ERROR, ROWS):
        return None
    return float(look.importances.get(column, 0.0))


def _kind(look: Look, column: str) -> str:
    if column == FORECAST_ERROR:
        return "residual"
    return "target" if column == look.settings.data.target else "rows" if column == ROWS else "input"


def _finding(look: Look, found: Judgement, place: int) -> Finding:
    key = look.keys[place]
    days, seen = found.watched.days, found.watched.seen[:, place]
    is_alarm = bool(found.is_alarm[place])
    since = int(found.since[place]) if is_alarm else -1
    expected = _expected(found, place, since)
    usual = 1.96 * float(look.expectation.streams.usual.spread[place])
    known = np.isfinite(seen)
    last = int(np.flatnonzero(known)[-1])
    lately = known & (days >= (since if since >= 0 else int(days[-1]) - _LATELY_DAYS))
    return Finding(
        aspect=key.aspect,
        label=key.label,
        is_alarm=is_alarm,
        since=_day(since) if since >= 0 else None,
        day=_day(int(days[last])),
        expected=shown(float(expected[last]), key.aspect),
        lower=shown(float(expected[last]) - usual, key.aspect),
        upper=shown(float(expected[last]) + usual, key.aspect),
        seen=shown(float(seen[last]), key.aspect),
        usually=shown(float(expected[lately].mean()), key.aspect) if lately.any() else None,
        lately=shown(float(seen[lately].mean()), key.aspect) if lately.any() else None,
        shift=float(np.nan_to_num(found.shift[place])),
        evidence=float(np.nan_to_num(found.log_evidence[place], neginf=0.0)),
    )


def _expected(found: Judgement, place: int, since: int) -> NDArray[np.float64]:
    """What was expected of a stream over the days, shape ``(q,)``.

    From a change on it is the season with the level as it was before; the level that is followed has part of the
    change in it.
    """
    watched = found.watched
    usual, level = watched.usual[:, place], watched.level[:, place]
    begin = int(np.searchsorted(watched.days, since)) if since >= 0 else len(watched.days)
    if begin >= len(watched.days):
        return usual
    return np.where(np.arange(len(usual)) < begin, usual, usual - level + level[begin])


def _verdict(look: Look, found: Judgement, columns: Sequence[ColumnVerdict]) -> Evidence:
    """The verdict over all columns, with the path of the first one that changed."""
    n = len(found.watched.days)
    warnings = _warnings(look, columns)
    drifting = [each for each in columns if each.verdict == "drift"]
    why = _unknown(look, found, is_drifting=bool(drifting))
    if why:
        return _cannot_tell(why, n=n, period_days=look.period_days, warnings=warnings)
    judged = int(np.count_nonzero(found.is_judged))
    budget = look.settings.monitor.false_alarms_per_year
    guarantee = (
        f"at most {budget:g} false alarms a year over all {judged} streams together, while the season and the "
        "dependence between periods stay as they were learnt; at most 10 % of the named are named wrongly"
    )
    reason = f"{judged} streams of {len(columns)} columns are as expected over {n} {_unit(look.period_days)}s"
    sure = replace(
        _cannot_tell(reason, n=n, period_days=look.period_days, warnings=warnings),
        verdict="no drift",
        guarantee=guarantee,
        would_change="more periods",
        alpha=budget,
    )
    if not drifting:
        return sure
    first = drifting[0].alarms[0]
    others = ", ".join(each.column for each in drifting[1:4]) + (" and others" if len(drifting) > 4 else "")
    return replace(
        sure,
        verdict="drift",
        reason=first.sentence(drifting[0].column) + (f"; changed as well: {others}" if others else ""),
        effect=first.shift,
        would_change="the columns coming back, a release trained after the change, or accepting it",
        series=_path(look, found, drifting[0].column, first),
    )


def _unknown(look: Look, found: Judgement, *, is_drifting: bool) -> str:
    """Why no verdict can be given; empty where one can."""
    if not len(found.watched.days):
        return "no whole period has passed since the release's last one"
    # a category that was never seen needs no history to be new, and says nothing about the rest
    usual = [place for place, key in enumerate(look.keys) if key.aspect != "unseen"]
    told = int(np.count_nonzero(found.is_judged[usual]))
    if told * 2 >= len(usual) or is_drifting:
        return ""
    if look.accepted is not None:
        return "the level is learnt anew for four weeks from the change that was accepted"
    return f"too little history to know what is usual for {len(usual) - told} of {len(usual)} streams"


def _path(look: Look, found: Judgement, column: str, finding: Finding) -> dict[str, list[object]]:
    """What was expected and seen of a stream, day by day."""
    wanted = (column, finding.aspect, finding.label)
    place = next(p for p, key in enumerate(look.keys) if (key.column, key.aspect, key.label) == wanted)
    key = look.keys[place]
    expected = _expected(found, place, int(found.since[place]))
    return {
        "day": [_day(day).isoformat() for day in found.watched.days.tolist()],
        "expected": [shown(value, key.aspect) for value in expected.tolist()],
        "seen": [shown(value, key.aspect) for value in found.watched.seen[:, place].tolist()],
    }


def _warnings(look: Look, columns: Sequence[ColumnVerdict]) -> tuple[str, ...]:
    """What weakens the verdict."""
    said = []
    unknown = [each.column for each in columns if each.verdict == "cannot tell"]
    if unknown:
        said.append(f"too little history for {', '.join(unknown[:8])}{' and others' if len(unknown) > 8 else ''}")
    if look.expectation.streams.season == "weekday":
        said.append("the history is too short for the season of the year: it cannot be told from drift")
    elif look.expectation.streams.season == "none":
        said.append("the history is too short for any season: it cannot be told from drift")
    if look.accepted is not None:
        said.append(f"a change was accepted on {look.accepted:%Y-%m-%d}: what came with it is what is expected now")
    return tuple(said)


def _cannot_tell(reason: str, *, n: int, period_days: int, warnings: tuple[str, ...] = ()) -> Evidence:
    """The record where nothing can be said; that of a verdict differs from it where it says more."""
    return Evidence(
        question=_QUESTION,
        verdict="cannot tell",
        reason=reason,
        effect=None,
        unit="usual deviations of the column that matters most",
        lower=None,
        upper=None,
        n=n,
        observation=f"the summary of one {_unit(period_days)}",
        method=_METHOD,
        guarantee="none is given without a reference",
        would_change="more history",
        kind="drift",
        warnings=warnings,
    )


def _unit(period_days: int) -> str:
    return "week" if period_days == 7 else "day"


def _day(number: int) -> date:
    return _EPOCH + timedelta(days=number)
