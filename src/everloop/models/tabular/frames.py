"""Rows as a frame of pandas, of the types that MLflow gives the columns of a signature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Signature

__all__ = ["FrameMaker"]

_DTYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "datetime": "M8[ns]",
}
_WHOLE = ("bool", "int32", "int64")


class FrameMaker:
    """Makes the frame; what depends on the signature alone is found out once."""

    def __init__(self, signature: Signature) -> None:
        self._names = [column.name for column in signature.columns]
        self._index = pd.Index(self._names)
        self._dtypes = [_DTYPES.get(column.type, "object") for column in signature.columns]
        self._one = self._dtypes[0] if len(set(self._dtypes)) == 1 else ""

    def make(self, rows: Rows) -> pd.DataFrame:
        """A frame of ``n`` rows; whole numbers with missing values are floats, as pandas has it."""
        if rows.matrix is not None and self._one in ("float64", "float32"):
            return pd.DataFrame(rows.matrix.astype(self._one, copy=False), columns=self._index, copy=False)
        arrays = rows.columns if rows.matrix is None else dict(zip(self._names, rows.matrix.T, strict=True))
        return pd.DataFrame(
            {name: _cast(arrays[name], dtype) for name, dtype in zip(self._names, self._dtypes, strict=True)}
        )


def _cast(values: Any, dtype: str) -> Any:
    if dtype == "object" or (dtype in _WHOLE and values.dtype.kind == "f" and bool(np.isnan(values).any())):
        return values
    return values.astype(dtype, copy=False)
