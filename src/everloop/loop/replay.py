"""Replay: the loop walks through past data day by day, by the same code, without sleeping.

A replay has a world of its own below ``.everloop/replays``: its own table, store, releases and MLflow. Its clock
stands at a given hour of each day; the source shows what was dated before that day. So it answers: what would
these settings, these gates, this schedule have done?
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import time_ns

from everloop.core.clock import ManualClock
from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.loop.context import LoopContext
from everloop.loop.tick import TickReport, tick
from everloop.store.engine import Store, open_store
from everloop.store.events import Event

__all__ = ["DECISIONS", "Replay", "ReplayPlan", "known_at", "open_replay", "replay"]

DECISIONS = ("released", "promoted", "kept", "rejected", "challenged", "superseded", "alert", "cleared", "rolled_back")
"""The kinds of event that tell of a decision."""

_HOUR = 3


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """The days to walk through: the loop acts at ``hour`` UTC of each day from ``first`` to ``last``.

    Raises:
        UsageError: the last day is before the first.
    """

    first: date
    last: date
    hour: int = _HOUR

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise UsageError(
                "replay_days",
                f"a replay cannot end on {self.last}, before it begins on {self.first}",
                hint="--from comes before --to",
            )

    @property
    def days(self) -> list[date]:
        """Every day of the replay."""
        return [self.first + timedelta(days=offset) for offset in range((self.last - self.first).days + 1)]


@dataclass(slots=True)
class Replay:
    """A replay that is under way or done.

    Attributes:
        project: the project, at home in the replay's own world.
        store: the replay's store.
        clock: the replay's clock.
        reports: what each step did.
    """

    project: Project
    store: Store
    clock: ManualClock
    reports: list[TickReport] = field(default_factory=list)

    @property
    def decisions(self) -> list[Event]:
        """What was decided, in order."""
        return [event for report in self.reports for event in report.events if event.kind in DECISIONS]


def open_replay(project: Project, plan: ReplayPlan, *, home: Path | None = None, fresh: bool = True) -> Replay:
    """Prepare a replay's world.

    Args:
        project: the project as it is; nothing of it is changed.
        plan: the days.
        home: the world's folder, by default named by the days.
        fresh: throw away what an earlier replay left there; otherwise it goes on from there.
    """
    folder = home or _world(project.home / "replays", plan, fresh=fresh)
    if home is not None and fresh and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = project.settings.model_copy(
        update={
            "store": type(project.settings.store)(),
            "tracking": project.settings.tracking.model_copy(update={"uri": ""}),
            # a replay can be made again, so it need not wait for the disk; its answers are nobody else's
            "log": project.settings.log.model_copy(update={"fsync": False, "keep_days": 0, "export": ""}),
        }
    )
    world = replace(project, settings=settings, home=folder)
    start = datetime.combine(plan.first, time(plan.hour), tzinfo=UTC)
    return Replay(world, open_store(world.store_url, fsync=False), ManualClock(start))


def _world(parent: Path, plan: ReplayPlan, *, fresh: bool) -> Path:
    """The folder of a replay's world: a new name each time, since libraries remember databases by their path."""
    name = f"{plan.first}_{plan.last}"
    earlier = sorted(parent.glob(f"{name}-*"))
    if not fresh and earlier:
        return earlier[-1]
    for each in earlier:
        shutil.rmtree(each)
    return parent / f"{name}-{time_ns():x}"


def replay(
    run: Replay, plan: ReplayPlan, *, training: Callable[[int, str], None] | None = None
) -> Iterator[TickReport]:
    """Walk through the days; yields each day's report as it is done."""
    context = LoopContext(run.project, run.store, run.clock, holder="replay", data_until=known_at)
    if training is not None:
        context.progress = training
    for day in plan.days:
        run.clock.set(datetime.combine(day, time(plan.hour), tzinfo=UTC))
        report = tick(context)
        run.reports.append(report)
        yield report


def known_at(now: datetime) -> datetime:
    """The last instant whose rows a source shows at ``now``: the end of the day before."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(microseconds=1)
