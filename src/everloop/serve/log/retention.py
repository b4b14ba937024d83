"""Retention: predictions that are old enough go, after they were exported where that is asked for.

They go in small batches with as much rest between them as each took, so that answers are stored meanwhile. With
``log.export`` each batch is looked up in the table before it is deleted: nothing goes that was not exported, however
late it came to the store.
"""

from __future__ import annotations

import time as clock_time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from everloop.core.project import Project
from everloop.serve.log.delta import PredictionTable
from everloop.serve.log.export import export_location, export_predictions, forget_days
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.store.history import count_due, day_of, delete_predictions, due_predictions
from everloop.store.marks import get_mark, set_mark
from everloop.store.splits import split_in_force
from everloop.store.trials import open_trial

__all__ = ["Bound", "Pruned", "prune_predictions", "retention_bound", "tend_log"]

_PER_BATCH = 500
_PER_STEP = 20_000
_TENDED = "log_tended"
_SPLIT_MARGIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Bound:
    """Which predictions may go.

    Attributes:
        made_before: they were answered before.
        over_before: the last instant that they speak of lies before.
        reasons: why these are not simply ``log.keep_days`` ago; empty where they are.
    """

    made_before: datetime
    over_before: datetime
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning did, or, on a dry run, would do.

    Attributes:
        bound: what may go; ``None`` where predictions are kept for ever.
        deleted: how many predictions were, or would be, deleted.
        exported: how many of them the table of ``log.export`` did not hold before.
        is_done: whether nothing that may go is left.
    """

    bound: Bound | None
    deleted: int
    exported: int
    is_done: bool


def retention_bound(project: Project, connection: Connection, *, now: datetime) -> Bound | None:
    """Which predictions may go now; ``None`` where all are kept.

    A prediction stays for ``log.keep_days`` after the last instant that it speaks of, as long as its outcomes are
    watched (``monitor.window_days``), as long as an open trial compares it, and as long as a split that it belongs to
    is checked.
    """
    keep_days = project.settings.log.keep_days
    if keep_days == 0:
        return None
    made = over = now - timedelta(days=keep_days)
    reasons: list[str] = []
    watched = now - timedelta(days=project.settings.monitor.window_days)
    if watched < over:
        over = watched
        reasons.append(f"outcomes of the last {project.settings.monitor.window_days} days are watched")
    trial = open_trial(connection)
    if trial is not None and trial.started_at < over:
        over = trial.started_at
        reasons.append(f"a trial is open since {trial.started_at:%Y-%m-%d}")
    split = split_in_force(connection)
    if split is not None and split.stages[0].at - _SPLIT_MARGIN < made:
        made = split.stages[0].at - _SPLIT_MARGIN
        reasons.append(f"traffic is split since {split.stages[0].at:%Y-%m-%d}")
    return Bound(made, over, tuple(reasons))


def prune_predictions(
    project: Project, store: Store, *, now: datetime, actor: str, most: int | None = None, is_dry: bool = False
) -> Pruned:
    """Delete the predictions that may go.

    Args:
        project: its settings ``log`` say which.
        store: where they are.
        now: the clock's time.
        actor: who acts, for the audit log.
        most: stop after so many.
        is_dry: count and change nothing.

    Raises:
        ConflictError: the place of ``log.export`` holds something else, or others kept appending to it.
        UnavailableError: the table or the store cannot be read or written; what was not exported was not deleted.
    """
    with store.read() as tx:
        bound = retention_bound(project, tx, now=now)
        due = 0
        if bound is not None and is_dry:
            due = count_due(tx, made_before=bound.made_before, over_before=bound.over_before)
    if bound is None or is_dry:
        return Pruned(bound, due, 0, is_done=bound is None)
    pruned = _delete(project, store, bound, now=now, most=most)
    if pruned.deleted:
        with store.write() as tx:
            place = project.settings.log.export
            message = (
                f"{pruned.deleted} predictions about times before {bound.over_before:%Y-%m-%d %H:%M}Z were deleted"
                + (f"; they are in {place}" if place else "")
            )
            evidence = {"deleted": pruned.deleted, "keep_days": project.settings.log.keep_days, "export": place}
            record_event(tx, now, "predictions_deleted", message, actor=actor, evidence=evidence)
    return pruned


def _delete(project: Project, store: Store, bound: Bound, *, now: datetime, most: int | None) -> Pruned:
    place = project.settings.log.export
    table = PredictionTable(export_location(project, place)) if place else None
    deleted = exported = 0
    while most is None or deleted < most:
        limit = _PER_BATCH if most is None else min(_PER_BATCH, most - deleted)
        with store.read() as tx:
            rows = due_predictions(tx, made_before=bound.made_before, over_before=bound.over_before, limit=limit)
        if rows and table is not None:
            exported += table.append(rows)
        started = clock_time.perf_counter()
        if rows:
            with store.write() as tx:
                deleted += delete_predictions(tx, [row.id for row in rows])
                forget_days(tx, {day_of(row) for row in rows}, at=now)
        if len(rows) < limit:
            return Pruned(bound, deleted, exported, is_done=True)
        clock_time.sleep(clock_time.perf_counter() - started)  # others want to write too
    return Pruned(bound, deleted, exported, is_done=False)


def tend_log(project: Project, store: Store, *, now: datetime, actor: str) -> Pruned | None:
    """Once a day: export the days that are over to ``log.export``, then delete what may go.

    A call does a bounded part and the next one goes on; ``None`` where nothing is due.

    Raises:
        ConflictError: the place of ``log.export`` holds something else, or others kept appending to it.
        UnavailableError: the table or the store cannot be read or written.
    """
    settings = project.settings.log
    if not settings.export and settings.keep_days == 0:
        return None
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with store.read() as tx:
        if get_mark(tx, _TENDED) == today.date().isoformat():
            return None
    exported = 0
    if settings.export:
        place = export_location(project, settings.export)
        done = export_predictions(store, place, now=now, before=today, most=_PER_STEP)
        exported = done.rows
        if not done.is_done:
            return Pruned(None, 0, exported, is_done=False)
    pruned = prune_predictions(project, store, now=now, actor=actor, most=_PER_STEP)
    if pruned.is_done:
        with store.write() as tx:
            set_mark(tx, _TENDED, today.date().isoformat(), at=now)
    return Pruned(pruned.bound, pruned.deleted, exported + pruned.exported, pruned.is_done)
