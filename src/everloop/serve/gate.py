"""The gate: what connections ask of the server before a request reaches a route."""

from __future__ import annotations

from urllib.parse import quote

from everloop.core.errors import EverloopError
from everloop.serve.direct_forecast import PREFIX, DirectForecast
from everloop.serve.http.connection import Bounds, Handler
from everloop.serve.served import Served
from everloop.serve.service import Service
from everloop.serve.tabular.direct import DirectInfer

__all__ = ["Gate"]


class Gate:
    """Bounds for every connection, and the hot routes.

    Args:
        service: what answers.
    """

    def __init__(self, service: Service) -> None:
        settings, access = service.settings, service.project.settings.access
        self.bounds = Bounds(
            body_bytes=settings.max_body_bytes,
            connections=access.max_connections,
            head_seconds=access.header_seconds,
            body_seconds=access.body_seconds,
            idle_seconds=access.idle_seconds,
        )
        self._service = service
        self._infer = DirectInfer(service, method="POST", route="/v2/models/{model}/infer")
        self._infer_target = f"/v2/models/{quote(service.project.name)}/infer".encode()
        self._forecast = DirectForecast(service, method="GET", route="/v1/forecast/{series:path}")

    def find(self, method: bytes, target: bytes) -> Handler | None:
        """The handler of a hot route."""
        if method == b"POST":
            if target == self._infer_target and not isinstance(self._service.host.serving.champion, Served):
                return self._infer
        elif method == b"GET" and target.startswith(PREFIX) and self._forecast.takes(target):
            return self._forecast
        return None

    def refused(self, error: EverloopError, status: int) -> None:
        """A request was refused before it reached any route."""
        self._service.metrics.refused(error.code)
