"""Pieces by processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from everloop.core.engine.pieces import Outcome, Piece, perform
from everloop.core.errors import UnavailableError

__all__ = ["ProcessWorkers", "cores"]

_MOST_DEATHS = 3


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ProcessWorkers:
    """Processes of this machine, each begun when there is a piece for it.

    Args:
        workers: how many; 0 means one for each core.
    """

    def __init__(self, workers: int) -> None:
        self.width = workers or cores()
        self._pool: ProcessPoolExecutor | None = None

    def perform(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, Outcome]]:
        """The place and the outcome of each piece, as they end.

        A worker that dies takes its pool along; the pieces that had not ended are begun again in a new one.

        Raises:
            UnavailableError: workers died three times, and no piece ended in between.
        """
        waiting = dict(enumerate(pieces))
        deaths = 0
        while waiting:
            before = len(waiting)
            for place, outcome in self._in_one_pool(waiting):
                del waiting[place]
                yield place, outcome
            deaths = deaths + 1 if len(waiting) == before else 1
            if waiting and deaths >= _MOST_DEATHS:
                raise UnavailableError(
                    "engine_worker_lost",
                    f"workers died {deaths} times while they computed the same piece",
                    hint="they may have run out of memory: lower engine.workers; what was finished is kept, and the "
                    "same command goes on from there",
                    path="engine.workers",
                )

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _in_one_pool(self, waiting: dict[int, Piece]) -> Iterator[tuple[int, Outcome]]:
        """The outcomes that one pool comes to: of all pieces, or of fewer where a worker dies."""
        threads = max(1, cores() // min(self.width, len(waiting)))
        if self._pool is None:
            # not forked: a copy of a process with threads may hang
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.width, context, initializer=_end_with_parent)
        pool, is_whole = self._pool, False
        try:
            futures = {
                pool.submit(perform, piece.function, piece.arguments, threads): place
                for place, piece in waiting.items()
            }
            for future in as_completed(list(futures)):
                place = futures.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    continue  # others may have ended before
                yield place, outcome
            is_whole = len(waiting) == 0
        except BrokenProcessPool:  # while pieces were handed over
            return
        finally:
            if not is_whole:
                self.close()


def _end_with_parent() -> None:
    """End this process with the one that started it: a killed parent tells its workers nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for_end, args=(parent,), daemon=True).start()


def _wait_for_end(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
