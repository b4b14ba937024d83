"""A loaded model of rows, and what was measured of it when it was warmed up."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError
from everloop.models.tabular.predictor import Hasting, Predictor, Rows
from everloop.models.tabular.signature import Signature
from everloop.release.bundle import Release
from everloop.serve.served import Wanted
from everloop.serve.tabular.joining import join_rows
from everloop.serve.v2.signature import RowsDecoder, compile_signature

__all__ = ["Pace", "ServedRows", "measure_pace"]

_SIZES = (4, 16, 64)
_TIMES = 3
_GAIN = 0.8
_LONGEST_WARM_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a model answered when it was loaded.

    Attributes:
        call_seconds: one call with one row.
        batch: how many rows one call should take at most; 1 where batches gain nothing or change the answers.
        row_seconds: a row in such a call.
        note: why the batch is as it is.
    """

    call_seconds: float
    batch: int
    row_seconds: float
    note: str

    def seconds(self, rows: int) -> float:
        """What a call with so many rows should take."""
        return max(self.call_seconds, self.row_seconds * rows)


@dataclass(slots=True, eq=False)
class ServedRows:
    """A verified, loaded and warmed release of a model of rows; only its pace and way may change.

    Attributes:
        release: the bundle.
        predictor: the model.
        signature: what it takes and gives.
        decoder: the signature compiled for requests.
        pace: how fast it is, which decides where and in what batches it is asked.
        places: the number of each column.
        way: how the model is asked, for people; see :meth:`hasten`.
        state: always empty: such a model has no state beside its release.
        cutoff: always ``None``: it knows nothing of time.
    """

    release: Release
    predictor: Predictor
    signature: Signature
    decoder: RowsDecoder = field(repr=False)
    pace: Pace
    places: Mapping[str, int] = field(default_factory=dict, repr=False)
    way: str = ""
    state: str = ""
    cutoff: None = None

    @classmethod
    def of(
        cls, release: Release, predictor: Predictor, examples: Rows | None = None, *, max_rows: int | None = None
    ) -> ServedRows:
        """What a loaded model can be asked, after a few calls to it.

        Args:
            release: the bundle.
            predictor: the model.
            examples: rows that it should be able to answer; made up from the signature by default.
            max_rows: the most rows of one request.

        Raises:
            ModelError: it cannot answer its own examples.
        """
        rows = examples if examples is not None and examples.n else made_up_rows(predictor.signature)
        decoder = compile_signature(predictor.signature, max_rows=max_rows)
        places = {column.name: place for place, column in enumerate(predictor.signature.columns)}
        pace = measure_pace(predictor, rows, is_real=examples is not None)
        return cls(release, predictor, predictor.signature, decoder, pace, places)

    def hasten(self, examples: Rows | None) -> None:
        """Look for a faster way to the same answers, and measure the model again; it may be asked meanwhile.

        Args:
            examples: rows that it should be able to answer.
        """
        if isinstance(self.predictor, Hasting):
            self.way = self.predictor.hasten(examples)
            rows = examples if examples is not None and examples.n else made_up_rows(self.signature)
            self.pace = measure_pace(self.predictor, rows, is_real=False)

    def unit_of(self, rows: Rows, column: str) -> str | None:
        """The first row's value in a column, as the text that a split draws by; ``None`` where there is none."""
        if not rows.n:
            return None
        if rows.matrix is None:
            values = rows.columns.get(column)
            return None if values is None or values[0] is None else str(values[0])
        place = self.places.get(column)
        if place is None:
            return None
        value = float(rows.matrix[0, place])
        # store 5 is the unit "5", whether it came as a whole number or as one with a point
        return str(int(value)) if value.is_integer() else str(value)

    @property
    def wanted(self) -> Wanted:
        """Which release this is."""
        return Wanted(self.release.digest)


