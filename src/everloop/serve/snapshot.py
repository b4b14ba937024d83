"""Snapshots: the base scenario of every series, computed once for each release and state.

Most requests ask for what anybody asks: one series, the settings' horizon and levels, nothing changed. That answer
depends on the release and its state alone, so it is computed beside the answering of requests, in a thread, as soon
as a release or a state is loaded. Until that is done, and for every what-if, the model itself is asked: the same
numbers, later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.digest import canonical_json
from everloop.core.errors import EverloopError
from everloop.core.project import Project
from everloop.models.asking import ask
from everloop.models.forecaster import Forecast, ForecastRequest
from everloop.serve.answers import forecast_rows
from everloop.serve.loading import hasten_for_many
from everloop.serve.query import Resolved, fitting_horizon, fitting_levels
from everloop.serve.served import Served, instant_of
from everloop.store.values import ForecastValues

__all__ = ["Entry", "Snapshot", "SnapshotMaker", "take_snapshot"]

_log = logging.getLogger(__name__)

_ENTRY_BYTES = 64_000_000
_CHECKED_SERIES = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One series' answer, ready to send and to store.

    Attributes:
        body: the JSON of the answer after its prediction id.
        request: the query as it is stored.
        response: the numbers as they are stored.
    """

    body: bytes
    request: bytes
    response: bytes

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self.body) + len(self.request) + len(self.response)


@dataclass(slots=True, eq=False)
class Snapshot:
    """The base scenario of a loaded release.

    Attributes:
        served: the release in its state.
        horizon: steps.
        levels: interval levels in percent.
        mean: shape ``(series, horizon)``.
        lower: by level, likewise.
        upper: by level, likewise.
        notes: by series.
        first_time: the instant of the first step.
        last_time: that of the last one.
    """

    served: Served
    horizon: int
    levels: tuple[float, ...]
    mean: NDArray[np.float64]
    lower: dict[float, NDArray[np.float64]]
    upper: dict[float, NDArray[np.float64]]
    notes: tuple[tuple[str, ...], ...]
    first_time: datetime
    last_time: datetime
    _entries: OrderedDict[str, Entry] = field(default_factory=OrderedDict)
    _size: int = 0

    def values(self, resolved: Resolved) -> ForecastValues | None:
        """The numbers of a query, ``None`` where it asks for anything but the base scenario of one series."""
        request = resolved.request
        if (
            request.series is None
            or len(request.series) != 1
            or request.future
            or request.horizon != self.horizon
            or request.levels != self.levels
        ):
            return None
        return self._values(int(request.series[0]))

    def entry(self, key: str) -> Entry | None:
        """A series' answer; ``None`` for a series that the release does not know. Made when first asked for."""
        entry = self._entries.get(key)
        if entry is not None:
            return entry
        place = self.served.positions.get(key)
        if place is None:
            return None
        entry = self._make(key, self._values(place))
        self._entries[key] = entry
        self._size += entry.size
        while self._size > _ENTRY_BYTES:
            self._size -= self._entries.popitem(last=False)[1].size
        return entry

    def _values(self, place: int) -> ForecastValues:
        rows = slice(place, place + 1)
        return ForecastValues(
            series=(self.served.keys[place],),
            times=self.served.times[: self.horizon],
            mean=self.mean[rows],
            lower={level: bound[rows] for level, bound in self.lower.items()},
            upper={level: bound[rows] for level, bound in self.upper.items()},
            notes=self.notes[place],
        )

    def _make(self, key: str, values: ForecastValues) -> Entry:
        served = self.served
        tree = {
            "release": served.release.digest,
            "state": served.state,
            "cutoff": served.cutoff.isoformat(),
            "times": served.labels[: self.horizon],
            "forecasts": forecast_rows(values),
            "notes": values.notes,
        }
        record = {"series": [key], "horizon": self.horizon, "levels": list(self.levels), "future": {}}
        return Entry(
            body=msgspec.json.encode(tree)[1:],  # the opening brace and the id come before it
            request=canonical_json(record).encode(),
            response=values.pack(),
        )


