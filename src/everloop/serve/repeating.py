"""Stored answers computed anew: from the same release, state and request the same numbers, bit for bit."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import IntegrityError
from everloop.core.project import Project
from everloop.serve.answers import compute_values
from everloop.serve.baseline import baseline_of
from everloop.serve.loading import load_release
from everloop.serve.query import ForecastQuery
from everloop.serve.rows import RowQuery, score_values
from everloop.serve.served import Wanted
from everloop.serve.tabular.repeating import outputs_again
from everloop.serve.tabular.served import ServedRows
from everloop.store.engine import Store
from everloop.store.records import Prediction
from everloop.store.row_values import are_row_values, pack_rows, unpack_rows
from everloop.store.values import ForecastValues

__all__ = ["Values", "are_equal", "numbers_of", "repeat", "stored_values"]

Values: TypeAlias = ForecastValues | dict[str, NDArray[Any]]


def stored_values(prediction: Prediction) -> Values:
    """What was answered: a forecaster's values, or the outputs of a model of rows by name.

    Raises:
        IntegrityError: the stored bytes cannot be read.
    """
    if are_row_values(prediction.response):
        return unpack_rows(prediction.response)
    return ForecastValues.unpack(prediction.response)


def repeat(project: Project, store: Store, prediction: Prediction) -> Values:
    """A stored answer computed anew.

    Raises:
        NotFoundError: the release or the state is not on this machine any more.
        IntegrityError: a file of them was changed, or the stored request cannot be read.
        ModelError: the model cannot be loaded or fails.
    """
    served = load_release(project, store, Wanted(prediction.release, prediction.state))
    if prediction.role == "baseline":
        served = baseline_of(served)
    if isinstance(served, ServedRows):
        return outputs_again(served, prediction.request, prediction.kind)
    try:
        record = msgspec.json.decode(prediction.request)
        if prediction.kind == "invocations":
            return score_values(project, served, RowQuery.from_record(record), is_limited=False)[1]
        query = ForecastQuery.from_record(record)
    except (KeyError, TypeError, msgspec.DecodeError) as error:
        raise IntegrityError(
            "prediction_request", f"the request of prediction {prediction.id} cannot be read: {error}"
        ) from error
    return compute_values(project, served, query, is_limited=False)[0]


def are_equal(one: Values, other: Values) -> bool:
    """Whether two answers are the same, bit for bit."""
    return _packed(one) == _packed(other)


def numbers_of(values: Values) -> NDArray[np.float64]:
    """The numbers of an answer in one row, those of intervals last; texts are no numbers."""
    if isinstance(values, ForecastValues):
        parts = [values.mean, *values.lower.values(), *values.upper.values()]
    else:
        parts = [each for each in values.values() if each.dtype.kind in "fiub"]
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts] or [np.empty(0)])


def _packed(values: Values) -> bytes:
    return values.pack() if isinstance(values, ForecastValues) else pack_rows(values)
