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
_FRAMES = 8_000
"""About 32 MB of pages."""
_HEADER, _FRAME_HEADER = 32, 24
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
        copied: tuple[bytes, int] | None = None  # the log stays as it is until the next commit
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                length = _length(self._wal)
                if length[1] < _FRAMES or length == copied:
                    continue
                if connection is None:
                    connection = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
                # first most of it without any lock, then the few pages that came meanwhile; the next commit then begins
                # anew in the same file, whose pages need not be found and cleared again as after a truncation
                for _ in range(_PASSES):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                is_busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                copied = None if is_busy else _length(self._wal)
            except FileNotFoundError:
                continue
            except (sqlite3.Error, OSError) as error:
                _log.warning("the write-ahead log of %s could not be shortened: %s", self._path, error)
        if connection is not None:
            connection.close()


def _length(wal: Path) -> tuple[bytes, int]:
    """The salt of a write-ahead log and its number of frames (SQLite's WAL-mode file format).

    A log that begins anew gets a new salt and is written over the old one: only the frames at its front bear the salt
    of its header, so their number is found by halving. The wal-index says it too, but must not be opened here: to close
    a file takes all locks off it that this process holds, and SQLite's locks are on that one.
    """
    with wal.open("rb", buffering=0) as file:
        header = file.read(_HEADER)
        if len(header) < _HEADER:
            return b"", 0
        salt = header[16:24]
        frame = _FRAME_HEADER + int.from_bytes(header[8:12], "big")
        first, end = 0, (file.seek(0, 2) - _HEADER) // frame
        while first < end:
            middle = (first + end) // 2
            file.seek(_HEADER + middle * frame + 8)
            if file.read(8) == salt:
                first = middle + 1
            else:
                end = middle
    return salt, first
