"""Models of rows that tests can look into."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Column, Output, Signature

SIGNATURE = Signature(columns=(Column("a", "double"), Column("b", "double")), outputs=(Output("prediction"),))


class Doubler:
    """Doubles the first column; 13 makes it fail, 99 gives NaN. It remembers how many rows each call had."""

    flavor = "lightgbm"
    signature = SIGNATURE

    def __init__(self, *, is_exact_in_batch: bool = True, cost: float = 0.0, error: float = 0.0) -> None:
        self.is_exact_in_batch = is_exact_in_batch
        self.calls: list[int] = []
        self._cost = cost
        self._error = error

    def predict(
        self, rows: Rows, parameters: Mapping[str, Any], outputs: Collection[str] = ()
    ) -> dict[str, NDArray[Any]]:
        import time

        assert rows.matrix is not None
        self.calls.append(rows.n)
        first = rows.matrix[:, 0]
        if (first == 13.0).any():
            raise ValueError("thirteen")
        until = time.perf_counter() + self._cost
        while time.perf_counter() < until:
            pass
        doubled = 2.0 * first + (self._error if rows.n > 1 else 0.0)
        return {"prediction": np.where(first == 99.0, np.nan, doubled)}
