"""Rows as the one matrix of numbers that boosted trees take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Signature

__all__ = ["MatrixMaker"]

_NAN = float("nan")


class MatrixMaker:
    """Makes the matrix; what depends on the signature alone is found out once.

    Args:
        signature: columns, or one tensor of two dimensions.
        categories: the categories of columns that hold some, by the column's place; a value becomes its number
            among them, one that is not among them becomes NaN, as pandas' codes do.

    Raises:
        ModelError: a column can be no number.
    """

    def __init__(self, signature: Signature, categories: Mapping[int, Sequence[Any]] | None = None) -> None:
        if signature.tensors and (len(signature.tensors) > 1 or len(signature.tensors[0].shape) != 2):
            raise ModelError(
                "signature_shape",
                "the model takes one tensor of rows and columns, and its signature names another",
                hint="log the model with the signature of its training data",
            )
        self.width = signature.tensors[0].shape[1] if signature.tensors else len(signature.columns)
        self._codes = {
            place: {value: float(code) for code, value in enumerate(values)}
            for place, values in (categories or {}).items()
        }
        for place, column in enumerate(signature.columns):
            if place not in self._codes and column.type in ("string", "binary", "datetime"):
                raise ModelError(
                    "signature_type",
                    f"the model takes numbers, and {column.name!r} is of type {column.type}",
                    hint="log the model with the signature of its training data",
                )
        self._names = [column.name for column in signature.columns]
        self._tensor = signature.tensors[0].name if signature.tensors else ""
        self._singles = [place for place, column in enumerate(signature.columns) if column.type == "float"]

    def check_width(self, features: int) -> None:
        """Refuse a signature with more or fewer columns than the model has features.

        Raises:
            ModelError: their numbers differ.
        """
        if self.width != features:
            raise ModelError(
                "signature_columns",
                f"the model takes {features} columns, its signature names {self.width}",
                hint="log the model with the signature of its training data",
            )

    def make(self, rows: Rows) -> NDArray[np.float64]:
        """Shape ``(n, columns)``; a column of 32-bit floats is rounded to them, as a frame of its type would be."""
        if self._tensor:
            matrix = np.asarray(rows.tensors[self._tensor], dtype=np.float64)
        elif rows.matrix is not None:
            matrix = rows.matrix
            if self._codes:
                matrix = matrix.copy()
                for place, codes in self._codes.items():
                    matrix[:, place] = [codes.get(value, _NAN) for value in matrix[:, place].tolist()]
        else:
            matrix = np.empty((rows.n, self.width), dtype=np.float64)
            for place, name in enumerate(self._names):
                column = rows.columns[name]
                known = self._codes.get(place)
                matrix[:, place] = column if known is None else [known.get(value, _NAN) for value in column.tolist()]
        if self._singles:
            matrix = matrix.copy() if matrix is rows.matrix else matrix
            matrix[:, self._singles] = matrix[:, self._singles].astype(np.float32)
        return matrix
