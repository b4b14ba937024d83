"""SQLite's checkpoints, taken off the commits.

By default every commit that finds a thousand pages in the write-ahead log copies them into the database and waits for
the disk: measured, that made the mean commit of one prediction four times its median, and now and then an answer wait
for 17 ms. Here a thread does it, less often, so that a page that was written again and again is copied once.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

__all__ = ["Checkpointer"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_BYTES = 32_000_000
_PASSES = 3
"""Each leaves only what came while it copied, so that little is left for the step that holds the writers up."""


class Checkpointer:
    """A thread that keeps the write-ahead log of a database short.

    Args:
        path: the database file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._wal = Path(path + "-wal")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="everloop-checkpoint", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop; the last connection that closes copies what is left."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                if self._wal.stat().st_size < _BYTES:
                    continue
                if connection is None:
                    connection = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
                # first most of it without any lock, then the few pages that came meanwhile, and begin with an empty
                # file: its size says when it is time again
                for _ in range(_PASSES):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except FileNotFoundError:
                continue
            except (sqlite3.Error, OSError) as error:
                _log.warning("the write-ahead log of %s could not be shortened: %s", self._path, error)
        if connection is not None:
            connection.close()
