"""What one step of the loop works with: the project, its store, and a clock."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from everloop.core.clock import Clock
from everloop.core.project import Project
from everloop.improve.refresh import LoadedReleases
from everloop.store.engine import Store

__all__ = ["LoopContext", "holder_name"]


def _no_limit(now: datetime) -> datetime | None:
    return None


def _silent(done: int, word: str = "") -> None:
    return None


@dataclass(slots=True)
class LoopContext:
    """What :func:`everloop.loop.tick.tick` needs.

    Attributes:
        project: the project; in a replay its home is the replay's own.
        store: its store.
        clock: the time: the system's, or a replay's.
        holder: who holds the lease.
        data_until: the last instant that the source may show at a given time; a replay hides what was not
            known yet, the running program sees all there is.
        loaded: releases opened so far.
        progress: told how far a training has come.
    """

    project: Project
    store: Store
    clock: Clock
    holder: str
    data_until: Callable[[datetime], datetime | None] = _no_limit
    loaded: LoadedReleases = field(init=False)
    progress: Callable[[int, str], None] = _silent

    def __post_init__(self) -> None:
        self.loaded = LoadedReleases(self.project)


def holder_name() -> str:
    """A name for this process as a holder of the lease."""
    return f"{socket.gethostname()}:{os.getpid()}"
