"""The request log: one line for a request, in JSON or as text, on standard error or in a file.

A request only appends a record to a bounded queue; a thread turns what has gathered into lines and writes them with
one call, four times a second at most. Where lines come faster than they can be written, some are lost, and the log
says how many.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from everloop.core.errors import SettingsError
from everloop.core.settings.whole import Settings
from everloop.serve.doors.redaction import redact_keys

__all__ = ["Journal", "RequestLine"]

_log = logging.getLogger(__name__)

_STANDARD_ERROR = 2
_PAUSE_SECONDS = 0.25
_MOST_WAITING = {"errors": 250, "all": 10_000, "off": 0}


class RequestLine(msgspec.Struct, gc=False):
    """What is known of a request when it has been answered.

    Attributes:
        at: when it came, seconds since 1970.
        route: the route's path as it is declared, not as it was asked for.
        method: the HTTP method.
        status: the HTTP status of the answer.
        seconds: from its coming to its answer.
        request_id: see :class:`everloop.serve.doors.tracing.Trace`.
        trace_id: likewise.
        caller: the id of the key, never the key; empty without one.
        prediction: the id of the prediction, empty where none was made.
        release: the digest of the release that answered, likewise.
        error: the code of the error, likewise.
    """

    at: float
    route: str
    method: str
    status: int
    seconds: float
    request_id: str = ""
    trace_id: str = ""
    caller: str = ""
    prediction: str = ""
    release: str = ""
    error: str = ""


class _Line(msgspec.Struct, gc=False, omit_defaults=True):
    """A line of the log, in the order of its fields."""

    time: str
    level: str
    event: str
    method: str = ""
    route: str = ""
    status: int = 0
    milliseconds: float = -1.0
    request_id: str = ""
    trace_id: str = ""
    key: str = ""
    prediction: str = ""
    release: str = ""
    error: str = ""
    lost: int = 0


class Journal:
    """Writes lines of requests.

    Args:
        settings: ``access.log``, ``access.log_format``, ``access.log_file``.
        root: the project's folder, which a relative file lies below.

    Raises:
        SettingsError: the file cannot be written.
    """

    def __init__(self, settings: Settings, root: Path) -> None:
        access = settings.access
        self.lost = 0
        self._least = {"off": 1000, "errors": 400, "all": 0}[access.log]
        self._is_json = access.log_format == "json"
        self._most = _MOST_WAITING[access.log]
        self._waiting: deque[RequestLine] = deque()
        self._told = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._sink = _Sink(root / access.log_file if access.log_file and access.log != "off" else None)
        self._thread = threading.Thread(target=self._follow, name="everloop-journal", daemon=True)

    def start(self) -> None:
        """Start writing, unless nothing is to be logged."""
        if self._most:
            self._thread.start()

    def stop(self) -> None:
        """Write what waits, and stop."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._sink.close()

    def is_wanted(self, status: int) -> bool:
        """Whether a request with this status is logged; where not, no line need be made of it."""
        return status >= self._least

    def write(self, line: RequestLine) -> None:
        """Log a request, soon; never waits, never raises."""
        waiting = self._waiting
        if line.status < self._least:
            return
        if len(waiting) >= self._most:
            self.lost += 1
            return
        waiting.append(line)
        if len(waiting) == 1:
            self._wake.set()

    def _follow(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._stop.wait(_PAUSE_SECONDS)
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = [self._format(_line(self._waiting.popleft())) for _ in range(len(self._waiting))]
        lost = self.lost - self._told
        if lost:
            self._told += lost
            now = datetime.now(UTC).timestamp()
            lines.append(self._format(_Line(_instant(now), "warning", "lines_lost", lost=lost)))
        if lines:
            # a caller may send its key where no key belongs, as the request's id, say
            self._sink.write(redact_keys("".join(lines)).encode())

    def _format(self, line: _Line) -> str:
        if self._is_json:
            return msgspec.json.encode(line).decode() + "\n"
        if line.lost:
            return f"{line.time} {line.level.upper()} {line.lost} lines lost\n"
        head = f"{line.time} {line.level.upper()} {line.method} {line.route} {line.status} {line.milliseconds:.3f}ms"
        names = ("request_id", "trace_id", "key", "prediction", "release", "error")
        rest = [f" {name}={value}" for name in names if (value := getattr(line, name))]
        return head + "".join(rest) + "\n"


def _line(seen: RequestLine) -> _Line:
    level = "error" if seen.status >= 500 else "warning" if seen.status >= 400 else "info"
    return _Line(
        time=_instant(seen.at),
        level=level,
        event="request",
        method=seen.method,
        route=seen.route,
        status=seen.status,
        milliseconds=round(seen.seconds * 1000, 3),
        request_id=seen.request_id,
        trace_id=seen.trace_id,
        key=seen.caller,
        prediction=seen.prediction,
        release=seen.release,
        error=seen.error,
    )


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Sink:
    """Where lines go; a file that was moved away (by logrotate, say) is made anew."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = -1
        self._is_failing = False
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = _open(path)
            except OSError as error:
                raise SettingsError(
                    "log_file",
                    f"the request log {path} cannot be written: {error.strerror or error}",
                    hint="choose another file, or leave it empty for standard error",
                    path="access.log_file",
                ) from error

    def write(self, data: bytes) -> None:
        """Write all of it; where that fails (a full disk, a closed pipe), it is told once and the lines are lost."""
        try:
            file = self._place()
            while data:
                data = data[os.write(file, data) :]
            self._is_failing = False
        except OSError as error:
            if not self._is_failing and self._path is not None:
                _log.error("the request log %s cannot be written: %s", self._path, error)
            self._is_failing = True

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _place(self) -> int:
        if self._path is None:
            return _STANDARD_ERROR
        with contextlib.suppress(FileNotFoundError):
            seen, held = self._path.stat(), os.fstat(self._file)
            if (seen.st_dev, seen.st_ino) == (held.st_dev, held.st_ino):
                return self._file
        fresh = _open(self._path)
        os.close(self._file)
        self._file = fresh
        return fresh


def _open(path: Path) -> int:
    """Open for appending: lines of several workers do not overwrite each other."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
