"""What the prediction log holds: in the store, in the buffer on disk, and in tables that it was exported to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from everloop.core.project import Project
from everloop.serve.log.export import last_exports
from everloop.serve.log.retention import retention_bound
from everloop.serve.log.spool import read_records
from everloop.store.engine import Store
from everloop.store.history import count_due, count_predictions, history_ends

__all__ = ["LogStats", "log_stats"]


@dataclass(frozen=True, slots=True)
class LogStats:
    """What the prediction log holds.

    Attributes:
        predictions: how many are in the store.
        first: when the first of them was made, ``None`` without any.
        last: when the last of them was made.
        spooled: how many wait in the buffer on disk, of which some may be in the store already.
        spool_bytes: how large that is.
        keep_days: how long predictions are kept; 0 means for ever.
        due: how many may be deleted now.
        exports: the tables exported to: location, last day, and when they were last looked at.
    """

    predictions: int
    first: datetime | None
    last: datetime | None
    spooled: int
    spool_bytes: int
    keep_days: int
    due: int
    exports: list[dict[str, Any]]


def log_stats(project: Project, store: Store, *, now: datetime) -> LogStats:
    """Look at the store and at the buffer of all workers on this machine.

    Raises:
        UnavailableError: the store does not answer.
    """
    spooled = spool_bytes = 0
    for path in sorted((project.home / "spool").glob("*.spool")):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # moved to the store since it was listed
        spool_bytes += len(content)
        spooled += sum(1 for _ in read_records(content))
    with store.read() as tx:
        ends = history_ends(tx)
        bound = retention_bound(project, tx, now=now)
        return LogStats(
            predictions=count_predictions(tx),
            first=ends.first,
            last=ends.last,
            spooled=spooled,
            spool_bytes=spool_bytes,
            keep_days=project.settings.log.keep_days,
            due=0 if bound is None else count_due(tx, made_before=bound.made_before, over_before=bound.over_before),
            exports=last_exports(tx),
        )
