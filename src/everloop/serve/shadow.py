"""The shadow: a challenger answers what the champion was asked, after the champion's answer, for the record alone.

Shadows wait in a bounded queue for one thread. When it is full they are dropped and counted: a trial loses a
comparison, no caller ever loses an answer or waits.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from everloop.core.errors import EverloopError, ModelError
from everloop.serve.answers import About, Answerer
from everloop.serve.host import Host
from everloop.serve.log.log import PredictionLog
from everloop.serve.query import ForecastQuery
from everloop.serve.rows import RowQuery
from everloop.serve.served import Served
from everloop.serve.snapshot import SnapshotMaker
from everloop.serve.tabular.desk import Job, shadow_of

__all__ = ["Shadow", "ShadowWatcher"]

_log = logging.getLogger(__name__)


class ShadowWatcher(Protocol):
    """Who is told what became of shadows; metrics are one."""

    def shadowed(self, outcome: str) -> None:
        """A shadow was ``"computed"``, ``"dropped"`` or ``"failed"``."""


@dataclass(frozen=True, slots=True)
class _Job:
    query: ForecastQuery | RowQuery | Job
    kind: str
    twin: str


class Shadow:
    """Answers by the challenger in the background.

    Args:
        host: knows the challenger.
        answerer: computes.
        log: stores.
        watcher: told what became of each.
        most: how many may wait.
        snapshots: where the challenger's base forecasts are, for those who have them.
    """

    def __init__(
        self,
        host: Host,
        answerer: Answerer,
        log: PredictionLog,
        watcher: ShadowWatcher,
        *,
        most: int = 256,
        snapshots: SnapshotMaker | None = None,
    ) -> None:
        self._host = host
        self._answerer = answerer
        self._prediction_log = log
        self._watcher = watcher
        self._most = most
        self._snapshots = snapshots
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="everloop-shadow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what waits is dropped."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def cast(self, query: ForecastQuery | RowQuery | Job, *, kind: str, twin: str) -> None:
        """Have the challenger answer a query too, if there is one; never waits, never raises."""
        if self._host.serving.challenger is None:
            return
        with self._changed:
            if len(self._jobs) >= self._most or self._is_closed:
                is_dropped = True
            else:
                is_dropped = False
                self._jobs.append(_Job(query, kind, twin))
                self._changed.notify()
        if is_dropped:
            self._watcher.shadowed("dropped")

    def _work(self) -> None:
        while (job := self._next()) is not None:
            self._watcher.shadowed(self._try(lambda job=job: self._answer(job)))  # type: ignore[misc]

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._jobs and not self._is_closed:
                self._changed.wait()
            return None if self._is_closed else self._jobs.popleft()

    def _answer(self, job: _Job) -> None:
        challenger = self._host.serving.challenger
        if challenger is None:
            return
        about = About(job.kind, "shadow", twin=job.twin)
        if isinstance(job.query, Job):
            prediction = shadow_of(job.query, challenger, twin=job.twin)
        elif not isinstance(challenger, Served):
            raise ModelError("shadow_kind", "the challenger takes rows, it gives no forecasts")
        elif isinstance(job.query, RowQuery):
            _, prediction = self._answerer.score(job.query, challenger, about)
        else:
            snapshot = self._snapshots.of(challenger) if self._snapshots is not None else None
            _, prediction = self._answerer.compute(job.query, challenger, about, snapshot=snapshot)
        self._prediction_log.put_soon(prediction)

    @staticmethod
    def _try(work: Callable[[], None]) -> str:
        try:
            work()
        except EverloopError as error:
            _log.warning("the challenger gave no answer: %s", error)
            return "failed"
        except Exception:
            # A challenger of a user's own may fail in any way; it must not end the shadow, let alone the server.
            _log.exception("the challenger failed")
            return "failed"
        return "computed"
