"""From errors to answers: the only place where an error gets an HTTP status."""

from __future__ import annotations

import math

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

__all__ = ["error_content", "error_headers", "internal_error", "respond", "status_of"]

RETRY_AFTER_SECONDS = 1

_BY_CODE = {
    "json": 400,
    "json_depth": 400,
    "key_missing": 401,
    "key_unknown": 401,
    "key_scope": 403,
    "path_unknown": 404,
    "method": 405,
    "body_slow": 408,
    "body_large": 413,
    "rows_many": 413,
    "content_type": 415,
    "rate_limited": 429,
    "timeout": 504,
}
_CHALLENGES = {  # RFC 6750, section 3
    "key_missing": 'Bearer realm="everloop"',
    "key_unknown": 'Bearer realm="everloop", error="invalid_token"',
    "key_scope": 'Bearer realm="everloop", error="insufficient_scope"',
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


def error_headers(error: EverloopError) -> dict[str, str]:
    """The headers that an error's answer carries beside its body.

    >>> error_headers(UnavailableError("rate_limited", "too fast", retry_seconds=2.4))
    {'retry-after': '3'}
    """
    status = status_of(error)
    headers = {}
    challenge = _CHALLENGES.get(error.code)
    if challenge is not None:
        headers["www-authenticate"] = challenge
    if error.retry_seconds is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_seconds)))
    elif status == 503:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    if status in (408, 413):  # the rest of the body is not waited for
        headers["connection"] = "close"
    return headers


def error_content(error: EverloopError, path: str | bytes = "") -> bytes:
    """The body of an error's answer: the one shape, which below ``/v2`` takes the form that its protocol asks for.

    There ``error`` is a sentence, which clients of that protocol show, and its parts stand beside it.

    >>> error_content(NotFoundError("model_unknown", "no such model", hint="see /v2/models"), "/v2/models/x")[:40]
    b'{"error":"no such model; see /v2/models"'
    """
    tree = error.to_dict()
    if path[:3] in ("/v2", b"/v2") and path[3:4] in ("", b"", "/", b"/"):
        sentence = f"{error.message}; {error.hint}" if error.hint else error.message
        tree = {"error": sentence, **tree["error"]}
    return msgspec.json.encode(tree)


def respond(error: EverloopError, *, headers: dict[str, str] | None = None, path: str = "") -> Response:
    """The answer that an error is, on a request to ``path``."""
    all_headers = {**(headers or {}), **error_headers(error)}
    return Response(error_content(error, path), status_of(error), all_headers, media_type="application/json")


def internal_error() -> EverloopError:
    """What a caller is told of a fault of the server; the log holds the rest."""
    return EverloopError("internal", "the server failed on this request", hint="its log tells why; please report it")
