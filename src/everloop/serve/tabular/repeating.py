"""Answers of models of rows computed again, from what the store kept of their requests."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from everloop.serve.recording import decode_request
from everloop.serve.tabular.served import ServedRows

__all__ = ["outputs_again"]


def outputs_again(served: ServedRows, request: bytes, kind: str) -> dict[str, NDArray[Any]]:
    """The outputs of a loaded release for a stored request.

    Args:
        served: the release.
        request: what the store kept.
        kind: the door that it came through.

    Raises:
        RequestError: the request does not fit this release.
        IntegrityError: the stored request cannot be read.
        ModelError: the model fails.
    """
    call = decode_request(request, "invocations" if kind == "invocations" else "infer", served.decoder)
    return served.predictor.predict(call.rows, call.parameters, call.outputs)
