"""Outcomes of models of rows: what really came of a row, told by the id that its answer carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from everloop.core.clock import Clock
from everloop.core.errors import RequestError, nearest
from everloop.core.project import Project
from everloop.serve.entries import finite, instant, present, short_text, store_all, unknown_field
from everloop.store.engine import Store
from everloop.store.row_outcomes import ONLY_ROW, RowOutcome, add_row_outcomes, responses_of
from everloop.store.row_values import are_row_values, count_rows

__all__ = ["FIELDS", "ToldRows", "tell_row_outcomes"]

FIELDS = ("prediction_id", "row", "value", "label", "at", "id")
_LONGEST_PREDICTION = 36
_LONGEST_ID = 64
_LONGEST_LABEL = 1_000
_MOST_ROW = 2**31 - 1
_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ToldRows:
    """What became of outcomes of rows.

    Attributes:
        stored: how many were new.
        duplicates: how many were known already.
        unknown_predictions: ids that no stored answer has; their outcomes are kept, and count as soon as it comes.
    """

    stored: int
    duplicates: int
    unknown_predictions: tuple[str, ...] = ()


def tell_row_outcomes(
    project: Project, store: Store, clock: Clock, entries: Sequence[Mapping[str, Any]], *, source: str = "api"
) -> ToldRows:
    """Check outcomes of rows and store them durably: all of them, or none.

    Args:
        project: the project of a model of rows.
        store: its store.
        clock: the time of receipt.
        entries: each with ``prediction_id``; ``value`` (a number) or, for a classification, ``label`` (a text); and
            perhaps ``row`` (from 0; needed where the request had several), ``at`` (when it happened, ISO), and an
            ``id`` of the caller's, by which a repeat is known.
        source: where they come from.

    Raises:
        RequestError: one of them is wrong; ``path`` says which, and nothing is stored.
        UnavailableError: the store does not answer.
    """
    reader = _Reader(clock.now(), source, takes_labels=project.settings.project.task == "classification")
    rows = [reader.read(entry, place) for place, entry in enumerate(entries)]

    def put(tx: Connection) -> ToldRows:
        answered = {
            identifier: count_rows(stored) if are_row_values(stored) else 0
            for identifier, stored in responses_of(tx, {row.prediction for row in rows}).items()
        }
        fitting = [_fitting(row, answered.get(row.prediction), place) for place, row in enumerate(rows)]
        new = add_row_outcomes(tx, fitting)
        unknown = dict.fromkeys(row.prediction for row in rows if row.prediction not in answered)
        return ToldRows(new, len(rows) - new, tuple(unknown))

    return store_all(store, put)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads outcomes of rows, each checked by itself."""

    now: datetime
    source: str
    takes_labels: bool

    def read(self, entry: Mapping[str, Any], place: int) -> RowOutcome:
        unknown = unknown_field(entry, FIELDS)
        if unknown is not None:
            name = unknown[:80]
            raise _wrong("field_unknown", f"{name!r} is no field of an outcome", nearest(name, FIELDS), place, name)
        if entry.get("prediction_id") is None:
            hint = "the id stands in each answer, and as X-Everloop-Prediction"
            raise _wrong("field", "an outcome needs 'prediction_id'", hint, place, "prediction_id")
        if len(present(entry, ("value", "label"))) != 1:
            hint = "a label is for a classification whose classes are texts"
            raise _wrong("field", "an outcome needs 'value' or 'label', one of them", hint, place, "value")
        return RowOutcome(
            received_at=self.now,
            prediction=_text(entry["prediction_id"], "prediction_id", _LONGEST_PREDICTION, place),
            row=_row(entry.get("row"), place),
            value=self._value(entry.get("value"), place),
            label=self._label(entry.get("label"), place),
            at=self._at(entry.get("at"), place),
            source=self.source,
            id="" if entry.get("id") is None else _text(entry["id"], "id", _LONGEST_ID, place),
        )

    def _value(self, given: Any, place: int) -> float | None:
        if given is None:
            return None
        if isinstance(given, bool) and self.takes_labels:
            return float(given)
        try:
            return finite(given)
        except ValueError as error:
            raise _wrong("outcome_value", str(error), "give a finite number", place, "value") from None

    def _label(self, given: Any, place: int) -> str | None:
        if given is None:
            return None
        if not self.takes_labels:
            hint = 'give a number as "value"'
            raise _wrong("outcome_label", "the truth of a regression is no label", hint, place, "label")
        try:
            return short_text(given, _LONGEST_LABEL)
        except ValueError as error:
            raise _wrong("outcome_label", str(error), "give the class as a text", place, "label") from None

    def _at(self, given: Any, place: int) -> datetime | None:
        if given is None:
            return None
        try:
            at = instant(given)
        except ValueError as error:
            hint = "write a date or an ISO instant, such as 2026-05-01T12:00:00Z"
            raise _wrong("outcome_time", str(error), hint, place, "at") from None
        if at - self.now > _SKEW:
            raise _wrong("outcome_future", f"{given} lies in the future", "is the machine's clock right?", place, "at")
        return at


def _fitting(row: RowOutcome, rows: int | None, place: int) -> RowOutcome:
    """An outcome with its row's number, where the answer is there to tell it; ``rows`` is how many it has."""
    if rows is None:
        return row
    if row.row == ONLY_ROW and rows == 1:
        return replace(row, row=0)
    if row.row == ONLY_ROW:
        hint = f"say which: 0 to {rows - 1}"
        raise _wrong("outcome_row", f"prediction {row.prediction!r} has {rows} rows", hint, place, "row")
    if row.row >= rows:
        sentence = f"prediction {row.prediction!r} has no row {row.row}"
        raise _wrong("outcome_row", sentence, f"its rows are 0 to {rows - 1}", place, "row")
    return row


def _row(given: Any, place: int) -> int:
    if given is None:
        return ONLY_ROW
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= _MOST_ROW:
        hint = "give the number of the row in its request, from 0"
        raise _wrong("outcome_row", f"{given!r:.60} is no number of a row", hint, place, "row")
    return given


def _text(given: Any, name: str, most: int, place: int) -> str:
    try:
        return short_text(given, most)
    except ValueError as error:
        hint = "the id stands in each answer" if name == "prediction_id" else "shorten it, or leave it out"
        raise _wrong("outcome_id", str(error), hint, place, name) from None


def _wrong(code: str, sentence: str, hint: str, place: int, name: str) -> RequestError:
    return RequestError(code, f"outcome {place}: {sentence}", hint=hint, path=f"outcomes[{place}].{name[:80]}")