def measure_pace(predictor: Predictor, examples: Rows, *, is_real: bool) -> Pace:
    """Time a model with one row and with batches, and check that batches give each row the same bits.

    Args:
        predictor: the model.
        examples: rows to ask, repeated as needed.
        is_real: whether the model must be able to answer them.

    Raises:
        ModelError: it cannot answer real examples.
    """
    single = join_rows([examples], take=[0])
    try:
        call_seconds = _timed(predictor, single)
    except Exception as error:
        # A model of a user's own may fail in any way, and rows made up from types alone may be nothing it knows.
        if is_real:
            raise ModelError(
                "model_warm",
                f"the model cannot answer its own example: {type(error).__name__}: {error}",
                hint="does the example fit the signature?",
            ) from error
        return Pace(0.1, 1, 0.1, "not measured: no example to ask")
    if not predictor.is_exact_in_batch:
        return Pace(call_seconds, 1, call_seconds, f"single rows: {predictor.flavor} may round otherwise in a batch")
    best = Pace(call_seconds, 1, call_seconds, "single rows: batches gain less than a fifth")
    spent = call_seconds * _TIMES
    doubtful: list[Rows] = []  # batches of sizes that did not pay: their bits matter once a larger one does
    for size in _SIZES:
        if spent > _LONGEST_WARM_SECONDS:
            break
        doubtful.append(join_rows([examples], take=[place % examples.n for place in range(size)]))
        seconds = _timed(predictor, doubtful[-1])
        spent += seconds * _TIMES
        if seconds / size < best.row_seconds * _GAIN:
            other = next((rows.n for rows in doubtful if not _is_same(predictor, rows)), None)
            if other is not None:
                return Pace(call_seconds, 1, call_seconds, f"single rows: a batch of {other} gives other bits")
            spent += call_seconds * sum(rows.n for rows in doubtful)
            doubtful = []
            best = Pace(call_seconds, size, seconds / size, f"batches of up to {size}")
    return best


def made_up_rows(signature: Signature, n: int = 8) -> Rows:
    """Rows that fit a signature by type alone."""
    generator = np.random.default_rng(7)
    if signature.tensors:
        tensors = {
            each.name: generator.standard_normal([n, *(1 if size < 0 else size for size in each.shape[1:])]).astype(
                each.dtype
            )
            for each in signature.tensors
        }
        return Rows(n, tensors=tensors)
    values: dict[str, NDArray[Any]] = {}
    for column in signature.columns:
        if column.type in ("string", "binary"):
            values[column.name] = np.array(["" if column.type == "string" else b""] * n, dtype=object)
        elif column.type == "datetime":
            values[column.name] = np.full(n, np.datetime64("2020-01-01", "us"))
        else:
            values[column.name] = generator.standard_normal(n).round(0 if column.type != "double" else 6)
    if all(array.dtype == np.float64 for array in values.values()) and values:
        return Rows(n, matrix=np.ascontiguousarray(np.stack(list(values.values()), axis=1)))
    return Rows(n, columns=values)


def _timed(predictor: Predictor, rows: Rows) -> float:
    """The shortest of a few calls, in seconds; the first one pays for what is made once."""
    seconds = float("inf")
    for _ in range(_TIMES):
        started = time.perf_counter()
        predictor.predict(rows, {})
        seconds = min(seconds, time.perf_counter() - started)
    return seconds


def _is_same(predictor: Predictor, rows: Rows) -> bool:
    """Whether each row's answer is the same bits alone and in a batch."""
    together = predictor.predict(rows, {})
    for place in range(rows.n):
        alone = predictor.predict(join_rows([rows], take=[place]), {})
        if not _equal_at(together, alone, place):
            return False
    return True


def _equal_at(together: Mapping[str, NDArray[Any]], alone: Mapping[str, NDArray[Any]], place: int) -> bool:
    for name, values in together.items():
        first, second = values[place : place + 1], alone[name]
        if first.dtype.kind == "f":
            if not np.array_equal(first, second, equal_nan=True):
                return False
        elif not np.array_equal(first, second):
            return False
    return True
