"""The shelf: results of finished pieces on the disk, so that what was killed goes on where it stood."""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

from everloop.core.digest import digest_bytes
from everloop.core.engine.pieces import Outcome

__all__ = ["Shelf"]

_GB = 1_000_000_000


class Shelf:
    """Finished pieces below a folder, each in a file that appears whole or not at all.

    A file holds the SHA-256 of the pickled result, then the result; one that does not match is taken for missing.
    Results are read by pickle: the folder is the project's own, as its models are.

    Args:
        folder: where the files lie.
        keep_gb: how much room they may take.
    """

    def __init__(self, folder: Path, *, keep_gb: float) -> None:
        self._folder = folder
        self._keep_bytes = keep_gb * _GB

    def find(self, key: str) -> Outcome | None:
        """The result of a finished piece; ``None`` where it is not finished."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)  # what is in use is not the oldest
        except FileNotFoundError:
            return None
        digest, body = content[:64], content[65:]
        if digest != digest_bytes(body).encode():
            return None
        return Outcome(pickle.loads(body))

    def put(self, key: str, value: Any) -> None:
        """Keep a result; it is on the disk when this returns."""
        body = pickle.dumps(value, protocol=5)
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".making-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(digest_bytes(body).encode() + b"\n")
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def prune(self) -> None:
        """Let the oldest go where all take too much room."""
        found = []
        for path in self._folder.glob("??/*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process prunes too
                continue
            found.append((status.st_mtime, status.st_size, path))
        room = self._keep_bytes
        for _, size, path in sorted(found, reverse=True):
            room -= size
            if room < 0:
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key
