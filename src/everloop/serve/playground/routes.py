"""``/openapi.json`` and ``/try``; what makes them is imported when they are first asked for."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everloop.serve.endpoint import route
from everloop.serve.service import Service

if TYPE_CHECKING:
    from everloop.serve.playground.describer import Describer

__all__ = ["playground_routes"]


def playground_routes(service: Service) -> list[Route]:
    """The routes of the server's descriptions of itself."""

    @cache
    def describer() -> Describer:
        from everloop.serve.playground.describer import Describer  # what no server needs before it answers

        return Describer(service.project.name)

    async def openapi(service: Service, request: Request) -> Response:
        return await describer().openapi(service, request)

    async def page(service: Service, request: Request) -> Response:
        return await describer().page(service, request)

    return [
        route(service, "/openapi.json", openapi, is_bounded=False),
        route(service, "/try", page, is_bounded=False),
    ]
