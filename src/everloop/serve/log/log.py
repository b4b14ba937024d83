"""The prediction log: every answer is stored before it is given.

Answers that come in one turn of the event loop share a commit; nobody waits for a timer. SQLite without fsync commits
in less time than a thread takes to wake up, so the event loop does it; where another worker is just committing, it
tries again a turn later, with what has come meanwhile. Everything else is committed by a thread: it takes all that
waits, and while it commits, the next ones gather.

When the store does not take a group in ``log.patience_seconds``, what waits goes to the buffer on disk, which counts
as stored: it is moved to the store in order, each prediction exactly once, as soon as that answers again, also after
a restart. When the buffer is full too, answers are refused, or given without being stored, as ``log.when_full`` says.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, UnavailableError
from everloop.core.project import Project
from everloop.serve.log.checkpoint import Checkpointer
from everloop.serve.log.mover import Mover
from everloop.serve.log.records import Record, record_of
from everloop.serve.log.sinks import SinkBusyError, open_sink
from everloop.serve.log.spool import Spool, spool_folder
from everloop.store.engine import Store
from everloop.store.records import Prediction

__all__ = ["LogWatcher", "PredictionLog"]

_log = logging.getLogger(__name__)

_MOST_PER_COMMIT = 500
_CLOSE_SECONDS = 10.0
_BUSY_SECONDS = 0.0005
"""For how long the event loop tries again itself: about what another worker's largest commits take.

Who holds the database for longer is making a checkpoint, or waits for a core that these tries would take from it.
"""

Done = Callable[[EverloopError | None], None]


class LogWatcher(Protocol):
    """Who is told what becomes of predictions; metrics are one. All calls come from the event loop's thread."""

    def committed(self, rows: int, seconds: float) -> None:
        """So many predictions were stored by one commit."""

    def commit_failed(self, rows: int) -> None:
        """So many predictions could not be stored, and were not given."""

    def spooled(self, rows: int) -> None:
        """So many predictions went to the buffer on disk."""

    def unlogged(self, rows: int) -> None:
        """So many predictions were given without being stored."""

    def lagging(self, seconds: float, spool_bytes: int) -> None:
        """For how long the store has taken nothing, and how large the buffer on disk is."""


class _Entry:
    """One prediction on its way."""

    __slots__ = ("done", "is_settled", "record")

    def __init__(self, record: Record, done: Done | None) -> None:
        self.record = record
        self.done = done
        self.is_settled = False


