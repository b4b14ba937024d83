"""Threads for work that may hang: bounded in number, and abandoned when they overrun.

Python cannot end a thread from outside. Work that overruns its time is therefore left to itself: whoever waits for it
gets a ``TimeoutError``, another thread takes its place, and should it ever end, its thread ends with it. Threads that
are lost so hold memory and perhaps a core, so their number is bounded too. At the bound the pool is *exhausted*: it
takes no more work and says so once, upon which the process should answer what it can and end; its supervisor starts
another.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from everloop.core.errors import UnavailableError

__all__ = ["AbandoningPool"]

_log = logging.getLogger(__name__)

T = TypeVar("T")


class AbandoningPool:
    """Runs work in threads, for at most a given time each.

    Everything but the work itself happens on the event loop's thread.

    Args:
        threads: how many work at once.
        most_waiting: how much work may wait for a thread; more is refused.
        most_abandoned: how many threads may be lost before the pool is exhausted.
        on_exhausted: told once when it is.
    """

    def __init__(
        self,
        threads: int = 4,
        *,
        most_waiting: int = 1_000,
        most_abandoned: int = 8,
        on_exhausted: Callable[[], None] = lambda: None,
    ) -> None:
        self.abandoned = 0
        self.is_exhausted = False
        self._most_threads = threads
        self._most_waiting = most_waiting
        self._most_abandoned = most_abandoned
        self._on_exhausted = on_exhausted
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = 0
        self._unfinished = 0

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """What the work returns or raises.

        Args:
            work: called in a thread.
            seconds: how long it may run from the moment that it has a thread; waiting for one does not count.

        Raises:
            TimeoutError: it ran for longer, and was abandoned.
            UnavailableError: too much work waits, or too many threads are lost.
        """
        if self.is_exhausted or self._unfinished - self._threads >= self._most_waiting:
            problem = "too many of the model's calls hang" if self.is_exhausted else "too many calls of the model wait"
            raise UnavailableError("overloaded", problem, hint="try again in a moment; see the server's log")
        job = _Job(self, work, seconds)
        self._unfinished += 1
        self._staff()
        self._queue.put(job)
        result: T = await job.future
        return result

    def close(self) -> None:
        """Let the threads end when they have done what waits; those that hang end with the process."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _staff(self) -> None:
        """Start another thread where work would wait and there may be one more."""
        if self._threads < min(self._unfinished, self._most_threads):
            self._threads += 1
            threading.Thread(target=self._work, name="everloop-guarded", daemon=True).start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None and job.run():
            pass

    def _finished(self, *, is_abandoned: bool) -> None:
        """A call ended; one that was abandoned took its thread with it."""
        if is_abandoned:
            self.abandoned -= 1
        else:
            self._unfinished -= 1

    def _abandon(self, seconds: float) -> None:
        self.abandoned += 1
        self._threads -= 1
        self._unfinished -= 1
        _log.error("a call of a model overran its %.3g s and was abandoned; %d hang now", seconds, self.abandoned)
        if self.abandoned < self._most_abandoned:
            self._staff()
        elif not self.is_exhausted:
            self.is_exhausted = True
            _log.critical("%d calls of models hang: this worker takes no more and should be replaced", self.abandoned)
            self._on_exhausted()


class _Job:
    """One piece of work on its way through the pool."""

    __slots__ = ("_fate", "_loop", "_pool", "_started", "_timer", "_work", "future", "seconds")

    def __init__(self, pool: AbandoningPool, work: Callable[[], Any], seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()
        self.seconds = seconds
        self._pool = pool
        self._work = work
        self._started: float | None = None
        # taken once, by whoever comes first: the thread that has done the work, or the loop that abandons it
        self._fate = threading.Lock()
        self._timer = self._loop.call_later(seconds, self._check)

    def run(self) -> bool:
        """In a pool's thread: do the work; tells whether the thread is still wanted."""
        self._started = time.monotonic()
        outcome: Any = None
        error: BaseException | None = None
        if not self.future.done():  # else nobody waits any more
            try:
                outcome = self._work()
            except BaseException as raised:
                # handed to whoever waits; a model may even raise SystemExit, which must not end this thread unseen
                error = raised
        is_in_time = self._fate.acquire(blocking=False)
        try:
            self._loop.call_soon_threadsafe(self._finish, outcome, error, not is_in_time)
        except RuntimeError:  # the loop is closed: the process ends
            return False
        return is_in_time

    def _check(self) -> None:
        """On the loop, when the time may be up."""
        left = self.seconds if self._started is None else self._started + self.seconds - time.monotonic()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check)
        elif self._fate.acquire(blocking=False):
            self._pool._abandon(self.seconds)
            if not self.future.done():
                self.future.set_exception(TimeoutError(f"no answer within {self.seconds:g} seconds"))

    def _finish(self, outcome: Any, error: BaseException | None, is_abandoned: bool) -> None:
        """On the loop, when the work is done."""
        self._timer.cancel()
        self._pool._finished(is_abandoned=is_abandoned)
        if self.future.done():
            return
        if error is None:
            self.future.set_result(outcome)
        else:
            self.future.set_exception(_raisable(error))


def _raisable(error: BaseException) -> Exception:
    """An error that a future may carry and that ends no event loop."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"the model raised {type(error).__name__}: {error}")
