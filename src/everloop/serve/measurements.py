"""Measurements of units, told over HTTP or from a file: what an experiment may be judged by beside the error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from everloop.core.clock import Clock
from everloop.core.errors import RequestError, nearest
from everloop.serve.entries import finite, instant, present, short_text, store_all, unknown_field
from everloop.serve.traffic import kept_unit
from everloop.store.engine import Store
from everloop.store.measurements import Measurement, add_measurements

__all__ = ["FIELDS", "ToldMeasurements", "tell_measurements"]

FIELDS = ("unit", "metric", "value", "at", "id")
_NEEDED = FIELDS[:4]
_LONGEST_ID = 64
_LONGEST_METRIC = 128
# no colon, which parts a name from its margin in release.guardrails
_METRIC = re.compile(r"\w[\w .\-]*")
_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ToldMeasurements:
    """What became of measurements: how many were new, and how many were known already."""

    stored: int
    duplicates: int


def tell_measurements(
    store: Store, clock: Clock, entries: Sequence[Mapping[str, Any]], *, source: str = "api"
) -> ToldMeasurements:
    """Check measurements and store them durably: all of them, or none.

    Args:
        store: the store.
        clock: the time of receipt.
        entries: each with ``unit`` (what a split draws by: a series, a customer), ``metric`` (a name), ``value``,
            ``at`` (ISO), and perhaps an ``id`` of the caller's, by which a repeat is known.
        source: where they come from.

    Raises:
        RequestError: one of them is wrong; ``path`` says which, and nothing is stored.
        UnavailableError: the store does not answer.
    """
    now = clock.now()
    rows = [_read(entry, place, now, source) for place, entry in enumerate(entries)]
    new = store_all(store, lambda tx: add_measurements(tx, rows))
    return ToldMeasurements(new, len(rows) - new)


def _read(entry: Mapping[str, Any], place: int, now: datetime, source: str) -> Measurement:
    unknown = unknown_field(entry, FIELDS)
    if unknown is not None:
        name = unknown[:80]
        raise _wrong("field_unknown", f"{name!r} is no field of a measurement", nearest(name, FIELDS), place, name)
    given = present(entry, _NEEDED)
    for name in _NEEDED:
        if name not in given:
            raise _wrong("field", f"a measurement needs {name!r}", "give unit, metric, value and at", place, name)
    return Measurement(
        received_at=now,
        unit=_unit(entry["unit"], place),
        metric=_metric(entry["metric"], place),
        at=_at(entry["at"], place, now),
        value=_value(entry["value"], place),
        source=source,
        id="" if entry.get("id") is None else _identifier(entry["id"], place),
    )


def _unit(given: Any, place: int) -> str:
    if isinstance(given, str | int) and not isinstance(given, bool) and given != "":
        return kept_unit(str(given))
    hint = "give what the split draws by: the series' text, the column's value, or what X-Everloop-Unit says"
    raise _wrong("measurement_unit", f"{given!r:.80} is no unit", hint, place, "unit")


def _metric(given: Any, place: int) -> str:
    if isinstance(given, str) and len(given) <= _LONGEST_METRIC and _METRIC.fullmatch(given):
        return given
    hint = f"give a name of at most {_LONGEST_METRIC} letters, digits, spaces, points, dashes or underscores"
    raise _wrong("measurement_metric", f"{given!r:.80} is no name of a metric", hint, place, "metric")


def _at(given: Any, place: int, now: datetime) -> datetime:
    try:
        at = instant(given)
    except ValueError as error:
        hint = "write a date or an ISO instant, such as 2026-05-01T12:00:00Z"
        raise _wrong("measurement_time", str(error), hint, place, "at") from None
    if at - now > _SKEW:
        hint = "is the machine's clock right?"
        raise _wrong("measurement_time", f"{given} lies in the future", hint, place, "at")
    return at


def _value(given: Any, place: int) -> float:
    try:
        return finite(given)
    except ValueError as error:
        raise _wrong("measurement_value", str(error), "give a finite number", place, "value") from None


def _identifier(given: Any, place: int) -> str:
    try:
        return short_text(given, _LONGEST_ID)
    except ValueError as error:
        raise _wrong("measurement_id", str(error), "shorten it, or leave it out", place, "id") from None


def _wrong(code: str, sentence: str, hint: str, place: int, name: str) -> RequestError:
    path = f"measurements[{place}].{name[:80]}"
    return RequestError(code, f"measurement {place}: {sentence}", hint=hint, path=path)
