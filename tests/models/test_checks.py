"""The built-in forecasters keep every law, and each law catches a forecaster that breaks it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from everloop.data.panel import Panel
from everloop.models.catalog import BUILT_IN, make_forecaster
from everloop.models.checks import FORECASTER_CHECKS, Check, check_forecaster
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, Forecast, Forecaster, ForecastRequest
from everloop.models.pickled import PickledForecaster
from everloop.models.seasonal_naive import SeasonalNaiveForecaster

PANELS = example_panels()
TREES = {"lightgbm": {"trees": 20}}
OPTIONS = TREES | {
    "ensemble": {"members": ["seasonal_naive", "lightgbm"], "options": TREES},
    "partitioned": {"by": "item", "options": TREES},
}


class MeanForecaster(PickledForecaster):
    """A user's own forecaster, as short as can be: the mean of the last periods."""

    def __init__(self, periods: int = 28) -> None:
        self.periods = periods

    def fit(self, panel: Panel, context: FitContext) -> Self:
        self.memory = self.periods
        self.horizon_ = context.horizon
        self.panel_ = panel.tail(self.periods)
        return self

    def update(self, panel: Panel) -> Self:
        return type(self)(self.periods).fit(panel, FitContext(self.horizon_))

    def forecast(self, request: ForecastRequest) -> Forecast:
        block = self.panel_.last(self.periods).astype(np.float64)
        there = ~np.isnan(block)
        means = np.where(there, block, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        series = np.arange(len(means)) if request.series is None else request.series
        mean = np.repeat(means[series, None], request.horizon, axis=1)
        nothing = {level: np.full(mean.shape, np.nan) for level in request.levels}
        return Forecast(series, self.panel_.cutoff, mean, nothing, nothing)


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
@pytest.mark.parametrize("check", FORECASTER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*BUILT_IN, "own"])
def test_forecasters_keep_the_laws(name: str, check: Check, panel: Panel) -> None:
    check(MeanForecaster if name == "own" else lambda: make_forecaster(name, OPTIONS.get(name)), panel)


class Faulty(SeasonalNaiveForecaster):
    """Forecasts as it should; each heir breaks one law."""

    def bend(self, answer: Forecast, request: ForecastRequest) -> Forecast:
        return answer

    def forecast(self, request: ForecastRequest) -> Forecast:
        return self.bend(super().forecast(request), request)


class LearnsInConstructor(Faulty):
    def __init__(self, season: int | None = None) -> None:
        super().__init__(season)
        self.season_ = 7


class SavesNoise(Faulty):
    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "noise").write_bytes(os.urandom(8))


class FillsThePanel(Faulty):
    def fit(self, panel: Panel, context: FitContext) -> Self:
        np.nan_to_num(panel.y, copy=False)
        panel.y[0] = 1.0
        return super().fit(panel, context)


class GivesNaN(Faulty):
    def bend(self, answer: Forecast, request: ForecastRequest) -> Forecast:
        return replace(answer, mean=np.where(answer.series[:, None] == 0, np.nan, answer.mean))


class LooksAhead(Faulty):
    def fit(self, panel: Panel, context: FitContext) -> Self:
        super().fit(panel, context)
        base = panel.y.base
        self.peeked_ = 0.0 if base is None or base.size <= panel.y.size else float(base.ravel()[panel.y.size])
        return self

    def update(self, panel: Panel) -> Self:
        new = super().update(panel)
        new.peeked_ = 0.0
        return new

    def bend(self, answer: Forecast, request: ForecastRequest) -> Forecast:
        shift = getattr(self, "peeked_", 0.0)
        return replace(answer, mean=answer.mean + shift, upper={k: v + shift for k, v in answer.upper.items()})


class MixesSeries(Faulty):
    def bend(self, answer: Forecast, request: ForecastRequest) -> Forecast:
        mean = answer.mean + 1e-9 * answer.mean.mean()
        return replace(answer, mean=mean)


class DependsOnOrder(Faulty):
    def bend(self, answer: Forecast, request: ForecastRequest) -> Forecast:
        nudge = 1e-9 * np.arange(len(answer.mean))[:, None]
        return replace(answer, mean=answer.mean + nudge)


class DependsOnHorizon(Faulty):
    def bend(self, answer: Forecast, request: ForecastRequest) -> Forecast:
        return replace(answer, mean=answer.mean + 1e-9 * request.horizon)


