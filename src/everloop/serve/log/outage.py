"""Word of an outage of the store, kept beside the buffer as long as the store cannot take it.

Each worker that has something to say keeps a file of its own and holds it locked. A file that nobody holds was left by
a worker that ended during the outage; the next server brings it to the store.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from everloop.core.clock import Clock
from everloop.core.ids import new_id
from everloop.store.records import Alert

__all__ = ["FULL", "SPOOLING", "OutageNote", "left_alerts", "local_alerts"]

SPOOLING, FULL = "log_spooling", "log_full"

_SUFFIX = ".alerts"
_HINTS = {
    SPOOLING: "bring the store back; what is kept on disk is then moved by itself",
    FULL: "bring the store back; log.spool_bytes and log.when_full say what happens meanwhile",
}


class _Kept(msgspec.Struct, frozen=True):
    """An alert as the file holds it."""

    code: str
    message: str
    since: datetime


_decode = msgspec.json.Decoder(list[_Kept]).decode


class OutageNote:
    """The file of one worker.

    Args:
        folder: that of the buffer.
        clock: says since when.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._path: Path | None = None
        self._descriptor = -1

    @property
    def since(self) -> datetime | None:
        """When the first of its alerts began."""
        return min((each.since for each in self._kept.values()), default=None)

    def write(self, code: str, message: str) -> None:
        """Keep an alert; one that is kept already stays as it is.

        Raises:
            OSError: the disk does not take it.
        """
        if code in self._kept:
            return
        self._kept[code] = _Kept(code, message, self._clock.now())
        if self._path is None:
            self._open()
        content = msgspec.json.encode(list(self._kept.values()))
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def delete(self) -> None:
        """Remove the file: the store has it, or it is over."""
        self._kept.clear()
        path, self._path = self._path, None
        if path is not None:
            path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let the file go; the next server brings it to the store."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{new_id(self._clock.now())}{_SUFFIX}"
        making = path.with_suffix(".noting")
        self._descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # before anybody can find it
        making.rename(path)
        self._path = path


def local_alerts(folder: Path) -> list[Alert]:
    """What the workers of this machine say of the store now: of each kind the oldest."""
    found: dict[str, Alert] = {}
    for path in sorted(folder.glob("*" + _SUFFIX)):
        for alert in _read(path):
            known = found.get(alert.code)
            if known is None or alert.since < known.since:
                found[alert.code] = alert
    return [found[code] for code in sorted(found)]


@contextlib.contextmanager
def left_alerts(folder: Path) -> Iterator[Sequence[Alert]]:
    """What workers that have ended left; the files go when the block ends well."""
    held: list[tuple[Path, int]] = []
    alerts: list[Alert] = []
    try:
        for path in sorted(folder.glob("*" + _SUFFIX)):
            with contextlib.suppress(OSError):  # another server's, or gone
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                held.append((path, descriptor))
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alerts += _read(path)
                continue
            if held and held[-1][0] == path:
                os.close(held.pop()[1])
        yield alerts
        for path, _ in held:
            path.unlink(missing_ok=True)
    finally:
        for _, descriptor in held:
            os.close(descriptor)


def _read(path: Path) -> list[Alert]:
    """The alerts of a file; one that is being written has none for the moment."""
    try:
        kept = _decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return []
    return [Alert(each.code, each.message, _HINTS.get(each.code, ""), each.since) for each in kept]
