"""Outcomes: what really happened, told over HTTP, by the command line or from a file, through one function."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Connection

from everloop.core.clock import Clock
from everloop.core.errors import RequestError, nearest
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data.panel import join_key, split_key
from everloop.serve.entries import finite, instant, short_text, store_all
from everloop.store.engine import Store
from everloop.store.facts import Outcome, add_outcomes, has_prediction

__all__ = ["Told", "tell_outcomes"]

_FIELDS = ("series", "time", "value", "prediction_id", "id")
_LONGEST_ID = 64
_LONGEST_SERIES = 1_000


@dataclass(frozen=True, slots=True)
class Told:
    """What became of outcomes.

    Attributes:
        stored: how many were new.
        duplicates: how many were known already.
        unknown_series: series that no release forecasts yet; their outcomes are kept for the next training.
    """

    stored: int
    duplicates: int
    unknown_series: tuple[str, ...]


def tell_outcomes(
    project: Project,
    store: Store,
    clock: Clock,
    entries: Sequence[Mapping[str, Any]],
    *,
    known: Collection[str] | None = None,
    source: str = "api",
) -> Told:
    """Check outcomes and store them durably: all of them, or none.

    Args:
        project: the project.
        store: its store.
        clock: the time of receipt.
        entries: each with ``series`` (a text, or a mapping of the series columns), ``time`` (ISO), ``value``, and
            perhaps ``prediction_id`` and an ``id`` of the caller's, by which a repeat is known.
        known: the series that are forecast, where that is known.
        source: where they come from.

    Raises:
        RequestError: one of them is wrong; ``path`` says which, and nothing is stored.
        UnavailableError: the store does not answer.
    """
    reader = _Reader(project, clock.now(), source)
    rows = [reader.read(entry, place) for place, entry in enumerate(entries)]
    new = store_all(store, lambda tx: _put(tx, rows))
    missing = () if known is None else tuple(dict.fromkeys(row.series for row in rows if row.series not in known))
    return Told(new, len(rows) - new, missing)


def _put(tx: Connection, rows: Sequence[Outcome]) -> int:
    named: dict[str, int] = {}
    for place, row in enumerate(rows):
        if row.prediction is not None:
            named.setdefault(row.prediction, place)
    for identifier, place in named.items():
        if not has_prediction(tx, identifier):
            raise _wrong(
                "prediction_unknown",
                f"there is no prediction {identifier!r}",
                "leave prediction_id out where it is not known",
                place,
                "prediction_id",
            )
    return add_outcomes(tx, rows)


class _Reader:
    """Reads outcomes, each checked against the project's columns, grid and contract."""

    def __init__(self, project: Project, now: datetime, source: str) -> None:
        data = project.settings.data
        self._columns = data.series
        self._now = now
        self._source = source
        self._is_negative_bad = data.contract.negative_target == "quarantine"
        self._is_future_bad = data.contract.future_rows == "quarantine"
        self._frequency = Frequency.parse(data.frequency)

    def read(self, entry: Mapping[str, Any], place: int) -> Outcome:
        for name in entry:
            if name not in _FIELDS:
                hint = nearest(str(name)[:80], _FIELDS)
                raise _wrong("field_unknown", f"{str(name)[:80]!r} is no field of an outcome", hint, place, str(name))
        for name in _FIELDS[:3]:
            if entry.get(name) is None:
                raise _wrong("field", f"an outcome needs {name!r}", "give series, time and value", place, name)
        series = self._series(entry["series"], place)
        time = self._time(entry["time"], place)
        value = self._value(entry["value"], place)
        prediction = _text(entry.get("prediction_id"), "prediction_id", place)
        identifier = _text(entry.get("id"), "id", place) or Outcome.content_id(series, time, value, prediction)
        return Outcome(identifier, self._now, prediction, series, time, value, self._source)

    def _series(self, given: Any, place: int) -> str:
        if isinstance(given, str):
            parts = split_key(given) if "\x00" not in given else ()
            if len(parts) == len(self._columns) and all(parts) and len(given) <= _LONGEST_SERIES:
                return join_key(parts)
        elif isinstance(given, Mapping) and sorted(map(str, given)) == sorted(self._columns):
            values = [given[name] for name in self._columns]
            if all(map(_is_name, values)) and sum(len(str(each)) for each in values) <= _LONGEST_SERIES:
                return join_key(tuple(str(each) for each in values))
        form = "/".join(name.upper() for name in self._columns)
        raise _wrong(
            "outcome_series",
            f"{given!r:.80} does not name a series",
            f"write {form}, or a mapping of {', '.join(self._columns)}",
            place,
            "series",
        )

    def _time(self, given: Any, place: int) -> datetime:
        hint = "write a date or an ISO instant, such as 2026-05-01"
        try:
            time = instant(given)
            is_on_grid = self._is_on_grid(time)
        except (ValueError, OverflowError):
            raise _wrong("outcome_time", f"{given!r:.60} is no time", hint, place, "time") from None
        if not is_on_grid:
            step = self._frequency.text
            raise _wrong("outcome_time", f"{given} is not on the grid of {step}", hint, place, "time")
        if self._is_future_bad and time > self._now + timedelta(microseconds=self._frequency.step_us):
            raise _wrong(
                "outcome_future", f"{given} lies in the future", "is the machine's clock right?", place, "time"
            )
        return time

    def _is_on_grid(self, time: datetime) -> bool:
        """Whether an instant can be on the grid; where weeks and counted steps begin is for the table to say."""
        if self._frequency.is_monthly or self._frequency.unit in ("d", "w"):
            return time.time() == datetime.min.time()
        instant = np.array([time.replace(tzinfo=None)], "M8[us]")
        return self._frequency.count > 1 or bool(self._frequency.is_on_grid(instant)[0])

    def _value(self, given: Any, place: int) -> float:
        try:
            value = finite(given)
        except ValueError as error:
            raise _wrong("outcome_value", str(error), "give a finite number", place, "value") from None
        if value < 0 and self._is_negative_bad:
            hint = "the contract takes none below zero; see data.contract.negative_target"
            raise _wrong("outcome_value", f"{value:g} is below zero", hint, place, "value")
        return value


def _is_name(value: Any) -> bool:
    """Whether a value can name a series; no database but SQLite takes a NUL in a text."""
    if isinstance(value, str):
        return value != "" and "\x00" not in value
    return isinstance(value, int) and not isinstance(value, bool)


def _text(given: Any, name: str, place: int) -> str | None:
    if given is None:
        return None
    try:
        return short_text(given, _LONGEST_ID)
    except ValueError as error:
        raise _wrong("outcome_id", str(error), "shorten it, or leave it out", place, name) from None


def _wrong(code: str, sentence: str, hint: str, place: int, name: str) -> RequestError:
    return RequestError(code, f"outcome {place}: {sentence}", hint=hint, path=f"outcomes[{place}].{name[:80]}")
