"""A forecaster with learnt widths: the same forecasts, other ends, still in order and never below zero."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from everloop.core.errors import ModelError
from everloop.data.panel import Panel
from everloop.models.adapted import AdaptedForecaster, stretched
from everloop.models.asking import ask
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.stats.adaptive import Widths


def widths_of(factor80: float, factor95: float) -> Widths:
    start = Widths.start([80.0, 95.0], [5.0], through=0)
    factors = np.log(np.array([factor80, factor95]))[:, None, None] * np.ones((2, 2, 2))
    return Widths(start.levels, start.cuts, factors, 0)


def test_ends_are_stretched_in_order_and_not_below_zero() -> None:
    mean = np.array([[4.0, 10.0, 1.0]])
    lower = {80.0: mean - np.array([[1.0, 4.0, 1.0]]), 95.0: mean - np.array([[2.0, 5.0, 1.0]])}
    upper = {80.0: mean + np.array([[2.0, 4.0, np.nan]]), 95.0: mean + np.array([[4.0, 5.0, 8.0]])}
    lower[80.0][0, 2] = np.nan
    made = stretched(Forecast(np.arange(1), 0, mean, lower, upper), widths_of(2.0, 1.0))
    assert np.array_equal(made.lower[80.0], [[2.0, 2.0, np.nan]], equal_nan=True)
    assert np.array_equal(made.upper[80.0], [[8.0, 18.0, np.nan]], equal_nan=True)
    assert np.array_equal(made.lower[95.0], [[2.0, 2.0, 0.0]])
    assert np.array_equal(made.upper[95.0], [[8.0, 18.0, 9.0]]), "the wider level holds the narrower one"
    wide = stretched(Forecast(np.arange(1), 0, mean, lower, upper), widths_of(3.0, 3.0))
    assert np.nanmin(wide.lower[95.0]) == 0.0


def test_negative_targets_may_be_stretched_below_zero() -> None:
    mean = np.zeros((1, 1))
    made = stretched(Forecast(np.arange(1), 0, mean, {80.0: mean - 1}, {80.0: mean + 1}), widths_of(2.0, 2.0))
    assert (made.lower[80.0], made.upper[80.0]) == (-2.0, 2.0)


def test_it_answers_as_its_forecaster_does(make_panel: Callable[..., Panel], tmp_path: Path) -> None:
    panel = make_panel()
    model = SeasonalNaiveForecaster().fit(panel, FitContext(14))
    adapted = AdaptedForecaster(model, widths_of(1.5, 1.2))
    request = ForecastRequest(14, (80.0, 95.0))
    plain, wide = ask(model, request), ask(adapted.update(panel), request)
    assert np.array_equal(plain.mean, wide.mean)
    assert (wide.upper[80.0] >= plain.upper[80.0]).all()
    assert (wide.lower[95.0] >= 0).all()
    assert adapted.parameters() == model.parameters()
    adapted.save(tmp_path)
    again = SeasonalNaiveForecaster.load(tmp_path).forecast(request)
    assert np.array_equal(again.upper[80.0], plain.upper[80.0])
    with pytest.raises(ModelError, match="not fitted"):
        adapted.fit(panel, FitContext(14))
    with pytest.raises(ModelError, match="no files"):
        AdaptedForecaster.load(tmp_path)
    with pytest.raises(AttributeError):
        _ = adapted.nothing_of_the_kind
