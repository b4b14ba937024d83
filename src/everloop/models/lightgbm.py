"""LightGBM over all series at once: one model for the whole panel and every step of the horizon.

The trees see a season ahead (a week of days); a longer forecast goes in strides of that length, each from the
forecasts before it, since rows near their origin teach more of a series' level than rows far from it.
Targets are learnt relative to the series' own recent size (as an initial score under the Tweedie objective's log
link), so large and small series teach each other. Only training needs LightGBM's Python package; loading and
forecasting go through its C library alone (:mod:`everloop.models.booster`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from everloop.core.errors import ModelError, nearest
from everloop.core.seeds import derive_seed
from everloop.data.panel import Panel
from everloop.models.blocks import Block
from everloop.models.booster import Booster
from everloop.models.boosting import TreeOptions
from everloop.models.closing import closed_steps
from everloop.models.explaining import Predictor
from everloop.models.feature_spec import FeatureSpec
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from everloop.models.growing import Lessons
from everloop.models.intervals import ErrorPools, no_errors
from everloop.models.sampling import Scales, blocks
from everloop.models.search import Choice, Range, Real, Whole
from everloop.models.state import load_head, load_panel, save_head, save_panel
from everloop.models.trees import Trees

__all__ = ["LightGBMForecaster"]

_OBJECTIVES = ("auto", "tweedie", "regression")
_LEAST_HORIZONS = 20
_MANY_SERIES = 1_000
_YEAR_US = 365.25 * 86_400 * 1_000_000


class LightGBMForecaster:
    """Gradient-boosted trees on lags, rolling windows, the calendar and covariates of all series.

    Where no target is negative the objective is Tweedie, which knows zeros and a variance that grows with the
    mean, and no forecast is negative; else it is the squared error. The choice stands in :meth:`learned`.

    Args:
        trees: the number of trees.
        learning_rate: how much each tree adds.
        leaves: the most leaves of a tree.
        leaf_rows: the fewest rows of a leaf (fewer in a small panel).
        max_rows: the newest rows that a set of trees learns from; it bounds memory (about 300 bytes a row) and time.
        histories: years that a set of trees looks back at least, one set for each, where ``max_rows`` does not hold
            all rows of so long a time: it then learns from a random share of them. Where all rows fit, one set of
            trees learns from all of them.
        stride: how many steps ahead the trees see; 0 for a season, or for the whole horizon where it is shorter or
            where columns are observed, which nobody knows for the steps between.
        neighbours: whether events and promotions within a week of a target are features. They pay where events
            come often; where a history holds each only a few times, they explain what they did not cause.
        objective: ``"tweedie"``, ``"regression"`` or ``"auto"``.
        variance_power: of the Tweedie objective, between 1 (as Poisson's) and 2 (as the gamma distribution's).
        windows: on how many horizons of the last year, at most, the intervals are measured, by trees that have not
            seen them; see ``everloop.models.held_back``.
        without: groups of features that are left out, such as ``["price"]``; see ``everloop.models.groups``.
    """

    memory: int = 0

    @classmethod
    def search_space(cls) -> dict[str, Range]:
        """What may be tuned; names that the constructor does not take are left out by who reads it."""
        return {
            "trees": Whole(50, 600, log=True),
            "learning_rate": Real(0.02, 0.25, log=True),
            "leaves": Whole(8, 255, log=True),
            "leaf_rows": Whole(20, 500, log=True),
            "max_rows": Whole(200_000, 4_000_000, log=True),
            "variance_power": Real(1.05, 1.7),
            "neighbours": Choice((False, True)),
        }

    def __init__(
        self,
        trees: int = 200,
        learning_rate: float = 0.08,
        *,
        leaves: int = 63,
        leaf_rows: int = 100,
        max_rows: int = 1_500_000,
        histories: Sequence[float] = (1.5, 5.0),
        stride: int = 0,
        neighbours: bool = False,
        objective: str = "auto",
        variance_power: float = 1.1,
        windows: int = 52,
        without: Sequence[str] = (),
    ) -> None:
        self.trees = trees
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.leaf_rows = leaf_rows
        self.max_rows = max_rows
        self.histories = histories
        self.stride = stride
        self.neighbours = neighbours
        self.objective = objective
        self.variance_power = variance_power
        self.windows = windows
        self.without = without

    def fit(self, panel: Panel, context: FitContext) -> Self:
        """Learn trees and past errors.

        Raises:
            ModelError: the panel has no target at all, the objective does not fit the targets, or ``histories`` is
                empty.
        """
        objective = _chosen(self.objective, panel)
        spec = FeatureSpec.of(panel, self._stride(panel, context.horizon), neighbours=self.neighbours)
        scales = Scales.of(spec, panel)
        options = self._options(objective, context.seed)
        year = round(_YEAR_US / panel.frequency.step_us)
        lessons = Lessons(
            panel, spec, scales, options, self.max_rows, self.without, context.horizon, year, self.windows
        )
        grown = lessons.grow(self._reaches(panel, context.horizon), cores=context.threads)
        if panel.n_series >= _MANY_SERIES:
            _hasten([*grown.boosters, *grown.without])
        lowest = -np.inf if _has_negative(panel) else 0.0
        seed = derive_seed(context.seed, "lightgbm")
        none = ErrorPools.collect(no_errors(), horizon=1, lowest=lowest)
        judged = Trees(spec, context.horizon, scales, objective, 0, (), none, none)
        errors, launch_errors = (
            ErrorPools.collect(
                measure(panel, grown.held, grown.without, threads=context.threads),
                horizon=context.horizon,
                lowest=lowest,
                seed=seed,
            )
            for measure in (judged.errors_held_back, judged.launch_errors_held_back)
        )
        self.learned_ = replace(
            judged, rows=grown.rows, boosters=grown.boosters, errors=errors, launch_errors=launch_errors
        )
        self.memory = spec.memory
        self.panel_ = panel.tail(spec.memory)
        return self

    @property
    def horizon_(self) -> int:
        """The longest horizon that may be asked."""
        return self.learned_.horizon

    def update(self, panel: Panel) -> Self:
        """A copy that forecasts from the panel's newest rows with the same trees."""
        new = type(self)(**self.parameters())
        new.learned_, new.memory = self.learned_, self.memory
        new.panel_ = panel.tail(self.memory)
        return new

    def forecast(self, request: ForecastRequest) -> Forecast:
        """Forecast the asked series; known-ahead values in the request stand in for the stored ones."""
        learned, panel, horizon = self.learned_, self.panel_, request.horizon
        series = np.arange(panel.n_series) if request.series is None else request.series
        mean, spread = np.empty((2, len(series), horizon))
        is_unseen = np.zeros(len(series), dtype=np.bool_)
        is_open = ~closed_steps(panel, horizon)
        filled: set[str] = set()
        for part in blocks(len(series), learned.spec.memory):
            future = {name: values[part] for name, values in request.future.items()}
            block = Block.cut(
                panel, learned.spec, series[part], columns=learned.spec.memory, steps=horizon, future=future
            )
            mean[part], spread[part] = learned.ahead(block, is_open)
            is_unseen[part] = np.isnan(block.y).all(axis=1)
            filled |= set(block.filled)
        notes = tuple(f"{name}: last known value used where none is known ahead" for name in sorted(filled))
        point = Forecast(series, panel.cutoff, mean, notes=notes)
        return learned.with_intervals(point, spread, is_unseen, tuple(request.levels))

    def series_panel(self) -> Panel:
        """The tail of the panel last seen."""
        return self.panel_

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters."""
        numbers = ("trees", "learning_rate", "leaves", "leaf_rows", "max_rows", "stride", "variance_power", "windows")
        names = (*numbers, "neighbours", "objective")
        lists = {"histories": list(self.histories), "without": list(self.without)}
        return {**{name: getattr(self, name) for name in names}, **lists}

    def learned(self) -> dict[str, Any]:
        """What the fit chose, as JSON values: objective, rows learnt from, features, errors measured."""
        learned = self.learned_
        return {
            "objective": learned.objective,
            "rows": learned.rows,
            "sets_of_trees": len(learned.boosters),
            "stride": learned.spec.horizon,
            "features": len(learned.spec.names),
            "past_errors": int(learned.errors.scores.counts.sum()),
            "past_launch_errors": int(learned.launch_errors.scores.counts.sum()),
        }

    def boosters(self) -> list[tuple[list[str], Predictor]]:
        """The trees with the names of their features."""
        return [(self.learned_.spec.names, booster) for booster in self.learned_.boosters]

    def with_boosters(self, boosters: Sequence[Predictor]) -> Self:
        """A copy that asks another predictor in place of its trees."""
        new = self.update(self.panel_)
        new.learned_ = replace(self.learned_, boosters=tuple(boosters))
        return new

    def save(self, folder: Path) -> None:
        """Write trees, tail and past errors."""
        save_head(folder, {"parameters": self.parameters(), **self.learned_.head()})
        self.learned_.save(folder)
        save_panel(folder, self.panel_)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; LightGBM's Python package is not imported."""
        head = load_head(folder)
        model = cls(**head["parameters"])
        model.learned_ = Trees.load(head, folder)
        model.memory = model.learned_.spec.memory
        model.panel_ = load_panel(folder)
        return model

    def _reaches(self, panel: Panel, horizon: int) -> list[int]:
        """How many periods back each set of trees looks at least; one set where all rows can be learnt from."""
        if not self.histories or min(self.histories) <= 0:
            raise ModelError(
                "histories",
                "histories holds no years",
                hint="such as [1.5, 5]",
                path="train.options.lightgbm.histories",
            )
        n_rows = int((~np.isnan(panel.y)).sum())
        years = [max(self.histories)] if n_rows <= self.max_rows else sorted(self.histories)
        year = _YEAR_US / panel.frequency.step_us
        return [max(_LEAST_HORIZONS * horizon, round(each * year)) for each in years]

    def _stride(self, panel: Panel, horizon: int) -> int:
        """How many steps ahead the trees see."""
        if self.stride < 0:
            raise ModelError(
                "stride",
                f"trees cannot see {self.stride} steps ahead",
                hint="give the number of steps, or 0 for a season",
                path="train.options.lightgbm.stride",
            )
        season = panel.frequency.season
        chosen = season if season > 1 and not panel.observed else horizon
        return min(self.stride or chosen, horizon)

    def _options(self, objective: str, seed: int) -> TreeOptions:
        return TreeOptions(
            self.trees,
            self.learning_rate,
            self.leaves,
            self.leaf_rows,
            objective,
            self.variance_power,
            seed,
            threads=1,
        )


def _hasten(boosters: Sequence[Predictor | None]) -> None:
    """Let trees that are about to forecast very many rows do so by machine code, to the same bits."""
    from everloop.models.compiled.trial import hasten  # what no server needs before it answers

    for booster in boosters:
        if isinstance(booster, Booster):
            hasten(booster)


def _chosen(objective: str, panel: Panel) -> str:
    if objective not in _OBJECTIVES:
        raise ModelError("objective", f"{objective!r} is not an objective", hint=nearest(objective, _OBJECTIVES))
    has_negative = _has_negative(panel)
    if objective == "tweedie" and has_negative:
        raise ModelError("objective", "the Tweedie objective takes no negative target", hint="use objective = 'auto'")
    # with no sale at all the log link has nothing to hold on to
    has_positive = bool((panel.y > 0).any())
    return ("tweedie" if has_positive and not has_negative else "regression") if objective == "auto" else objective


def _has_negative(panel: Panel) -> bool:
    return bool((panel.y < 0).any())
