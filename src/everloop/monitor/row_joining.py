"""Answers of models of rows meet what really came of their rows, whenever either arrives.

Both are facts and joined anew each time, so the order in which they came makes no difference: of several outcomes of a
row the one told last counts, an outcome that is early waits for its answer, and one whose answer never comes is
counted. A shadow's answer is judged by what was told of the answer that was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Connection

from everloop.store.facts import Prediction, predictions_reaching
from everloop.store.row_outcomes import ONLY_ROW, RowOutcome, count_unmatched, row_outcomes_of
from everloop.store.row_values import are_row_values, unpack_rows

__all__ = ["Inputs", "RowTruth", "join_rows"]

Inputs: TypeAlias = Callable[[Prediction], Mapping[str, NDArray[Any]]]
"""The inputs of a stored answer by column, each with the rows first; empty where they were not kept."""

_INSTANT = pl.Datetime("us", "UTC")
_ABOUT: dict[str, Any] = {
    "case": pl.String, "prediction_id": pl.String, "release": pl.String, "role": pl.String, "kind": pl.String,
    "at": _INSTANT, "unit": pl.String, "experiment": pl.String, "output": pl.String,
}  # fmt: skip
_SAID: dict[str, Any] = {"predicted": pl.Float64, "predicted_label": pl.String, "scores": pl.List(pl.Float64)}
_TRUE: dict[str, Any] = {
    "value": pl.Float64, "label": pl.String, "happened_at": _INSTANT, "received_at": _INSTANT, "told": pl.Int64,
}  # fmt: skip
_ROLES = ("champion", "challenger", "named", "fallback", "shadow")


@dataclass(frozen=True, slots=True, eq=False)
class RowTruth:
    """Answers of models of rows beside the truth.

    Attributes:
        frame: a line for each row of each answer, in the order of answers and rows:

            ``case``
                the id of the answer that was given; a shadow has that of the answer it stands beside.
            ``prediction_id``, ``release``, ``role``, ``kind``, ``at``, ``unit``, ``experiment``
                as the answer was stored.
            ``row``
                the number of the row in its request.
            ``output``, ``predicted``, ``predicted_label``, ``scores``
                the output that was looked at, as a number or as a text, and the first output of several numbers a row.
            ``value``, ``label``, ``happened_at``, ``received_at``, ``told``
                the truth, in the form of the prediction where it can be brought into that; null where it is not
                known; and how often it was told.
            ``input.NAME``
                the inputs, where they were asked for.
        waiting: rows whose truth is not known.
        unmatched: predictions of which outcomes were told and which are not stored, here or any more.
        unfit: outcomes that no row of their prediction fits.
    """

    frame: pl.DataFrame
    waiting: int
    unmatched: int
    unfit: int


def join_rows(
    connection: Connection,
    *,
    since: datetime,
    releases: Sequence[str] = (),
    output: str = "",
    inputs: Inputs | None = None,
) -> RowTruth:
    """The answers given at or after ``since``, row by row, beside what is known now.

    Args:
        connection: the store.
        since: the first answer's instant.
        releases: those whose answers are wanted; all by default.
        output: the output to look at; the first of each answer by default. Answers without it are left out.
        inputs: reads the inputs of an answer, where they are wanted.
    """
    said = [
        (each, outputs)
        for each in predictions_reaching(connection, since, releases=releases, kinds=("infer", "invocations"))
        if each.role in _ROLES and are_row_values(each.response)
        for outputs in (unpack_rows(each.response),)
        if (output in outputs if output else bool(outputs))
    ]
    told: dict[str, list[RowOutcome]] = {}
    for outcome in row_outcomes_of(connection, {_case(each) for each, _ in said}):
        told.setdefault(outcome.prediction, []).append(outcome)
    lines = _Lines()
    for prediction, outputs in said:
        lines.add(prediction, outputs, output or next(iter(outputs)), told.get(_case(prediction), ()))
        if inputs is not None:
            lines.inputs.append((lines.sizes[-1], inputs(prediction)))
    frame = lines.frame()
    return RowTruth(frame, int((frame["told"] == 0).sum()), count_unmatched(connection, since), lines.unfit)


class _Lines:
    """The lines of the frame, gathered answer by answer."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.inputs: list[tuple[int, Mapping[str, NDArray[Any]]]] = []
        self._about: list[tuple[Any, ...]] = []
        self._columns: dict[str, list[Any]] = {"row": [], **{name: [] for name in (*_SAID, *_TRUE)}}
        self._unfit: dict[str, int] = {}

    def add(
        self, prediction: Prediction, outputs: Mapping[str, NDArray[Any]], name: str, told: Sequence[RowOutcome]
    ) -> None:
        """The rows of an answer, by its output ``name``, and what was told of them."""
        n = len(outputs[name])
        case = _case(prediction)
        facts = (case, prediction.id, prediction.release, prediction.role, prediction.kind, prediction.at)
        truth, self._unfit[case] = _truth(told, n)
        self.sizes.append(n)
        self._about += [(*facts, prediction.unit, prediction.experiment, name)] * n
        self._columns["row"] += range(n)
        for column, values in zip((*_SAID, *_TRUE), (*_said(outputs, name, n), *truth), strict=True):
            self._columns[column] += values

    @property
    def unfit(self) -> int:
        """How many outcomes fit no row of their answer."""
        return sum(self._unfit.values())

    def frame(self) -> pl.DataFrame:
        """The frame of :class:`RowTruth`."""
        kinds = {"row": pl.Int64, **_SAID, **_TRUE}
        frame = pl.DataFrame(self._about, schema=_ABOUT, orient="row").with_columns(
            pl.Series(name, self._columns[name], dtype=kind) for name, kind in kinds.items()
        )
        return _in_one_form(frame).with_columns(_input_columns(self.inputs))


