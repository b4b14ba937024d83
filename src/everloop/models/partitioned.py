"""A model for each group of series: a department, a region, a class of items, each by its own.

Each series goes to the model of its group, whether it is asked alone, among others, or appeared after the fit. A
group that has too few series shares a model with the others that have; one that nobody knew when the models were
fitted is answered by that model, or else by that of the largest group, and the answer says so.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import ModelError, nearest
from everloop.data.panel import Panel
from everloop.models.catalog import BUILT_IN, forecaster_class, make_forecaster
from everloop.models.explaining import Predictor, TreeModel
from everloop.models.forecaster import FitContext, Forecast, Forecaster, ForecastRequest
from everloop.models.panel_groups import group_texts, of_series
from everloop.models.state import load_head, load_panel, save_head, save_panel

__all__ = ["GROUP_MODEL", "PARTITIONED", "Group", "PartitionedForecaster"]

PARTITIONED = "partitioned"
GROUP_MODEL = "lightgbm"
"""The forecaster of each group, unless another is named."""

Ints = NDArray[np.int64]
_PATH = f"train.options.{PARTITIONED}"


@dataclass(frozen=True, slots=True)
class Group:
    """Series that get a model of their own.

    Attributes:
        values: the column's values, as texts.
        name: the forecaster's name.
        series: their numbers, rising, shape ``(k,)``.
        is_shared: whether these are all that have too few series for a model of their own.
    """

    values: tuple[str, ...]
    name: str
    series: Ints
    is_shared: bool


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
        without: groups of features that are left out, of the forecasters that can; see ``everloop.models.groups``.
    """

    memory: int = 0

    def __init__(
        self,
        by: str = "",
        model: str = GROUP_MODEL,
        *,
        models: Mapping[str, str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        least_series: int = 1,
        without: Sequence[str] = (),
    ) -> None:
        self.by = by
        self.model = model
        self.models = models
        self.options = options
        self.least_series = least_series
        self.without = without

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Fit the model of each group to its series.

        Raises:
            ModelError: the panel has no such column, a forecaster is not built in or is this one, options are given
                for none of them, or a model fails.
            UsageError: there is no such forecaster, or it takes no such option.
        """
        groups = self.groups(panel)
        return self.with_models(panel, groups, [self.fit_group(panel, each, context) for each in groups])

    def groups(self, panel: Panel) -> tuple[Group, ...]:
        """Who gets a model; groups that share one come last.

        Raises:
            ModelError: the panel has no such column, a forecaster is not built in or is this one, or options are given
                for none of them.
        """
        self._check(panel)
        texts = group_texts(panel, self.by)
        alone, shared = self._divided(panel, texts)
        names = self.models or {}
        found = [(values, names.get(values[0], self.model), False) for values in alone]
        found += [(shared, self.model, True)] if shared else []
        return tuple(
            Group(values, name, np.flatnonzero(np.isin(texts, values)), is_shared) for values, name, is_shared in found
        )

    def fit_group(self, panel: Panel, group: Group, context: FitContext) -> Forecaster:
        """The model of a group; it depends on no other.

        Raises:
            ModelError: the model fails.
            UsageError: there is no such forecaster, or it takes no such option.
        """
        return self._new(group.name).fit(of_series(panel, group.series), context)

    def with_models(self, panel: Panel, groups: Sequence[Group], models: Sequence[Forecaster]) -> Self:
        """This forecaster with a fitted model for each group of :meth:`groups`."""
        parts = [
            _Part(group.values, group.name, model, len(group.series))
            for group, model in zip(groups, models, strict=True)
        ]
        self.stand_in_ = max(range(len(groups)), key=lambda place: (groups[place].is_shared, parts[place].size, -place))
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
            "without": list(self.without),
        }

    def learned(self) -> dict[str, Any]:
        """By model: its groups, its forecaster, how many series it was fitted to, and what its fit chose."""
        found = {}
        for part in self.parts_:
            tell = getattr(part.model, "learned", None)
            told = {"groups": list(part.values), "forecaster": part.name, "series": part.size}
            found[_shown(part.values)] = told | ({} if tell is None else {"learned": tell()})
        return found

    def boosters(self) -> list[tuple[Sequence[str], Predictor]]:
        """The trees of all models that have some, with the names of their features."""
        return [pair for part in self.parts_ if isinstance(part.model, TreeModel) for pair in part.model.boosters()]

    def with_boosters(self, boosters: Sequence[Predictor]) -> Self:
        """A copy that asks other predictors in place of its trees."""
        new = type(self)(**self.parameters())
        new.stand_in_ = self.stand_in_
        left = list(boosters)
        parts = []
        for part in self.parts_:
            if isinstance(part.model, TreeModel):
                own, left = left[: len(part.model.boosters())], left[len(part.model.boosters()) :]
                part = replace(part, model=part.model.with_boosters(own))
            parts.append(part)
        return new._of(parts, self.panel_)

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

    def _new(self, name: str) -> Forecaster:
        """A forecaster of a group, not yet fitted."""
        options = dict((self.options or {}).get(name, {}))
        if self.without and "without" in inspect.signature(forecaster_class(name)).parameters:
            options["without"] = [*options.get("without", ()), *self.without]
        return make_forecaster(name, options)

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
            problem = f"{self.by!r} is no static or series column" if self.by else "no column is named by which to part"
            hint = nearest(self.by, columns) if self.by else f"by = one of {', '.join(columns)}"
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


def _shown(values: Sequence[str]) -> str:
    return ", ".join(value or "(unknown)" for value in values)


def _folder(number: int) -> str:
    return f"part-{number}"
