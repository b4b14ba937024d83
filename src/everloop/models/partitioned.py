"""A model for each group of series: a department, a region, a class of items, each by its own.

Each series goes to the model of its group, whether it is asked alone, among others, or appeared after the fit. A
group that has too few series shares a model with the others that have; one that nobody knew when the models were
fitted is answered by that model, or else by that of the largest group, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, nearest
from everloop.data.panel import Future, Panel
from everloop.models.catalog import BUILT_IN, forecaster_class, make_forecaster
from everloop.models.forecaster import FitContext, Forecast, Forecaster, ForecastRequest
from everloop.models.state import load_head, load_panel, save_head, save_panel

__all__ = ["PARTITIONED", "PartitionedForecaster", "of_series"]

PARTITIONED = "partitioned"

Ints = NDArray[np.int64]
_PATH = f"train.options.{PARTITIONED}"


@dataclass(frozen=True, slots=True)
class _Part:
    """A fitted model and whom it answers for.

    Attributes:
        values: the groups, as texts; several share a model where each has too few series.
        name: the forecaster's name.
        model: the model.
        size: how many series it was fitted to.
    """

    values: tuple[str, ...]
    name: str
    model: Forecaster
    size: int


class PartitionedForecaster:
    """A built-in forecaster for each value of a static or series column.

    Args:
        by: the column.
        model: the forecaster of each group.
        models: other forecasters by the column's value, such as ``{"HOBBIES": "statistical"}``.
        options: the forecasters' own parameters by their names.
        least_series: groups with fewer series share one model.
    """

    memory: int = 0

    def __init__(
        self,
        by: str,
        model: str = "lightgbm",
        *,
        models: Mapping[str, str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        least_series: int = 1,
    ) -> None:
        self.by = by
        self.model = model
        self.models = models
        self.options = options
        self.least_series = least_series

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Fit the model of each group to its series.

        Raises:
            ModelError: the panel has no such column, a forecaster is not built in or is this one, options are given
                for none of them, or a model fails.
            UsageError: there is no such forecaster, or it takes no such option.
        """
        self._check(panel)
        groups = group_texts(panel, self.by)
        alone, shared = self._divided(panel, groups)
        parts, names = [], self.models or {}
        for values, name in [*((each, names.get(each[0], self.model)) for each in alone), (shared, self.model)]:
            rows = np.flatnonzero(np.isin(groups, values))
            if len(rows):
                model = make_forecaster(name, (self.options or {}).get(name)).fit(of_series(panel, rows), context)
                parts.append(_Part(values, name, model, len(rows)))
        self.stand_in_ = len(alone) if shared else int(np.argmax([part.size for part in parts]))
        return self._of(parts, panel)

    @property
    def horizon_(self) -> int:
        """The longest horizon that every model may be asked."""
        found = [getattr(part.model, "horizon_", None) for part in self.parts_]
        return min((each for each in found if isinstance(each, int)), default=0)

    def update(self, panel: Panel) -> Self:
        """A copy whose models stand at the panel's cutoff; new series go to the models of their groups."""
        new = type(self)(**self.parameters())
        new.stand_in_ = self.stand_in_
        owners = self._owners(panel, self.parts_)[0]
        parts = []
        for place, part in enumerate(self.parts_):
            rows = np.flatnonzero(owners == place)
            parts.append(replace(part, model=part.model.update(of_series(panel, rows))) if len(rows) else part)
        return new._of(parts, panel)

    def forecast(self, request: ForecastRequest) -> Forecast:
        """The forecasts of the asked series, each by its group's model."""
        series = np.arange(self.panel_.n_series) if request.series is None else request.series
        owners = self.owners_[series]
        answers, places = [], []
        for place in np.unique(owners).tolist():
            rows = np.flatnonzero(owners == place)
            future = {name: values[rows] for name, values in request.future.items()}
            own = replace(request, series=self.numbers_[series[rows]], future=future)
            answers.append(self.parts_[place].model.forecast(own))
            places.append(rows)
        return self._joined(series, request, answers, places)

    def series_panel(self) -> Panel:
        """The tail that the models need, of all groups."""
        return self.panel_

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        return {
            "by": self.by,
            "model": self.model,
            "models": dict(self.models or {}),
            "options": {name: dict(each) for name, each in (self.options or {}).items()},
            "least_series": self.least_series,
        }

    def learned(self) -> dict[str, Any]:
        """By model: its groups, its forecaster, how many series it was fitted to, and what its fit chose."""
        found = {}
        for part in self.parts_:
            tell = getattr(part.model, "learned", None)
            told = {"groups": list(part.values), "forecaster": part.name, "series": part.size}
            found[_shown(part.values)] = told | ({} if tell is None else {"learned": tell()})
        return found

    def save(self, folder: Path) -> None:
        """Write every model below a folder of its own, and the panel's tail."""
        parts = [{"values": list(part.values), "name": part.name, "size": part.size} for part in self.parts_]
        save_head(folder, {"parameters": self.parameters(), "parts": parts, "stand_in": self.stand_in_})
        save_panel(folder, self.panel_)
        for number, part in enumerate(self.parts_, start=1):
            own = folder / _folder(number)
            own.mkdir()
            part.model.save(own)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote."""
        head = load_head(folder)
        model = cls(**head["parameters"])
        model.stand_in_ = head["stand_in"]
        parts = []
        for number, each in enumerate(head["parts"], start=1):
            part = forecaster_class(each["name"]).load(folder / _folder(number))
            parts.append(_Part(tuple(each["values"]), each["name"], part, each["size"]))
        return model._of(parts, load_panel(folder))

    def _of(self, parts: Sequence[_Part], panel: Panel) -> Self:
        """This forecaster with fitted models that stand at the panel's cutoff."""
        self.parts_ = tuple(parts)
        self.memory = max(part.model.memory for part in parts)
        self.panel_ = panel.tail(self.memory)
        self.owners_, self.strangers_ = self._owners(panel, self.parts_)
        # a series' number among those of its model
        self.numbers_ = np.zeros(panel.n_series, dtype=np.int64)
        for place in range(len(parts)):
            rows = np.flatnonzero(self.owners_ == place)
            self.numbers_[rows] = np.arange(len(rows))
        return self

    def _divided(self, panel: Panel, groups: NDArray[np.str_]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
        """The groups that have a model of their own, and those that share one.

        Groups without any value teach nothing: where no other group shares a model, they are the largest one's.
        """
        there = np.zeros(panel.n_series, dtype=np.bool_)
        there[np.unique(panel.series_of_rows()[np.isfinite(panel.y)])] = True
        alone: list[tuple[str, ...]] = []
        small: list[str] = []
        sizes = []
        for value in np.unique(groups).tolist():
            rows = groups == value
            if rows.sum() >= self.least_series and there[rows].any():
                alone.append((value,))
                sizes.append(int(rows.sum()))
            else:
                small.append(value)
        if alone and not there[np.isin(groups, small)].any():
            largest = int(np.argmax(sizes))
            alone[largest] = (*alone[largest], *small)
            return alone, ()
        return alone, tuple(small)

    def _owners(self, panel: Panel, parts: Sequence[_Part]) -> tuple[Ints, NDArray[np.bool_]]:
        """The model of each series, and whether nobody knew its group when the models were fitted."""
        groups = group_texts(panel, self.by)
        place_of = {value: place for place, part in enumerate(parts) for value in part.values}
        values, which = np.unique(groups, return_inverse=True)
        owner = np.array([place_of.get(value, self.stand_in_) for value in values.tolist()], dtype=np.int64)
        is_strange = np.array([value not in place_of for value in values.tolist()], dtype=np.bool_)
        return owner[which], is_strange[which]

    def _joined(
        self, series: Ints, request: ForecastRequest, answers: Sequence[Forecast], places: Sequence[Ints]
    ) -> Forecast:
        """One forecast of those of the models."""
        shape = (len(series), request.horizon)
        levels = [level for level in request.levels if all(level in each.lower for each in answers)]
        mean = np.full(shape, np.nan)
        lower = {level: np.full(shape, np.nan) for level in levels}
        upper = {level: np.full(shape, np.nan) for level in levels}
        for answer, rows in zip(answers, places, strict=True):
            mean[rows] = answer.mean
            for level in levels:
                lower[level][rows] = answer.lower[level]
                upper[level][rows] = answer.upper[level]
        notes = dict.fromkeys(note for each in answers for note in each.notes)
        if self.strangers_[series].any():
            stand_in = _shown(self.parts_[self.stand_in_].values)
            notes[f"some series belong to a group of {self.by!r} without a model; that of {stand_in} answers"] = None
        return Forecast(series, self.panel_.cutoff, mean, lower, upper, tuple(notes))

    def _check(self, panel: Panel) -> None:
        names = {self.model, *(self.models or {}).values()}
        columns = sorted({*panel.static, *panel.series_columns})
        hint = "such as by = 'dept_id', model = 'lightgbm'"
        problem = ""
        if self.by not in columns:
            problem, hint = f"{self.by!r} is no static or series column", nearest(self.by, columns)
        elif PARTITIONED in names:
            problem = "a forecaster by group is no model of a group"
        elif own := sorted(names - set(BUILT_IN)):
            problem, hint = f"{own[0]!r} is not built in", nearest(own[0], BUILT_IN)
        elif unknown := set(self.options or {}) - names:
            problem = f"options are given for {', '.join(sorted(unknown))}, which models no group"
        elif strange := sorted(set(self.models or {}) - set(group_texts(panel, self.by).tolist())):
            problem = f"there is no {self.by} {strange[0]!r}"
            hint = nearest(strange[0], np.unique(group_texts(panel, self.by)).tolist())
        if problem:
            raise ModelError("partitioned_options", problem, hint=hint, path=_PATH)


def group_texts(panel: Panel, by: str) -> NDArray[np.str_]:
    """The group of each series as a text; empty where it is unknown.

    Raises:
        ModelError: the panel has no such column.
    """
    if by in panel.series_columns:
        place = panel.series_columns.index(by)
        return np.array([key[place] for key in panel.keys], dtype=np.str_)
    if by not in panel.static:
        raise ModelError(
            "partitioned_options", f"{by!r} is no static or series column", hint="is it in data.static?", path=_PATH
        )
    texts = panel.categories.get(by)
    values = panel.static[by].tolist()
    known = [value == value and (texts is None or 0 <= value < len(texts)) for value in values]
    return np.array(
        [
            "" if not is_known else f"{value:g}" if texts is None else texts[int(value)]
            for value, is_known in zip(values, known, strict=True)
        ],
        dtype=np.str_,
    )


def of_series(panel: Panel, numbers: Ints) -> Panel:
    """The panel with only some of its series, by their numbers in rising order."""
    rows = np.zeros(panel.n_series, dtype=np.bool_)
    rows[numbers] = True
    kept = np.repeat(rows, panel.lengths)
    return replace(
        panel,
        keys=tuple(panel.keys[number] for number in numbers.tolist()),
        offsets=np.concatenate([[0], np.cumsum(panel.lengths[numbers])]).astype(np.int64),
        y=panel.y[kept],
        known={name: values[kept] for name, values in panel.known.items()},
        observed={name: values[kept] for name, values in panel.observed.items()},
        static={name: values[numbers] for name, values in panel.static.items()},
        future=Future(panel.future.steps, {name: block[numbers] for name, block in panel.future.columns.items()}),
        marks=None if panel.marks is None else panel.marks.moved(kept),
    )


def _shown(values: Sequence[str]) -> str:
    return ", ".join(value or "(unknown)" for value in values)


def _folder(number: int) -> str:
    return f"part-{number}"
