"""What every hot route does around its own work: count, admit, answer, leave."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod

from everloop.core.errors import EverloopError
from everloop.serve.admission import Ending, Visit
from everloop.serve.failures import error_content, error_headers, internal_error, status_of
from everloop.serve.http.exchange import Exchange
from everloop.serve.service import Service
from everloop.store.records import Prediction

__all__ = ["DirectRoute", "Passage"]

_log = logging.getLogger(__name__)

_JSON = b"content-type: application/json\r\n"


class Passage:
    """One request on a hot route, from its coming to its end.

    Attributes:
        exchange: the request.
        visit: who asks; ``None`` as long as that is not known.
        started: when it came, seconds of ``time.perf_counter``.
    """

    __slots__ = ("exchange", "started", "visit")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.visit: Visit | None = None
        self.started = time.perf_counter()


class DirectRoute(ABC):
    """A route whose requests go past ASGI.

    Args:
        service: what answers.
        method: the HTTP method.
        route: the route's name in the metrics.
    """

    def __init__(self, service: Service, *, method: str, route: str) -> None:
        self.service = service
        self._admission = service.admission
        self._method = method
        self._route = route
        self._latency = service.metrics.latency(route)
        self._ok = service.metrics.requests(route, method, 200)
        self._in_flight = service.metrics.in_flight

    @abstractmethod
    def take(self, passage: Passage, visit: Visit) -> None:
        """Do the work; then, now or later, :meth:`give`, :meth:`fail` or :meth:`pass_on`, once.

        Raises:
            EverloopError: what the caller is told.
        """

    def __call__(self, exchange: Exchange) -> None:
        """Take a request on the event loop."""
        passage = Passage(exchange)
        self.service.in_flight += 1
        self._in_flight.add(1.0)
        try:
            self.service.check_load()
            client = exchange.client
            visit = passage.visit = self._admission.admit(exchange.headers, "predict", client[0] if client else "")
            self.take(passage, visit)
        except EverloopError as error:
            self.fail(passage, error)
        except Exception:
            # A defect costs one answer; the cause goes to the log, and the counter shows that there is one.
            _log.exception("%s failed", self._route)
            self.fail(passage, internal_error())

    def pass_on(self, passage: Passage) -> None:
        """Leave a request to the application's route of the same path."""
        self.service.in_flight -= 1
        self._in_flight.add(-1.0)
        passage.exchange.pass_on()

    def give(self, passage: Passage, headers: bytes, prediction: Prediction, *body: bytes) -> None:
        """Send an answer that is stored, whose body may come in several parts."""
        visit = passage.visit
        lines = b"%bx-everloop-prediction: %b\r\nx-everloop-release: %b\r\n%b" % (
            headers,
            prediction.id.encode(),
            prediction.release.encode(),
            b"" if visit is None or visit.trace is None else visit.answer_headers,
        )
        passage.exchange.reply(200, lines, *body)
        self._ok.add()
        self._leave(passage, 200, prediction)

    def fail(self, passage: Passage, error: EverloopError) -> None:
        """Send an error."""
        status = status_of(error)
        metrics = self.service.metrics
        if status == 500:
            metrics.failures.add()
            _log.error("%s: [%s] %s", self._route, error.code, error)
        lines = _JSON + b"".join(f"{name}: {value}\r\n".encode() for name, value in error_headers(error).items())
        if passage.visit is not None:
            lines += passage.visit.answer_headers
        passage.exchange.reply(status, lines, error_content(error, passage.exchange.target))
        metrics.requests(self._route, self._method, status).add()
        self._leave(passage, status, error=error.code)

    def _leave(self, passage: Passage, status: int, prediction: Prediction | None = None, *, error: str = "") -> None:
        self.service.in_flight -= 1
        self._in_flight.add(-1.0)
        seconds = time.perf_counter() - passage.started
        self._latency.observe(seconds)
        if not self._admission.is_noted(status):
            return
        made, release = ("", "") if prediction is None else (prediction.id, prediction.release)
        ending = Ending(status, seconds, self._route, self._method, made, release, error)
        if passage.visit is None:
            self._admission.refused(passage.exchange.headers, ending)
        else:
            self._admission.leave(passage.visit, ending)
