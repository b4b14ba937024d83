"""Series that a release has never seen: described by their static columns, answered from what they share with others.

Only the asked newcomers are put before the model, as series that begin with the next period. What they share with the
series that are known is in the model already; the known series' answers stay as they are, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import EverloopError, RequestError, nearest
from everloop.data.panel import Future, Panel
from everloop.models.asking import ask
from everloop.models.forecaster import Forecast, Forecaster, ForecastRequest

__all__ = ["Newcomer", "Newcomers", "described"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A series that is described.

    Attributes:
        key: the values of the series columns.
        static: each static column's value, as a model takes it: a number, the code of a text, or NaN.
        record: how it was asked, as JSON values.
    """

    key: tuple[str, ...]
    static: Mapping[str, float]
    record: Mapping[str, Any]


def described(key: tuple[str, ...], static: Any, panel: Panel, path: str) -> Newcomer:
    """A new series by its static columns; a value may be null where it is not known.

    Raises:
        RequestError: a column is missing or unknown, or has a value that no series has.
    """
    if not isinstance(static, Mapping):
        raise RequestError(
            "static_shape",
            f"'static' maps columns to values, not {static!r:.60}",
            hint=f"its columns are {', '.join(panel.static)}"
            if panel.static
            else 'this project has none: "static": {}',
            path=f"{path}.static",
        )
    if strange := [name for name in static if name not in panel.static]:
        hint = nearest(strange[0], panel.static) if panel.static else 'this project has none: "static": {}'
        raise RequestError(
            "static_column", f"{strange[0]!r} is no static column", hint=hint, path=f"{path}.static.{strange[0]}"
        )
    if missing := [name for name in panel.static if name not in static]:
        raise RequestError(
            "static_column",
            f"a new series is described by all static columns; {', '.join(missing)} is missing",
            hint="give null for what is not known",
            path=f"{path}.static.{missing[0]}",
        )
    values = {name: _value(static[name], panel.categories.get(name), f"{path}.static.{name}") for name in panel.static}
    record = {**dict(zip(panel.series_columns, key, strict=True)), "static": dict(static)}
    return Newcomer(key, values, record)


def _value(value: Any, texts: tuple[str, ...] | None, path: str) -> float:
    if value is None:
        return float("nan")
    if texts is not None:
        text = value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
        if text not in texts:
            raise RequestError(
                "static_value",
                f"{text[:60]!r} is no value that a series has",
                hint=f"{nearest(text[:60], texts)}; null stands for one that is not known",
                path=path,
            )
        return float(texts.index(text))
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(np.float32(value)):
        raise RequestError("static_value", f"expected a number, got {value!r:.60}", hint="or null", path=path)
    return float(value)


