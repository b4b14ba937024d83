"""What is known by now of what a prediction spoke of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from everloop.core.project import Project
from everloop.monitor.joining import join
from everloop.monitor.live import truth_since
from everloop.store.facts import Prediction
from everloop.store.row_outcomes import ONLY_ROW, RowOutcome, row_outcomes_of
from everloop.store.row_values import are_row_values, unpack_rows

__all__ = ["TracedTruth", "truth_of"]

_MOST_CASES = 100


@dataclass(frozen=True, slots=True)
class TracedTruth:
    """A prediction beside the truth.

    Attributes:
        known: of how many values the truth is known.
        expected: of how many it will be.
        hindsight: how many were known before the prediction was made, and judge nothing.
        cases: the first hundred that are known: what was said and what happened; for rows also when it was told, and
            what had been told before.
    """

    known: int
    expected: int
    hindsight: int = 0
    cases: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "known": self.known,
            "expected": self.expected,
            "hindsight": self.hindsight,
            "cases": [dict(each) for each in self.cases],
        }


def truth_of(project: Project, connection: Connection, prediction: Prediction) -> TracedTruth:
    """What is known now of a prediction: a shadow's truth is that of the answer that was given.

    Raises:
        IntegrityError: the stored answer cannot be read.
    """
    if are_row_values(prediction.response):
        told = row_outcomes_of(connection, {prediction.twin or prediction.id})
        return _of_rows(prediction, told)
    return _of_series(project, connection, prediction)


def _of_series(project: Project, connection: Connection, prediction: Prediction) -> TracedTruth:
    truth = truth_since(project, connection, since=prediction.first_time)
    joined = join([prediction], truth)[0]
    times = truth.frequency.times(joined.index).astype("M8[us]").tolist()
    known = np.argwhere(np.isfinite(joined.actual))
    cases = tuple(
        {
            "series": joined.series[row],
            "time": times[column].isoformat() + "Z",
            "predicted": float(joined.mean[row, column]),
            "actual": float(joined.actual[row, column]),
        }
        for row, column in known[:_MOST_CASES].tolist()
    )
    return TracedTruth(len(known), joined.actual.size, joined.hindsight, cases)


def _of_rows(prediction: Prediction, told: Sequence[RowOutcome]) -> TracedTruth:
    outputs = unpack_rows(prediction.response)
    n = max((len(each) for each in outputs.values()), default=0)
    by_row: dict[int, list[RowOutcome]] = {}
    for outcome in told:
        row = 0 if outcome.row == ONLY_ROW and n == 1 else outcome.row
        if 0 <= row < n:
            by_row.setdefault(row, []).append(outcome)
    cases = tuple(
        {
            "row": row,
            "predicted": {name: _plain(values[row]) for name, values in outputs.items()},
            "actual": _said(outcomes[-1]),
            "happened_at": outcomes[-1].at,
            "received_at": outcomes[-1].received_at,
            "earlier": [_said(each) for each in outcomes[:-1]],
        }
        for row, outcomes in sorted(by_row.items())[:_MOST_CASES]
    )
    return TracedTruth(len(by_row), n, 0, cases)


def _said(outcome: RowOutcome) -> float | str | None:
    return outcome.value if outcome.label is None else outcome.label


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
