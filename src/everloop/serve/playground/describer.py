"""What the server tells of itself, made once for each release that comes into charge."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from everloop.serve.describing import ModelDescription, describe_served
from everloop.serve.openapi import describe_api
from everloop.serve.playground.page import SECURITY_POLICY, render_page
from everloop.serve.service import Service

__all__ = ["Describer"]


class Describer:
    """Describes what is in charge; the last description is kept.

    Args:
        name: the project's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._of: object = None
        self._model: ModelDescription | None = None
        self._document = b""

    def _look(self, service: Service) -> None:
        champion = service.host.serving.champion
        if self._document and self._of is champion:
            return
        self._of = champion
        self._model = None if champion is None else describe_served(self._name, champion)
        self._document = msgspec.json.encode(describe_api(self._name, self._model))

    async def openapi(self, service: Service, request: Request) -> Response:
        """``/openapi.json``."""
        self._look(service)
        return Response(self._document, media_type="application/json")

    async def page(self, service: Service, request: Request) -> Response:
        """``/try``."""
        self._look(service)
        page = render_page(self._name, self._model, address=str(request.base_url).rstrip("/"))
        headers = {"content-security-policy": SECURITY_POLICY, "x-content-type-options": "nosniff"}
        return Response(page, headers=headers, media_type="text/html")