@dataclass(frozen=True, slots=True)
class Newcomers:
    """The new series among those asked.

    Attributes:
        places: where they stand in the request, rising, shape ``(k,)``.
        series: each as it was described.
    """

    places: Ints
    series: tuple[Newcomer, ...]

    def ask(
        self, model: Forecaster, request: ForecastRequest, panel: Panel, *, missing_ahead: Literal["last", "error"]
    ) -> Forecast:
        """The forecasts of all asked series, known and new, in the order asked.

        Args:
            model: the model in use.
            request: numbers of known series; those of new ones do not matter.
            panel: the panel that the model stands on.
            missing_ahead: as :func:`everloop.models.asking.ask` takes it.

        Raises:
            RequestError: the model cannot take up new series, or the request does not fit.
            ModelError: the model gave odd numbers.
        """
        asked = request.series if request.series is not None else np.empty(0, dtype=np.int64)
        known = np.setdiff1d(np.arange(len(asked)), self.places)
        answers: list[tuple[Ints, Forecast]] = []
        if len(known):
            answers.append((known, ask(model, _part(request, known, asked[known]), missing_ahead=missing_ahead)))
        order = sorted(range(len(self.series)), key=lambda number: self.series[number].key)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        own = _part(request, self.places, rank)
        grown = self._panel(panel, [self.series[number] for number in order], own, rank)
        try:
            newer = model.update(grown)
            answers.append((self.places, ask(newer, own, missing_ahead=missing_ahead)))
        except EverloopError:
            raise
        except Exception as error:
            # a user's own model may have never thought of it; that is no fault that it should be taken away for
            raise RequestError(
                "series_new",
                f"the model takes up no new series: {type(error).__name__}: {error}",
                hint="let its update() take a panel of other series",
                path="series",
            ) from error
        return _joined(request, answers, len(asked), len(self.series))

    def _panel(self, panel: Panel, series: Sequence[Newcomer], request: ForecastRequest, rank: Ints) -> Panel:
        """The newcomers' panel: one empty period each, and what is known of the time ahead."""
        n, steps = len(series), max(request.horizon, panel.future.steps)
        ahead: dict[str, Floats] = {}
        shared = _Ahead(panel, steps)
        for name in panel.known:
            ahead[name] = np.stack([shared.of(each, name) for each in series])
            if name in request.future:
                given = request.future[name][np.argsort(rank)]
                ahead[name][:, : request.horizon] = np.where(np.isnan(given), ahead[name][:, : request.horizon], given)
        nothing = np.full(n, np.nan, dtype=np.float32)
        return replace(
            panel,
            keys=tuple(each.key for each in series),
            offsets=np.arange(n + 1, dtype=np.int64),
            y=nothing,
            known={name: values[:, 0].copy() if steps else nothing for name, values in ahead.items()},
            observed=dict.fromkeys(panel.observed, nothing),
            static={name: np.array([each.static[name] for each in series], dtype=np.float32) for name in panel.static},
            future=Future(steps, ahead),
            marks=None,
        )


class _Ahead:
    """What is known ahead for all series, or for all of a store, say: a feast is no article's own."""

    def __init__(self, panel: Panel, steps: int) -> None:
        self._panel = panel
        self._steps = steps
        self._found: dict[tuple[str, str, Any], Floats | None] = {}

    def of(self, newcomer: Newcomer, name: str) -> Floats:
        """A column's values that all series agree on, or else all that share one of the newcomer's, shape ``(steps,)``.

        NaN where no such series agree.
        """
        columns = dict(zip(self._panel.series_columns, newcomer.key, strict=True)) | dict(newcomer.static)
        for column, value in [("", ""), *columns.items()]:
            place = (name, column, value)
            if place not in self._found:
                self._found[place] = self._agreed(name, column, value)
            found = self._found[place]
            if found is not None:
                return found
        return np.full(self._steps, np.nan, dtype=np.float32)

    def _agreed(self, name: str, column: str, value: Any) -> Floats | None:
        panel = self._panel
        values = panel.future.columns.get(name, np.empty((panel.n_series, 0), dtype=np.float32))
        if column in panel.static:
            values = values[panel.static[column] == np.float32(value)]
        elif column:
            at = panel.series_columns.index(column)
            values = values[[key[at] == value for key in panel.keys]]
        first = values[:1]
        if not len(values) or not ((values == first) | (np.isnan(values) & np.isnan(first))).all():
            return None
        found = np.full(self._steps, np.nan, dtype=np.float32)
        found[: values.shape[1]] = first[0, : self._steps]
        return found


def _part(request: ForecastRequest, places: Ints, series: Ints) -> ForecastRequest:
    return replace(request, series=series, future={name: values[places] for name, values in request.future.items()})


def _joined(request: ForecastRequest, answers: Sequence[tuple[Ints, Forecast]], n: int, new: int) -> Forecast:
    levels = [level for level in request.levels if all(level in answer.lower for _, answer in answers)]
    mean = np.empty((n, request.horizon))
    lower, upper = ({level: np.empty((n, request.horizon)) for level in levels} for _ in range(2))
    for places, answer in answers:
        mean[places] = answer.mean
        for level in levels:
            lower[level][places], upper[level][places] = answer.lower[level], answer.upper[level]
    told = f"{new} series {'is' if new == 1 else 'are'} new: forecast from what {'it has' if new == 1 else 'they have'}"
    notes = dict.fromkeys((f"{told} in common with others", *(note for _, each in answers for note in each.notes)))
    return Forecast(np.arange(n), answers[0][1].cutoff, mean, lower, upper, tuple(notes))
