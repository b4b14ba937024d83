"""Forecasters whose trees are compiled forecast what they forecast before."""

from __future__ import annotations

import pytest

from everloop.models.asking import ask
from everloop.models.booster import Booster
from everloop.models.compiled import machine
from everloop.models.compiled.forecasters import hasten_forecaster
from everloop.models.ensemble import EnsembleForecaster
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.seasonal_naive import SeasonalNaiveForecaster

REQUEST = ForecastRequest(6, (80.0,))

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="no compiler for this machine")


def test_forecasts_of_compiled_trees_are_the_same_to_the_bit() -> None:
    panel = example_panels()["daily shop"]
    model = EnsembleForecaster(["seasonal_naive", "lightgbm"], options={"lightgbm": {"trees": 60}})
    model = model.fit(panel, FitContext(6))
    before = ask(model, REQUEST)
    assert "compiled: " in hasten_forecaster(model)
    after = ask(model, REQUEST)
    assert after.mean.tobytes() == before.mean.tobytes()
    assert after.upper[80.0].tobytes() == before.upper[80.0].tobytes()


def test_boosters_of_one_text_share_what_was_made() -> None:
    panel = example_panels()["daily shop"]
    model = LightGBMForecaster(trees=60).fit(panel, FitContext(6))
    booster = model.boosters()[0][1]
    assert isinstance(booster, Booster)
    twin = model.with_boosters([Booster(booster.text)])
    assert hasten_forecaster(model) == hasten_forecaster(twin)


def test_a_model_without_trees_is_left_alone() -> None:
    model = SeasonalNaiveForecaster().fit(example_panels()["daily shop"], FitContext(6))
    assert hasten_forecaster(model) == ""
