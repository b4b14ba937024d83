"""The gate: what connections ask of the server before a request reaches a route."""

from __future__ import annotations

from everloop.core.errors import EverloopError
from everloop.serve.http.connection import Bounds, Handler
from everloop.serve.service import Service

__all__ = ["Gate"]


class Gate:
    """Bounds for every connection, and the hot routes.

    Args:
        service: what answers.
    """

    def __init__(self, service: Service) -> None:
        settings = service.settings
        self.bounds = Bounds(body_bytes=settings.max_body_bytes, body_seconds=settings.timeout_seconds)
        self._service = service
        self._direct: dict[tuple[bytes, bytes], Handler] = {}

    def find(self, method: bytes, target: bytes) -> Handler | None:
        """The handler of a hot route."""
        return self._direct.get((method, target))

    def refused(self, error: EverloopError, status: int) -> None:
        """A request was refused before it reached any route."""
        self._service.metrics.refused(error.code)