def _case(prediction: Prediction) -> str:
    return prediction.twin or prediction.id


def _said(outputs: Mapping[str, NDArray[Any]], name: str, n: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Numbers, labels and scores of an answer, each of length ``n``."""
    nothing: list[Any] = [None] * n
    main = outputs[name].reshape(n, -1) if n else outputs[name].reshape(0, 1)
    several = next(
        (each for each in outputs.values() if each.ndim == 2 and each.shape[1] > 1 and each.dtype.kind in "fiu"), None
    )
    scores = nothing if several is None or len(several) != n else several.astype(np.float64).tolist()
    if main.shape[1] != 1:
        return nothing, nothing, scores
    if main.dtype.kind in "fiub":
        numbers = main[:, 0].astype(np.float64)
        return [None if np.isnan(each) else each for each in numbers.tolist()], nothing, scores
    return nothing, [None if each is None else str(each) for each in main[:, 0].tolist()], scores


def _truth(told: Sequence[RowOutcome], n: int) -> tuple[tuple[list[Any], ...], int]:
    """What is known of ``n`` rows, column by column of ``_TRUE``; and how many outcomes fit none of them."""
    latest: list[RowOutcome | None] = [None] * n
    times = [0] * n
    misfits = 0
    for outcome in told:
        row = 0 if outcome.row == ONLY_ROW and n == 1 else outcome.row
        if not 0 <= row < n:
            misfits += 1
            continue
        latest[row] = outcome
        times[row] += 1
    columns = tuple(
        [None if each is None else getattr(each, name) for each in latest]
        for name in ("value", "label", "at", "received_at")
    )
    return (*columns, times), misfits


def _in_one_form(frame: pl.DataFrame) -> pl.DataFrame:
    """The truth as a number where a number was predicted, and as a text where a text was."""
    text, number = pl.col("label"), pl.col("value")
    truthful = pl.when(text.str.to_lowercase() == "true").then(1.0).when(text.str.to_lowercase() == "false").then(0.0)
    whole = number.cast(pl.Int64, strict=False)
    written = pl.when(whole == number).then(whole.cast(pl.String)).otherwise(number.cast(pl.String))
    is_number, is_text = pl.col("predicted").is_not_null(), pl.col("predicted_label").is_not_null()
    return frame.with_columns(
        value=pl.when(is_number & number.is_null())
        .then(truthful.otherwise(text.cast(pl.Float64, strict=False)))
        .otherwise(number),
        label=pl.when(is_text & text.is_null()).then(written).otherwise(text),
    )


def _input_columns(asked: Sequence[tuple[int, Mapping[str, NDArray[Any]]]]) -> list[pl.Series]:
    """The inputs as columns; numbers where all parts are numbers, texts otherwise, null where they were not kept."""
    columns = []
    for name in dict.fromkeys(name for _, inputs in asked for name in inputs):
        parts = [(n, inputs.get(name)) for n, inputs in asked]
        is_number = all(part is None or part.dtype.kind in "fiub" for _, part in parts)
        values: list[Any] = []
        for n, part in parts:
            if part is None:
                values += [None] * n
            elif is_number:
                values += part.astype(np.float64).tolist()
            else:
                values += [None if each is None else str(each) for each in part.tolist()]
        columns.append(pl.Series(f"input.{name}", values, dtype=pl.Float64 if is_number else pl.String))
    return columns
