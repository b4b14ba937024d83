"""What callers tell the server: ``/v1/outcomes`` and ``/v1/measurements``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everloop.serve.bodies import decode, json_response
from everloop.serve.endpoint import routes
from everloop.serve.served import Served
from everloop.serve.service import Service

__all__ = ["MeasurementsBody", "OutcomesBody", "feedback_routes"]


class OutcomesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What really happened.

    Attributes:
        outcomes: all are stored, or none.
    """

    outcomes: list[dict[str, Any]]


class MeasurementsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured of units.

    Attributes:
        measurements: all are stored, or none.
    """

    measurements: list[dict[str, Any]]


_OUTCOMES = msgspec.json.Decoder(OutcomesBody)
_MEASUREMENTS = msgspec.json.Decoder(MeasurementsBody)


def feedback_routes(service: Service) -> list[Route]:
    """The routes by which the truth comes back."""
    return routes(
        service,
        [
            ("POST", "/v1/outcomes", _post_outcomes, "outcomes"),
            ("POST", "/v1/measurements", _post_measurements, "outcomes"),
        ],
    )


async def _post_outcomes(service: Service, request: Request) -> Response:
    body = decode(await service.read_body(request, is_type_needed=True), _OUTCOMES)
    champion = service.host.serving.champion
    project, store, clock = service.project, service.store, service.clock

    def tell() -> dict[str, Any]:
        from everloop.serve.outcomes import tell_outcomes  # what no server needs before it answers
        from everloop.serve.row_outcomes import tell_row_outcomes

        if project.settings.project.task != "forecasting":
            return asdict(tell_row_outcomes(project, store, clock, body.outcomes, source="http"))
        known = champion.positions if isinstance(champion, Served) else None
        return asdict(tell_outcomes(project, store, clock, body.outcomes, known=known, source="http"))

    return json_response(await service.in_thread(tell))


async def _post_measurements(service: Service, request: Request) -> Response:
    body = decode(await service.read_body(request, is_type_needed=True), _MEASUREMENTS)

    def tell() -> dict[str, Any]:
        from everloop.serve.measurements import tell_measurements  # what no server needs before it answers

        return asdict(tell_measurements(service.store, service.clock, body.measurements, source="http"))

    return json_response(await service.in_thread(tell))
