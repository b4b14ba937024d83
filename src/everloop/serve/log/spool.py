"""The buffer on disk: takes predictions while the store does not.

A spool is a folder of segments. Each worker appends to a segment of its own, which it holds locked; a segment whose
worker has ended is moved to the store by whoever finds it. A record is framed by its length and its CRC-32, so a tail
that a crash tore off is seen and cut: what was torn was never acknowledged.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from everloop.core.clock import Clock
from everloop.core.ids import new_id
from everloop.core.project import Project
from everloop.serve.log.records import Record

__all__ = ["Segment", "Spool", "is_damaged", "read_records", "spool_folder"]

_FRAME = struct.Struct("<II")
_SUFFIX, _MAKING, _DAMAGED = ".spool", ".making", ".damaged"
_MOST_BYTES = 2**30

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def spool_folder(project: Project) -> Path:
    """Where the buffer of a project's servers on this machine lies."""
    return project.home / "spool"


class Segment:
    """A file of records that this process appends to, or moves."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def append(self, records: list[Record], *, fsync: bool) -> int:
        """Write records, whole or not at all; how many bytes they take.

        Raises:
            OSError: the disk does not take them.
        """
        content = b"".join(map(_framed, records))
        try:
            written = 0
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
            if fsync:
                os.fdatasync(self._descriptor)
        except OSError:
            # half a group must not be moved later, since its callers are told that it is not stored
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(content)
        return len(content)

    def records(self) -> Iterator[Record]:
        """What it holds."""
        return read_records(self.path.read_bytes())

    def delete(self) -> None:
        """Remove the file: all of it is in the store."""
        self.path.unlink(missing_ok=True)
        self.close()

    def put_aside(self) -> Path | None:
        """Keep the file under another name where it is damaged; ``None`` where nothing of it is lost."""
        if not is_damaged(self.path.read_bytes()):
            return None
        aside = self.path.with_suffix(_DAMAGED)
        self.path.rename(aside)
        self.close()
        return aside

    def close(self) -> None:
        """Let the file go; another process may move it."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


class Spool:
    """The segments of a server.

    Args:
        folder: where they lie.
        clock: names them.
        most: the most bytes of all of them together.
    """

    def __init__(self, folder: Path, clock: Clock, *, most: int) -> None:
        self._folder = folder
        self._clock = clock
        self._most = most
        self._current: Segment | None = None

    @property
    def size(self) -> int:
        """The bytes of all segments of all workers."""
        total = 0
        for path in self._folder.glob("*" + _SUFFIX):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total

    def append(self, records: list[Record], *, fsync: bool) -> bool:
        """Take records; ``False`` where they would not fit.

        Raises:
            OSError: the disk does not take them.
        """
        if self._current is None:
            self._current = self._new(fsync=fsync)
        need = sum(len(record[9]) + len(record[10]) + 300 for record in records)
        if self.size + need > self._most:
            return False
        self._current.append(records, fsync=fsync)
        return True

    def turn(self) -> None:
        """End the present segment, so that it can be moved."""
        current, self._current = self._current, None
        if current is not None:
            current.close()

    def waiting(self) -> Iterator[Segment]:
        """Segments that nobody appends to, oldest first, each locked for this process until it is closed."""
        for path in sorted(self._folder.glob("*" + _SUFFIX)):
            if self._current is not None and path == self._current.path:
                continue
            segment = _locked(path)
            if segment is not None:
                yield segment

    def _new(self, *, fsync: bool) -> Segment:
        """A segment that is locked before anybody can find it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{new_id(self._clock.now())}{_SUFFIX}"
        making = path.with_suffix(_MAKING)
        descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        making.rename(path)
        if fsync:
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return Segment(path, descriptor)


def read_records(content: bytes) -> Iterator[Record]:
    """The records of a segment up to the first one that is torn or damaged."""
    place = 0
    while (body := _body(content, place)) is not None:
        place += _FRAME.size + len(body)
        yield tuple(_decode(body))


def is_damaged(content: bytes) -> bool:
    """Whether more is wrong than a torn end: a record is there in full, but not as it was written."""
    place = 0
    while (body := _body(content, place)) is not None:
        place += _FRAME.size + len(body)
    rest = content[place:]
    if len(rest) < _FRAME.size or not any(rest):  # a file system may leave zeros behind the last write
        return False
    size = int(_FRAME.unpack_from(rest)[0])
    return _FRAME.size + size <= len(rest) or size > _MOST_BYTES


def _body(content: bytes, place: int) -> bytes | None:
    """The record at a place, ``None`` where none begins there that is whole."""
    if place + _FRAME.size > len(content):
        return None
    size, checksum = _FRAME.unpack_from(content, place)
    body = content[place + _FRAME.size : place + _FRAME.size + size]
    is_whole = 0 < size <= _MOST_BYTES and len(body) == size and zlib.crc32(body) == checksum
    return body if is_whole else None


def _framed(record: Record) -> bytes:
    body = _encode(record)
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _locked(path: Path) -> Segment | None:
    """A segment that is nobody else's, locked."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:  # not moved and deleted since it was listed
            return Segment(path, descriptor)
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None