class PredictionLog:
    """Stores predictions from many requests with few commits.

    All methods but :meth:`put_soon` are for the event loop's thread.

    Args:
        project: its settings ``log`` and ``serve.max_waiting`` say how.
        store: where to.
        clock: names the files of the buffer.
        watcher: told what becomes of predictions.
    """

    def __init__(self, project: Project, store: Store, clock: Clock, *, watcher: LogWatcher) -> None:
        settings = project.settings.log
        self._inputs = settings.inputs
        self._fsync = settings.fsync
        self._patience = settings.patience_seconds
        self._when_full = settings.when_full
        self._most = project.settings.serve.max_waiting
        self._watcher = watcher
        self._sink = open_sink(store, fsync=settings.fsync)
        self._is_instant = self._sink.is_instant
        self._spool = Spool(spool_folder(project), clock, most=settings.spool_bytes)
        self._mover = Mover(project, store, clock, self._spool, on_back=self._back_soon)
        self._checkpointer = Checkpointer(store.place.database) if store.place.is_sqlite else None
        self._gathered: list[_Entry] = []
        self._handed: SimpleQueue[list[_Entry] | None] = SimpleQueue()
        self._outstanding: list[tuple[float, list[_Entry]]] = []
        self._waiting = 0
        self._is_looking = False
        self._spooling_since: float | None = None
        self._busy_until: float | None = None
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._write, name="everloop-log", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads; ``done`` is called on ``loop``."""
        self._loop = loop
        self._thread.start()
        self._mover.start()
        if self._checkpointer is not None:
            self._checkpointer.start()

    def close(self) -> None:
        """Store what waits, and stop; what the store does not take in time stays in the buffer on disk."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._gathered:
            self._hand(self._gathered)
            self._gathered = []
        self._handed.put(None)
        if self._thread.is_alive():
            self._thread.join(max(_CLOSE_SECONDS, 2 * self._patience))
        left = [entry for _, entries in self._outstanding for entry in entries if not entry.is_settled]
        if self._thread.is_alive() and left:
            self._keep_on_disk(left)
        self._mover.close()
        if self._checkpointer is not None:
            self._checkpointer.close()
        if not self._thread.is_alive():
            self._sink.close()
        self._spool.turn()

    def put(self, prediction: Prediction, done: Done | None = None) -> None:
        """Have a prediction stored.

        Args:
            prediction: the prediction.
            done: called once, when it is stored, or with the error for which it is not.

        Raises:
            UnavailableError: too many wait.
        """
        if self._waiting >= self._most or self._is_closed:
            raise UnavailableError(
                "overloaded",
                f"{self._waiting} predictions wait to be stored already",
                hint="try again in a moment",
            )
        self._waiting += 1
        gathered = self._gathered
        gathered.append(_Entry(record_of(prediction, self._inputs), done))
        if len(gathered) == 1 and self._loop is not None:
            self._loop.call_soon(self._flush)

    async def store(self, prediction: Prediction) -> None:
        """Return when a prediction is stored.

        Raises:
            UnavailableError: the store and the buffer do not take it, or too many wait.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: EverloopError | None) -> None:
            if waiter.done():  # the request gave up meanwhile
                return
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

        self.put(prediction, done)
        await waiter

    def put_soon(self, prediction: Prediction) -> None:
        """Have a prediction stored that nobody waits for; from any thread. It is dropped when too many wait."""

        def put() -> None:
            if self._is_closed:
                return
            try:
                self.put(prediction)
            except UnavailableError as error:
                _log.warning("a prediction for the record was dropped: %s", error)

        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(put)

    def _flush(self) -> None:
        """Store what one turn of the event loop gathered."""
        entries, self._gathered = self._gathered, []
        if not entries:
            return
        if self._spooling_since is not None:
            self._keep_on_disk(entries)
            return
        if not self._is_instant or self._outstanding:  # the thread has the connection
            self._hand(entries)
            return
        started = time.perf_counter()
        try:
            self._sink.write([entry.record for entry in entries], patience=0.0)
        except SinkBusyError:
            self._try_again(entries, started)
            return
        except UnavailableError:
            self._hand(entries)  # the thread can wait for it
            return
        self._busy_until = None
        self._stored(entries, time.perf_counter() - started)

    def _try_again(self, entries: list[_Entry], now: float) -> None:
        """Another writer is at it: try in the next turn, and after some of them leave the waiting to the thread."""
        assert self._loop is not None
        if self._busy_until is None:
            self._busy_until = now + _BUSY_SECONDS
        if now < self._busy_until and not self._is_closed:
            self._gathered = entries
            self._loop.call_soon(self._flush)
            return
        self._busy_until = None
        self._hand(entries)

    def _hand(self, entries: list[_Entry]) -> None:
        """Leave a group to the thread, and look after a while whether it came through."""
        assert self._loop is not None
        if not self._is_looking:
            self._is_looking = True
            self._loop.call_later(self._patience, self._look)
        self._outstanding.append((time.monotonic(), entries))
        self._handed.put(entries)

    def _look(self) -> None:
        """Take what the store has not taken in time to the buffer on disk."""
        self._is_looking = False
        if not self._outstanding or self._loop is None or self._loop.is_closed():
            return
        waited = time.monotonic() - self._outstanding[0][0]
        if waited >= self._patience:
            late = [entry for _, entries in self._outstanding for entry in entries if not entry.is_settled]
            self._begin_spooling(f"it took no prediction for {waited:.2g} seconds")
            self._keep_on_disk(late)
        self._is_looking = True
        self._loop.call_later(max(0.05, self._patience - waited), self._look)

    def _write(self) -> None:
        """The thread: commit all that waits, tell, and again."""
        while True:
            groups = [self._handed.get()]
            while len(groups) < _MOST_PER_COMMIT and groups[-1] is not None:
                try:
                    groups.append(self._handed.get_nowait())
                except Empty:
                    break
            entries = [entry for group in groups if group is not None for entry in group]
            for start in range(0, len(entries), _MOST_PER_COMMIT):
                self._commit(entries[start : start + _MOST_PER_COMMIT])
            if groups[-1] is None:
                return

    def _commit(self, entries: list[_Entry]) -> None:
        started = time.perf_counter()
        error: Exception | None = None
        # what was late is in the buffer already, and comes to the store from there
        records = [entry.record for entry in entries if not entry.is_settled]
        try:
            if records:
                self._sink.write(records, patience=self._patience)
        except Exception as raised:
            # Whatever a database driver raises, the thread must go on: without it no request would be answered again.
            error = raised
            if not isinstance(raised, SinkBusyError | UnavailableError):
                _log.exception("%d predictions could not be stored", len(records))
        seconds = time.perf_counter() - started
        self._on_loop(lambda: self._came_back(entries, error, seconds))

    def _on_loop(self, work: Callable[[], None]) -> None:
        try:
            if self._loop is not None and not (self._is_closed and not self._loop.is_running()):
                self._loop.call_soon_threadsafe(work)
                return
        except RuntimeError:  # the loop is closed: nobody waits any more
            _log.debug("stored answers have nobody to go to")
        work()

    def _came_back(self, entries: list[_Entry], error: Exception | None, seconds: float) -> None:
        """The thread is done with a group."""
        if error is None:
            self._stored(entries, seconds)
        else:
            self._begin_spooling(str(error) or "another writer holds it")
            self._keep_on_disk([entry for entry in entries if not entry.is_settled])
        self._outstanding = [
            (since, group) for since, group in self._outstanding if not all(entry.is_settled for entry in group)
        ]

    def _stored(self, entries: list[_Entry], seconds: float) -> None:
        self._watcher.committed(len(entries), seconds)
        self._settle(entries, None)

    def _begin_spooling(self, reason: str) -> None:
        if self._spooling_since is None:
            self._spooling_since = time.monotonic()
            _log.error("the store takes no predictions (%s): they are kept in the buffer on disk", reason)
            self._mover.follow(reason)

    def _keep_on_disk(self, entries: list[_Entry]) -> None:
        """Append to the buffer, or, where that is full, do as the settings say."""
        if not entries:
            return
        try:
            is_kept = self._spool.append([entry.record for entry in entries], fsync=self._fsync)
            reason = "the buffer on disk is full"
        except OSError as error:
            is_kept, reason = False, f"the disk does not take the buffer: {error.strerror}"
        since = self._spooling_since
        self._watcher.lagging(0.0 if since is None else time.monotonic() - since, self._spool.size)
        if is_kept:
            self._watcher.spooled(len(entries))
            self._settle(entries, None)
            return
        self._mover.note_full(reason)
        if self._when_full == "unlogged":
            self._watcher.unlogged(len(entries))
            self._settle(entries, None)
            return
        self._watcher.commit_failed(len(entries))
        error_ = UnavailableError(
            "log_full",
            f"the prediction cannot be stored, so it is not given: the store is away and {reason}",
            hint="bring the store back; log.spool_bytes and log.when_full say what happens meanwhile",
        )
        self._settle(entries, error_)

    def _back_soon(self) -> bool:
        """The mover found the store answering; called by its thread."""
        done = threading.Event()

        def back() -> None:
            self._back()
            done.set()

        self._on_loop(back)
        return done.wait(_CLOSE_SECONDS)

    def _back(self) -> None:
        self._spooling_since = None
        self._spool.turn()
        self._watcher.lagging(0.0, self._spool.size)
        _log.warning("the store takes predictions again")

    def _settle(self, entries: list[_Entry], error: EverloopError | None) -> None:
        for entry in entries:
            if entry.is_settled:
                continue
            entry.is_settled = True
            self._waiting -= 1
            if entry.done is not None:
                try:
                    entry.done(error)
                except Exception:
                    # one request's defect must not keep the answers of the others back
                    _log.exception("an answer that is stored could not be given")
