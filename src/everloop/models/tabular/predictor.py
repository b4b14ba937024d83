"""What a model of rows is: everything that serves one relies on these few names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from everloop.models.tabular.signature import Signature

__all__ = ["Hasting", "Predictor", "Rows"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to predict, by column or tensor; checked against the signature before a predictor sees them.

    Attributes:
        n: how many rows.
        matrix: shape ``(n, columns)``, float64, in the signature's order, NaN where missing: given exactly where
            every column of the signature is a number (boolean included).
        columns: otherwise each column as an array of length ``n``: float64 (numbers that may be missing), int64, bool,
            ``M8[us]`` or object (texts and bytes, ``None`` where missing).
        tensors: for a signature of tensors, each one with the rows first.
    """

    n: int
    matrix: NDArray[np.float64] | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    tensors: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@runtime_checkable
class Predictor(Protocol):
    """A loaded model of rows; threads may share it."""

    signature: Signature
    flavor: str
    """The library that made it: ``lightgbm``, ``xgboost``, ``sklearn``, ``onnx``, ``pyfunc``."""

    is_exact_in_batch: bool
    """Whether a row's answer has the same bits whatever rows are asked with it."""

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        """The outputs by name, each an array with the rows first.

        Args:
            rows: the rows, checked against the signature.
            parameters: the request's parameters, checked against the signature, with its defaults.
            outputs: the names of those wanted; all of them where it is empty.

        Raises:
            ModelError: the model fails.
            RequestError: several models share the rows, and a row names none of them.
        """
        ...


@runtime_checkable
class Hasting(Protocol):
    """A predictor that knows a faster way to the same bits, which takes some time to prepare."""

    def hasten(self, examples: Rows | None) -> str:
        """Prepare it, and use it if it gives the same bits faster here; the predictor may be asked meanwhile.

        Args:
            examples: rows to try it on, besides what it makes up itself.

        Returns:
            What came of it, for people.
        """
        ...