def take_snapshot(project: Project, served: Served) -> Snapshot:
    """Compute the base scenario of all series.

    The numbers are those that the model gives when it is asked for one series, bit for bit: that is checked on some
    series, and where it does not hold, or the model has something to note, every series is asked alone.

    Raises:
        ModelError: the model fails.
        RequestError: the settings do not fit the release.
    """
    settings = project.settings
    horizon = fitting_horizon(None, default=settings.forecast.horizon, most=served.release.manifest.horizon)
    levels = fitting_levels(settings.forecast.levels)

    hasten_for_many(project, served)

    def asked(series: NDArray[np.int64] | None) -> Forecast:
        request = ForecastRequest(horizon, levels, series)
        return ask(served.model, request, missing_ahead=settings.data.missing_ahead)

    together = asked(None)
    n = len(served.keys)
    sample = np.unique(np.linspace(0, n - 1, min(n, _CHECKED_SERIES)).astype(np.int64))
    if not together.notes and all(_is_equal(together, asked(np.array([place])), int(place)) for place in sample):
        notes: Sequence[tuple[str, ...]] = [()] * n
    else:
        alone = [asked(np.array([place])) for place in range(n)]
        together = _stacked(alone, levels)
        notes = [each.notes for each in alone]
    return Snapshot(
        served,
        horizon,
        levels,
        together.mean,
        dict(together.lower),
        dict(together.upper),
        tuple(notes),
        first_time=instant_of(int(served.times[0])),
        last_time=instant_of(int(served.times[horizon - 1])),
    )


def _is_equal(together: Forecast, alone: Forecast, place: int) -> bool:
    pairs = [(together.mean, alone.mean)]
    pairs += [(together.lower[level], alone.lower[level]) for level in alone.lower]
    pairs += [(together.upper[level], alone.upper[level]) for level in alone.upper]
    return not alone.notes and all(np.array_equal(many[place : place + 1], one, equal_nan=True) for many, one in pairs)


def _stacked(alone: Sequence[Forecast], levels: tuple[float, ...]) -> Forecast:
    return Forecast(
        series=np.arange(len(alone)),
        cutoff=alone[0].cutoff,
        mean=np.concatenate([each.mean for each in alone]),
        lower={level: np.concatenate([each.lower[level] for each in alone]) for level in levels},
        upper={level: np.concatenate([each.upper[level] for each in alone]) for level in levels},
    )


class SnapshotMaker:
    """Keeps a snapshot of each release that answers, made in a thread of its own.

    Args:
        project: the project.
        most: releases with more series than this get none; 0 makes none at all.
    """

    def __init__(self, project: Project, *, most: int) -> None:
        self._project = project
        self._most = most
        self._made: dict[Served, Snapshot] = {}
        self._wanted: tuple[Served, ...] = ()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="everloop-snapshots", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop when the snapshot in hand is done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def want(self, served: Sequence[Served]) -> None:
        """Have a snapshot of each of these soon, the first one first, and forget all others."""
        with self._changed:
            self._wanted = tuple(each for each in served if len(each.keys) <= self._most)
            self._made = {each: made for each, made in self._made.items() if each in self._wanted}
            self._changed.notify()

    def of(self, served: Served) -> Snapshot | None:
        """The snapshot of a release in its state, where it is made."""
        return self._made.get(served)

    def _work(self) -> None:
        while (served := self._next()) is not None:
            started = time.perf_counter()
            try:
                made: Snapshot | None = take_snapshot(self._project, served)
            except EverloopError as error:
                _log.warning("no snapshot of release %s: %s", served.release.digest[:12], error)
                made = None
            except Exception:
                # A model of a user's own may fail in any way; requests still ask it, and its failures are seen there.
                _log.exception("no snapshot of release %s", served.release.digest[:12])
                made = None
            with self._changed:
                if made is None:
                    self._wanted = tuple(each for each in self._wanted if each is not served)
                elif served in self._wanted:
                    self._made = self._made | {served: made}
            _log.info("snapshot of %d series in %.2f s", len(served.keys), time.perf_counter() - started)

    def _next(self) -> Served | None:
        with self._changed:
            while True:
                if self._is_closed:
                    return None
                missing = next((each for each in self._wanted if each not in self._made), None)
                if missing is not None:
                    return missing
                self._changed.wait()
