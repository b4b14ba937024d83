"""What live accuracy says of a model of rows now; the levels of its days are kept, so its range stays what it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec

from everloop.core.digest import digest_bytes
from everloop.core.errors import IntegrityError
from everloop.core.project import Project
from everloop.monitor.row_accuracy import OutputAccuracy, RowWatch, daily_levels, measure_rows, watch_rows
from everloop.monitor.row_joining import join_rows
from everloop.release.bundle import open_release
from everloop.store.deployments import ReleaseRow, find_release
from everloop.store.drift import SummaryRow, keep_summaries, summaries_of
from everloop.store.engine import Store
from everloop.store.standing import LevelStanding

__all__ = ["RowReport", "look_at_rows"]

Levels = dict[date, dict[str, float]]


@dataclass(frozen=True, slots=True)
class RowReport:
    """The live accuracy of a release for rows.

    Attributes:
        release: the release.
        since: the scores are of answers since then.
        outputs: the scores by output.
        waiting: rows of the window without truth so far.
        watches: its levels by day against the range of its first four weeks.
    """

    release: ReleaseRow
    since: datetime
    outputs: list[OutputAccuracy]
    waiting: int
    watches: list[RowWatch]

    @property
    def standing(self) -> list[LevelStanding]:
        """The levels against their ranges as numbers, to be kept."""
        return [LevelStanding(each.kind, "", each.live, *each.bounds, each.verdict) for each in self.watches]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "release": self.release.digest,
            "since": self.since,
            "outputs": [{"output": each.output, **asdict(each.scores)} for each in self.outputs],
            "waiting": self.waiting,
            "ranges": [each.to_dict() for each in self.watches],
        }


def look_at_rows(project: Project, store: Store, *, release: str, now: datetime) -> RowReport:
    """The scores of a release over the monitor's window, and its levels since it went live.

    Args:
        project: the project, of a task with rows.
        store: its store; the levels of days that changed are kept there.
        release: a digest, a beginning of one, or a role.
        now: the present.

    Raises:
        NotFoundError: there is no such release, or its bundle is gone.
        IntegrityError: the bundle was changed, or what was kept cannot be read.
    """
    settings = project.settings.monitor
    window = now.astimezone(UTC) - timedelta(days=settings.window_days)
    with store.read() as tx:
        row = find_release(tx, release)
        kept = {part: each for part, each in summaries_of(tx, _source(row)).items() if part < f"{now:%Y-%m-%d}"}
        since = _since(kept, window, row)
        joined = join_rows(tx, since=since, releases=(row.digest,))
    signature = open_release(project.releases / row.digest, digest=row.digest).manifest.signature
    classes = _classes(signature.outputs if signature is not None else ())
    # a day that began before the window is not all there
    first = since.date() if since.time() == time(0) else since.date() + timedelta(days=1)
    found = daily_levels(joined.frame, until=now.astimezone(UTC).date(), classes=classes)
    fresh = {day: levels for day, levels in found.items() if day >= first}
    levels = {date.fromisoformat(part): _unpack(each) for part, each in kept.items()} | fresh
    _keep(store, row, kept, fresh)
    recent = joined.frame.filter(joined.frame["at"] >= window)
    return RowReport(
        release=row,
        since=window,
        outputs=measure_rows(recent, classes),
        waiting=int((recent["told"] == 0).sum()),
        watches=watch_rows(levels, alarms_per_year=settings.false_alarms_per_year),
    )


def _classes(outputs: Sequence[Any]) -> tuple[Any, ...]:
    """What the main output's labels, or the probabilities, stand for; empty for a regression."""
    return next((tuple(each.classes) for each in outputs if each.classes), ())


def _since(kept: dict[str, SummaryRow], window: datetime, release: ReleaseRow) -> datetime:
    if not kept:
        return min(window, release.created_at.astimezone(UTC))
    last = datetime.combine(date.fromisoformat(max(kept)), time(0), tzinfo=UTC)
    return min(window, last)


def _source(release: ReleaseRow) -> str:
    return f"rows:{release.digest[:48]}"


def _keep(store: Store, release: ReleaseRow, kept: dict[str, SummaryRow], fresh: Levels) -> None:
    changed = {}
    for day, levels in fresh.items():
        content = msgspec.msgpack.encode(dict(sorted(levels.items())))
        made = SummaryRow(day.isoformat(), digest_bytes(content), content)
        if kept.get(made.part) != made:
            changed[made.part] = made
    if changed:
        with store.write() as tx:
            keep_summaries(tx, _source(release), changed)


def _unpack(row: SummaryRow) -> dict[str, float]:
    try:
        return msgspec.msgpack.decode(row.content, type=dict[str, float])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise IntegrityError("live_days", f"the kept levels of a day cannot be read: {error}") from error
