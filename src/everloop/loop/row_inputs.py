"""Reading back what a model of rows was asked, for monitors that know nothing of how requests are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from everloop.core.errors import IntegrityError, RequestError
from everloop.core.project import Project
from everloop.monitor.row_joining import Inputs
from everloop.release.bundle import open_release
from everloop.serve.recording import decode_request
from everloop.serve.v2.signature import RowsDecoder
from everloop.store.facts import Prediction

__all__ = ["inputs_of"]


def inputs_of(project: Project, release: str) -> Inputs | None:
    """What reads the inputs of a release's answers; ``None`` where it takes tensors, which have no columns.

    Args:
        project: the project.
        release: the release's digest.

    Raises:
        NotFoundError: its bundle is gone.
        IntegrityError: the bundle was changed.
    """
    signature = open_release(project.releases / release, digest=release).manifest.signature
    if signature is None or not signature.columns:
        return None
    decoder = RowsDecoder(signature)
    names = [column.name for column in signature.columns]

    def read(prediction: Prediction) -> Mapping[str, NDArray[Any]]:
        if not prediction.request:
            return {}
        try:
            rows = decode_request(prediction.request, prediction.kind, decoder).rows
        except (RequestError, IntegrityError):
            return {}  # kept by an older version, or cut: nothing can be said of its inputs
        if rows.matrix is not None:
            return {name: rows.matrix[:, place] for place, name in enumerate(names)}
        return rows.columns

    return read
