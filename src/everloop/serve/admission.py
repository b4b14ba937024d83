"""Admission: what is known of a request before its work begins, and what is noted when it ends."""

from __future__ import annotations

import time
from dataclasses import dataclass

from everloop.core.project import Project
from everloop.serve.doors.doorway import Doorway
from everloop.serve.doors.journal import Journal, RequestLine
from everloop.serve.doors.keyring import Caller
from everloop.serve.doors.rules import Exposure
from everloop.serve.doors.spans import Spans, open_spans
from everloop.serve.doors.tracing import Trace, begin_trace
from everloop.serve.traffic import RELEASE_HEADER, UNIT_HEADER
from everloop.store.engine import Store
from everloop.store.records import Scope

__all__ = ["Admission", "Ending", "Visit"]

_UNIT = UNIT_HEADER.lower().encode()
_RELEASE = RELEASE_HEADER.lower().encode()

Headers = list[tuple[bytes, bytes]]


class Visit:
    """A request that was let in.

    Attributes:
        headers: by name in lower case; the last one where a name came twice.
        caller: whose key it showed.
        trace: its ids; ``None`` where neither the request nor the settings ask for any.
    """

    __slots__ = ("caller", "headers", "trace")

    def __init__(self, headers: Headers, caller: Caller, trace: Trace | None) -> None:
        self.headers = dict(headers)
        self.caller = caller
        self.trace = trace

    @property
    def unit(self) -> str | None:
        """What a split is to be drawn by, where the caller says so."""
        value = self.headers.get(_UNIT)
        return None if value is None else value.decode("latin-1")

    @property
    def named(self) -> str | None:
        """The release that the caller insists on."""
        value = self.headers.get(_RELEASE)
        return None if value is None else value.decode("latin-1")

    @property
    def request_id(self) -> str:
        """An id of the request's own, empty where it has none."""
        return "" if self.trace is None else self.trace.request_id

    @property
    def answer_headers(self) -> bytes:
        """Header lines for the answer."""
        return b"" if self.trace is None else self.trace.answer_headers()

    @property
    def answer_pairs(self) -> list[tuple[str, str]]:
        """The same by name and value."""
        lines = self.answer_headers.decode("latin-1").split("\r\n")
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines if line)]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended.

    Attributes:
        status: the HTTP status of the answer.
        seconds: from its coming to its answer.
        route: the route's path as it is declared.
        method: the HTTP method, or ``"gRPC"``.
        prediction: the id of the prediction, empty where none was made.
        release: the digest of the release that answered, likewise.
        error: the code of the error, likewise.
    """

    status: int
    seconds: float
    route: str
    method: str
    prediction: str = ""
    release: str = ""
    error: str = ""


class Admission:
    """Lets requests in, and notes how they end.

    Args:
        project: the project.
        store: where the keys are.
        exposure: who may come without a key.
    """

    def __init__(self, project: Project, store: Store, exposure: Exposure) -> None:
        self._doorway = Doorway(project.settings, store, exposure=exposure)
        self._journal = Journal(project.settings, project.root)
        self._spans: Spans | None = open_spans(project.settings)
        self._is_journaled = project.settings.access.log != "off"
        # of most requests no id is ever seen; those that end in an error get theirs when they are noted
        self._is_traced = self._spans is not None or project.settings.access.log == "all"

    def is_public(self, path: bytes) -> bool:
        """Whether anybody may see a path."""
        return self._doorway.is_public(path)

    def check_body(self, body: bytes | bytearray) -> None:
        """Refuse a JSON body that is nested too deeply.

        Raises:
            RequestError: ``json_depth``.
        """
        self._doorway.check_body(body)

    def start(self) -> None:
        """Load the keys and begin to write."""
        self._doorway.start()
        self._journal.start()

    def stop(self) -> None:
        """Write what waits."""
        self._doorway.stop()
        self._journal.stop()
        if self._spans is not None:
            self._spans.close()

    def admit(self, headers: Headers, scope: Scope | None, address: str) -> Visit:
        """Let a request in.

        Args:
            headers: names in lower case, and values.
            scope: what the caller's key must be good for; ``None`` for what anybody may see.
            address: where the request comes from.

        Raises:
            EverloopError: a key is missing, unknown, of another scope, or used too often.
        """
        caller = NOBODY if scope is None else self._doorway.admit(headers, scope, address)
        is_traced = self._is_traced
        if not is_traced:
            for name, _ in headers:
                if name in (b"traceparent", b"x-request-id"):
                    is_traced = True
                    break
        return Visit(headers, caller, begin_trace(headers) if is_traced else None)

    def is_noted(self, status: int) -> bool:
        """Whether the end of a request with this status is written anywhere; :meth:`leave` need not be called else."""
        return self._spans is not None or (self._is_journaled and self._journal.is_wanted(status))

    def refused(self, headers: Headers, ending: Ending) -> None:
        """Note a request that was not let in."""
        self.leave(Visit(headers, NOBODY, None), ending)

    def leave(self, visit: Visit, ending: Ending) -> None:
        """Note how a request ended."""
        is_written = self._is_journaled and self._journal.is_wanted(ending.status)
        if not is_written and self._spans is None:
            return
        trace = visit.trace or begin_trace(list(visit.headers.items()))
        line = RequestLine(
            at=time.time() - ending.seconds,
            request_id=trace.request_id,
            trace_id=trace.trace_id,
            route=ending.route,
            method=ending.method,
            status=ending.status,
            seconds=ending.seconds,
            caller=visit.caller.id,
            prediction=ending.prediction,
            release=ending.release,
            error=ending.error,
        )
        if is_written:
            self._journal.write(line)
        if self._spans is not None:
            self._spans.record(trace, line)


NOBODY = Caller("", "", frozenset(), None)
