"""What was found out about drift: the columns, what was expected of them and what was seen."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from everloop.stats.evidence import Evidence
from everloop.store.deployments import ReleaseRow
from everloop.store.standing import ColumnStanding

__all__ = ["ColumnVerdict", "DriftReport", "Finding", "amount"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a column that changed, or is watched.

    Attributes:
        aspect: what of the column: ``"level"``, ``"spread"``, ``"missing"``, ``"mix"``, ``"unseen"``, ``"bias"``,
            ``"error"``.
        label: the category or group that it is about; empty for the column as a whole.
        is_alarm: whether it changed.
        since: the first day of the change as far as it can be told, ``None`` where there is none.
        day: the first day of the period that ``expected`` and ``seen`` are about: the newest.
        expected: what was expected for this date, in the column's own unit (or as a share); ``None`` if unknown.
        lower: the lower end of what would have been usual.
        upper: the upper end.
        seen: what was seen.
        usually: what was expected on average since the change began (over the newest four weeks where there is none).
        lately: what was seen on average since then.
        shift: how far what was seen since then lies from what was expected, in usual deviations.
        evidence: the natural logarithm of the evidence against "nothing changed".
    """

    aspect: str
    label: str
    is_alarm: bool
    since: date | None
    day: date
    expected: float | None
    lower: float | None
    upper: float | None
    seen: float | None
    usually: float | None
    lately: float | None
    shift: float
    evidence: float

    def sentence(self, column: str) -> str:
        """What was expected for this date and what was seen."""
        about = f"{column} of {self.label}" if self.label and self.aspect not in ("mix", "unseen") else column
        noun = _NOUNS[self.aspect].format(label=self.label)
        seen, expected, usually, lately = (
            amount(value, self.aspect) for value in (self.seen, self.expected, self.usually, self.lately)
        )
        usual = ""
        if self.lower is not None and self.upper is not None:
            usual = f" (usual: {amount(self.lower, self.aspect)} to {amount(self.upper, self.aspect)})"
        since = f"since {self.since:%Y-%m-%d} {lately} on average where {usually} was expected; " if self.since else ""
        return f"{about}, {noun}: {since}on {self.day:%Y-%m-%d} {seen} where {expected} was expected{usual}"


_NOUNS = {
    "level": "the typical value",
    "spread": "the deviation between rows (of arcsinh)",
    "missing": "the share of missing values",
    "mix": "the share of {label!r}",
    "unseen": "the share of values that were never seen before",
    "bias": "forecast over actual",
    "error": "the absolute error over the promised one",
    "silent": "the share of series that do not report",
}
_SHARES = frozenset({"missing", "mix", "unseen", "silent"})


def amount(value: float | None, aspect: str) -> str:
    """A value of an aspect as text: a share as percent, anything else as a number."""
    if value is None:
        return "nothing known"
    return f"{value:.1%}" if aspect in _SHARES else f"{value:.4g}"


@dataclass(frozen=True, slots=True)
class ColumnVerdict:
    """What is said of one column.

    Attributes:
        column: its name; ``"forecast"`` and ``"error"`` in parentheses are the release's own.
        kind: ``"target"``, ``"input"``, ``"prediction"`` or ``"residual"``.
        verdict: ``"drift"``, ``"no drift"`` or ``"cannot tell"``.
        reason: why it cannot be told, else empty.
        importance: the column's share of the model's importances, ``None`` where the release tells none.
        effect: what it is ranked by: the standardised shift, times the importance where the release tells one.
        findings: what was looked at, alarms and the largest shifts first.
        groups: the groups in which it changed.
    """

    column: str
    kind: str
    verdict: str
    reason: str
    importance: float | None
    effect: float
    findings: tuple[Finding, ...]
    groups: tuple[str, ...] = ()

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """What changed."""
        return tuple(each for each in self.findings if each.is_alarm)

    @property
    def since(self) -> date | None:
        """The first day of the change."""
        return min((each.since for each in self.alarms if each.since is not None), default=None)


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Whether the world is still the one that a release was trained on.

    Attributes:
        release: the release.
        reference_until: the last day of what it learnt to expect.
        watched_until: the day after the last one that was looked at, ``None`` where nothing could be.
        evidence: the verdict with its numbers.
        columns: what is said of each column, the greatest effect first.
        left_out: columns that are not watched, with the reason.
        season: what of the season could be learnt: ``"weekday and year"``, ``"weekday"``, ``"none"``.
        releases: the releases that were trained before the change and have a role now.
        threshold: the natural logarithm of the evidence that is an alarm; infinite where nothing was judged.
    """

    release: ReleaseRow
    reference_until: datetime
    watched_until: date | None
    evidence: Evidence
    columns: tuple[ColumnVerdict, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    season: str = "none"
    releases: tuple[str, ...] = ()
    threshold: float = math.inf

    @property
    def drifting(self) -> tuple[ColumnVerdict, ...]:
        """The columns that changed."""
        return tuple(each for each in self.columns if each.verdict == "drift")

    @property
    def since(self) -> date | None:
        """The first day of the earliest change."""
        return min((each.since for each in self.drifting if each.since is not None), default=None)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of series that the change touches; none where it touches all, or groups are not watched."""
        return tuple(sorted({name for each in self.drifting for name in each.groups}))

    @property
    def standing(self) -> tuple[ColumnStanding, ...]:
        """Every judged aspect of every column as numbers: of several groups or categories the strongest evidence."""
        found = []
        for column in self.columns:
            for aspect in dict.fromkeys(each.aspect for each in column.findings):
                own = [each for each in column.findings if each.aspect == aspect]
                ratio = max(each.evidence for each in own) / self.threshold
                since = min((each.since for each in own if each.is_alarm and each.since), default=None)
                text = None if since is None else since.isoformat()
                found.append(ColumnStanding(column.column, column.kind, aspect, max(ratio, 0.0), text))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "release": self.release.digest,
            "reference_until": self.reference_until,
            "watched_until": self.watched_until and self.watched_until.isoformat(),
            "verdict": self.evidence.verdict,
            "since": self.since and self.since.isoformat(),
            "season": self.season,
            "releases": list(self.releases),
            "groups": list(self.groups),
            "columns": [_column(each) for each in self.columns],
            "left_out": self.left_out,
            "evidence": self.evidence.to_dict(),
        }


def _column(verdict: ColumnVerdict) -> dict[str, Any]:
    findings = [
        {**asdict(each), "since": each.since and each.since.isoformat(), "day": each.day.isoformat()}
        for each in verdict.findings
    ]
    return {
        **asdict(verdict),
        "groups": list(verdict.groups),
        "since": verdict.since and verdict.since.isoformat(),
        "findings": findings,
    }
