"""The inputs of stored answers of models of rows, by column: to group them, and to look at what was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from everloop.core.errors import EverloopError
from everloop.core.project import Project
from everloop.release.bundle import open_release
from everloop.serve.recording import decode_request
from everloop.serve.v2.signature import RowsDecoder, compile_signature
from everloop.store.records import Prediction

__all__ = ["input_reader"]


def input_reader(project: Project) -> Callable[[Prediction], dict[str, NDArray[Any]]]:
    """A function that gives the inputs of an answer by column or tensor, each with the rows first.

    They are empty where the request was not kept (see ``log.inputs``), where its release is not on this machine any
    more, or where it is that of a forecaster.
    """
    decoders: dict[str, RowsDecoder | None] = {}

    def decoder_of(release: str) -> RowsDecoder | None:
        if release not in decoders:
            try:
                signature = open_release(project.releases / release, digest=release).manifest.signature
            except EverloopError:  # a release that is gone or changed tells nothing of its inputs
                signature = None
            decoders[release] = None if signature is None else compile_signature(signature)
        return decoders[release]

    def read(prediction: Prediction) -> dict[str, NDArray[Any]]:
        decoder = decoder_of(prediction.release) if prediction.request else None
        if decoder is None:
            return {}
        kind = "invocations" if prediction.kind == "invocations" else "infer"
        rows = decode_request(prediction.request, kind, decoder).rows
        if rows.matrix is not None:
            names = [column.name for column in decoder.signature.columns]
            return {name: rows.matrix[:, place] for place, name in enumerate(names)}
        return {**rows.columns, **rows.tensors}

    return read
