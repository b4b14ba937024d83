"""The prediction log: every answer is in the store before it is given.

One thread writes. It takes all that waits, commits it in one transaction, and only then lets the waiting requests
go on; while it commits, the next ones gather. So a commit is shared by as many answers as came during the last one,
and a single answer waits for no timer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from everloop.core.errors import EverloopError, UnavailableError
from everloop.store.engine import Store
from everloop.store.facts import Prediction, add_predictions

__all__ = ["LogWatcher", "PredictionLog"]

_log = logging.getLogger(__name__)

_MOST_PER_COMMIT = 500


class LogWatcher(Protocol):
    """Who is told of commits; metrics are one."""

    def committed(self, rows: int, seconds: float) -> None:
        """So many predictions were stored by one commit."""

    def commit_failed(self, rows: int) -> None:
        """So many predictions could not be stored."""


@dataclass(frozen=True, slots=True)
class _Entry:
    prediction: Prediction
    loop: asyncio.AbstractEventLoop | None
    waiter: asyncio.Future[None] | None


class PredictionLog:
    """Stores predictions from many requests with few commits.

    Args:
        store: where to.
        most: how many may wait; more are refused.
        watcher: told of commits.
    """

    def __init__(self, store: Store, *, most: int, watcher: LogWatcher) -> None:
        self._store = store
        self._most = most
        self._watcher = watcher
        self._waiting: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._write, name="everloop-log", daemon=True)

    def start(self) -> None:
        """Start the writing thread."""
        self._thread.start()

    def close(self) -> None:
        """Store what waits, and stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    async def store(self, prediction: Prediction) -> None:
        """Return when the prediction is stored.

        Raises:
            UnavailableError: the store does not answer, or too many wait.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._put(_Entry(prediction, loop, waiter))
        await waiter

    def put(self, prediction: Prediction) -> None:
        """Store a prediction that nobody waits for, soon.

        Raises:
            UnavailableError: too many wait.
        """
        self._put(_Entry(prediction, None, None))

    def _put(self, entry: _Entry) -> None:
        with self._changed:
            if self._is_closed or len(self._waiting) >= self._most:
                raise UnavailableError(
                    "overloaded",
                    f"{len(self._waiting)} predictions wait to be stored already",
                    hint="try again in a moment",
                )
            self._waiting.append(entry)
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._is_closed:
                        return
                    self._changed.wait()
                count = min(len(self._waiting), _MOST_PER_COMMIT)
                entries = [self._waiting.popleft() for _ in range(count)]
            self._release(entries, self._commit(entries))

    def _commit(self, entries: list[_Entry]) -> EverloopError | None:
        started = time.perf_counter()
        try:
            with self._store.write() as tx:
                add_predictions(tx, [entry.prediction for entry in entries])
        except Exception as error:
            # Whatever a database driver raises, the thread must go on: without it no request would be answered again.
            self._watcher.commit_failed(len(entries))
            is_expected = isinstance(error, EverloopError | SQLAlchemyError)
            _log.error("%d predictions could not be stored: %s", len(entries), error, exc_info=not is_expected)
            if isinstance(error, UnavailableError):
                return error
            return UnavailableError(
                "store_unavailable",
                "the prediction could not be stored, so it is not given",
                hint="see the server's log",
            )
        self._watcher.committed(len(entries), time.perf_counter() - started)
        return None

    @staticmethod
    def _release(entries: list[_Entry], error: EverloopError | None) -> None:
        """Wake the requests that wait, with one call for each event loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for entry in entries:
            if entry.loop is not None and entry.waiter is not None:
                by_loop.setdefault(entry.loop, []).append(entry.waiter)
        for loop, waiters in by_loop.items():
            try:
                loop.call_soon_threadsafe(_settle, waiters, error)
            except RuntimeError:  # the loop is closed: nobody waits any more
                _log.warning("%d stored answers have nobody to go to", len(waiters))


def _settle(waiters: list[asyncio.Future[None]], error: EverloopError | None) -> None:
    for waiter in waiters:
        if waiter.done():  # the request gave up meanwhile
            continue
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(error)
