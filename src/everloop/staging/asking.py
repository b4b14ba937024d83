"""The questions of a rehearsal, put to a loaded release in each way in which a server answers them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import RequestError
from everloop.core.project import Project
from everloop.models.tabular.example import rows_of
from everloop.models.tabular.predictor import Rows
from everloop.release.bundle import Release, examples_of
from everloop.serve.answers import compute_values, forecast_rows
from everloop.serve.query import ForecastQuery
from everloop.serve.served import Served
from everloop.serve.snapshot import take_snapshot
from everloop.serve.tabular.joining import join_rows
from everloop.serve.tabular.served import ServedRows

__all__ = ["Answers", "Asked", "ForecastsAsked", "RowsAsked", "asked_reach", "chosen", "plain", "row_values"]

Answers = dict[str, dict[str, list[Any]]]

_SERIES = 16


class Asked(Protocol):
    """A release that is asked."""

    @property
    def n(self) -> int:
        """How many single questions there are."""

    def answers(self) -> dict[str, Answers]:
        """The answers to all questions, by the way they are served."""

    def ask(self, place: int) -> object:
        """Answer one question, up to the bytes that would be sent."""


class ForecastsAsked:
    """A forecaster's series, each asked for alone.

    Args:
        project: the project; its horizon and levels are asked.
        served: the loaded release.
    """

    def __init__(self, project: Project, served: Served) -> None:
        self._project = project
        self._served = served
        self._keys = [served.keys[place] for place in chosen(len(served.keys))]
        self._horizon, self._levels = asked_reach(project, served.release)

    @property
    def n(self) -> int:
        """How many series are asked for."""
        return len(self._keys)

    def answers(self) -> dict[str, Answers]:
        """By the model asked for each series, and from the snapshot that most requests are answered from."""
        found = {"by the model": {key: _forecast(self.ask(place)) for place, key in enumerate(self._keys)}}
        if 0 < len(self._served.keys) <= self._project.settings.serve.snapshot_series:
            try:
                snapshot = take_snapshot(self._project, self._served)
            except RequestError:
                return found  # the settings ask for more than this release reaches; a server makes no snapshot either
            entries = {key: snapshot.entry(key) for key in self._keys}
            found["from the snapshot"] = {
                key: _forecast(b"{" + entry.body) for key, entry in entries.items() if entry is not None
            }
        return found

    def ask(self, place: int) -> bytes:
        """The answer for one series as JSON."""
        query = ForecastQuery((self._keys[place],), self._horizon, self._levels)
        values, _ = compute_values(self._project, self._served, query)
        return msgspec.json.encode({"forecasts": forecast_rows(values)})


class RowsAsked:
    """The example rows of a model of rows.

    Args:
        served: the loaded release.
    """

    def __init__(self, served: ServedRows) -> None:
        examples = examples_of(served.release)
        self._predictor = served.predictor
        self._main = served.signature.outputs[0].name
        self._defaults = {each.name: each.default for each in served.signature.parameters}
        self._rows: Rows | None = rows_of(served.signature, examples) if examples else None

    @property
    def n(self) -> int:
        """How many rows are asked."""
        return 0 if self._rows is None else self._rows.n

    def answers(self) -> dict[str, Answers]:
        """Each row asked alone, and all of them together."""
        if self._rows is None or not self._rows.n:
            return {}
        together = self._predictor.predict(self._rows, self._defaults)[self._main]
        alone = np.concatenate([self._row(place) for place in range(self.n)])
        return {"alone": row_values(self._main, alone), "together": row_values(self._main, together)}

    def ask(self, place: int) -> bytes:
        """The answer for one row as JSON."""
        return msgspec.json.encode(plain(self._row(place)))

    def _row(self, place: int) -> NDArray[Any]:
        assert self._rows is not None
        return self._predictor.predict(join_rows([self._rows], take=[place]), self._defaults)[self._main]


def chosen(n: int) -> list[int]:
    """The numbers of the series that are asked for, spread over all of them."""
    return [int(each) for each in np.unique(np.linspace(0, n - 1, min(n, _SERIES)).astype(np.int64))] if n else []


def asked_reach(project: Project, release: Release) -> tuple[int, tuple[float, ...]]:
    """The horizon and levels that are asked: the settings', as far as the release reaches."""
    forecast = project.settings.forecast
    return min(forecast.horizon, release.manifest.horizon), tuple(float(level) for level in forecast.levels)


def row_values(name: str, values: NDArray[Any]) -> Answers:
    """The values of an output by row."""
    return {f"row {place}": {name: plain(row)} for place, row in enumerate(np.asarray(values))}


def plain(values: Any) -> list[Any]:
    """Values as they read when they were sent as JSON."""
    found: list[Any] = msgspec.json.decode(msgspec.json.encode(np.asarray(values).ravel().tolist()))
    return found


def _forecast(content: bytes) -> dict[str, list[Any]]:
    [row] = msgspec.json.decode(content)["forecasts"]
    return {name: values for name, values in row.items() if name != "series"}