class CrossesLevels(Faulty):
    def bend(self, answer: Forecast, request: ForecastRequest) -> Forecast:
        wide = max(request.levels, default=0.0)
        lower = {level: answer.mean - (0.1 if level == wide else 1.0) for level in answer.lower}
        upper = {level: answer.mean + (0.1 if level == wide else 1.0) for level in answer.upper}
        return replace(answer, lower=lower, upper=upper)


class UpdatesToOther(Faulty):
    def update(self, panel: Panel) -> Self:
        new = super().update(panel)
        new.panel_ = replace(new.panel_, y=new.panel_.y * np.float32(1.1))
        return new


class UpdatesItself(Faulty):
    def update(self, panel: Panel) -> Self:
        self.panel_ = panel.tail(self.memory)
        return self


class ForgetsItsMemory(Faulty):
    def fit(self, panel: Panel, context: FitContext) -> Self:
        super().fit(panel, context)
        self.needed_, self.memory = self.memory, 2
        return self

    def update(self, panel: Panel) -> Self:
        new = type(self)(self.season)
        new.season_, new.horizon_, new.errors_ = self.season_, self.horizon_, self.errors_
        new.needed_, new.memory = self.needed_, 2
        new.panel_ = panel.tail(self.needed_)
        return new

    def forecast(self, request: ForecastRequest) -> Forecast:
        self.memory = self.needed_
        try:
            return super().forecast(request)
        finally:
            self.memory = 2


class LosesErrors(Faulty):
    @classmethod
    def load(cls, folder: Path) -> Self:
        model = super().load(folder)
        model.panel_ = replace(model.panel_, y=np.round(model.panel_.y / 2))
        return model


class SpreadsWhatIfs(Faulty):
    def bend(self, answer: Forecast, request: ForecastRequest) -> Forecast:
        values = [np.nanmax(each, initial=0.0) for each in request.future.values()]
        return replace(answer, mean=answer.mean + 1e-9 * max(values, default=0.0))


class RefusesNewSeries(Faulty):
    def update(self, panel: Panel) -> Self:
        new = super().update(panel)
        if set(panel.keys) - set(self.panel_.keys):
            raise KeyError("a new series")
        return new


class FailsOnShortSeries(Faulty):
    def fit(self, panel: Panel, context: FitContext) -> Self:
        if (panel.lengths < 10).any():
            raise ValueError("too short")
        return super().fit(panel, context)


FAULTY: dict[str, type[Any]] = {
    "check_constructor": LearnsInConstructor,
    "check_same_bytes": SavesNoise,
    "check_panel_untouched": FillsThePanel,
    "check_finite": GivesNaN,
    "check_no_leak": LooksAhead,
    "check_single": MixesSeries,
    "check_order": DependsOnOrder,
    "check_shorter": DependsOnHorizon,
    "check_levels": CrossesLevels,
    "check_update_same": UpdatesToOther,
    "check_update_new": UpdatesItself,
    "check_memory": ForgetsItsMemory,
    "check_round_trip": LosesErrors,
    "check_what_if": SpreadsWhatIfs,
    "check_new_series": RefusesNewSeries,
    "check_odd_series": FailsOnShortSeries,
}


def test_every_check_has_a_forecaster_that_breaks_it() -> None:
    assert set(FAULTY) == {check.__name__ for check in FORECASTER_CHECKS}


@pytest.mark.parametrize("check", FORECASTER_CHECKS, ids=lambda check: check.__name__)
def test_a_broken_law_is_found(check: Check) -> None:
    check(Faulty, PANELS["daily shop"])
    results = check_forecaster(FAULTY[check.__name__], {"daily shop": example_panels()["daily shop"]})
    found = {result.check: result for result in results}[check.__name__]
    assert found.status == "failed"
    assert found.reason
    assert found.law in str(found)


def test_a_law_can_be_left_out_with_a_reason() -> None:
    class Noisy(SavesNoise):
        skipped_checks = {"check_same_bytes": "keeps a nonce", "check_round_trip": "keeps a nonce"}  # noqa: RUF012

    results = check_forecaster(Noisy, {"daily shop": PANELS["daily shop"]})
    assert {result.status for result in results} == {"passed", "skipped"}
    assert {result.reason for result in results if result.status == "skipped"} == {"keeps a nonce"}


def test_the_protocol_is_what_the_built_ins_have() -> None:
    for name in BUILT_IN:
        assert isinstance(make_forecaster(name), Forecaster)
