"""Rows of several requests as one batch, and a batch's answers as those of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.models.tabular.predictor import Rows

__all__ = ["cut_outputs", "join_rows"]


def join_rows(parts: Sequence[Rows], *, take: Sequence[int] | None = None) -> Rows:
    """The rows of all parts, which have one signature, one after the other.

    Args:
        parts: at least one.
        take: the numbers of the rows to keep, all by default; a number may come twice.
    """
    joined = parts[0] if len(parts) == 1 else _concatenated(parts)
    if take is None:
        return joined
    places = np.asarray(take, dtype=np.intp)
    return Rows(
        len(places),
        None if joined.matrix is None else np.ascontiguousarray(joined.matrix[places]),
        {name: values[places] for name, values in joined.columns.items()},
        {name: values[places] for name, values in joined.tensors.items()},
    )


def cut_outputs(outputs: Mapping[str, NDArray[Any]], sizes: Sequence[int]) -> list[dict[str, NDArray[Any]]]:
    """Each part's share of the outputs of joined rows."""
    cut: list[dict[str, NDArray[Any]]] = []
    start = 0
    for size in sizes:
        cut.append({name: values[start : start + size] for name, values in outputs.items()})
        start += size
    return cut


def _concatenated(parts: Sequence[Rows]) -> Rows:
    first = parts[0]
    n = sum(part.n for part in parts)
    if first.matrix is not None:
        return Rows(n, np.concatenate([part.matrix for part in parts if part.matrix is not None]))
    return Rows(
        n,
        None,
        {name: np.concatenate([part.columns[name] for part in parts]) for name in first.columns},
        {name: np.concatenate([part.tensors[name] for part in parts]) for name in first.tensors},
    )
