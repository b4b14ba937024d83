"""From errors to answers: the only place where an error gets an HTTP status."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from everloop.core.errors import (
    ConflictError,
    DataError,
    EverloopError,
    GateError,
    IntegrityError,
    ModelError,
    NotFoundError,
    UnavailableError,
    UsageError,
)

__all__ = ["internal_error", "respond", "status_of"]

RETRY_AFTER_SECONDS = 1

_BY_CODE = {
    "json": 400,
    "path_unknown": 404,
    "method": 405,
    "body_slow": 408,
    "body_large": 413,
    "content_type": 415,
    "timeout": 504,
}
_BY_CLASS: tuple[tuple[type[EverloopError], int], ...] = (
    (UsageError, 422),
    (DataError, 422),
    (NotFoundError, 404),
    (ConflictError, 409),
    (GateError, 409),
    (UnavailableError, 503),
    (ModelError, 500),
    (IntegrityError, 500),
)


def status_of(error: EverloopError) -> int:
    """The HTTP status of an error.

    >>> status_of(NotFoundError("prediction_unknown", "there is no prediction 'x'"))
    404
    """
    status = _BY_CODE.get(error.code)
    if status is None:
        status = next((each for cls, each in _BY_CLASS if isinstance(error, cls)), 500)
    return status


def respond(error: EverloopError, *, headers: dict[str, str] | None = None) -> Response:
    """The answer that an error is."""
    status = status_of(error)
    all_headers = dict(headers or {})
    if status == 503:
        all_headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    if status in (408, 413):  # the rest of the body is not waited for
        all_headers["connection"] = "close"
    return Response(msgspec.json.encode(error.to_dict()), status, all_headers, media_type="application/json")


def internal_error() -> EverloopError:
    """What a caller is told of a fault of the server; the log holds the rest."""
    return EverloopError("internal", "the server failed on this request", hint="its log tells why; please report it")
