"""What ``ask`` refuses, what it makes zero, and which faulty answers it finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from everloop.core.errors import ModelError, RequestError
from everloop.models.asking import ask
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, Forecast, ForecastRequest
from everloop.models.seasonal_naive import SeasonalNaiveForecaster

PANEL = example_panels()["daily shop"]


@pytest.fixture(scope="module")
def model() -> SeasonalNaiveForecaster:
    return SeasonalNaiveForecaster().fit(PANEL, FitContext(14))


def nans(n: int, steps: int) -> np.ndarray:
    return np.full((n, steps), np.nan, dtype=np.float32)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (ForecastRequest(0), "horizon", "0 steps"),
        (ForecastRequest(15), "horizon", "at most 14 steps"),
        (ForecastRequest(3, (100.0,)), "level", "100"),
        (ForecastRequest(3, (0.0,)), "level", "level"),
        (ForecastRequest(3, series=np.array([5])), "series_unknown", "from 0 to 4"),
        (ForecastRequest(3, series=np.array([-1])), "series_unknown", "from 0 to 4"),
        (ForecastRequest(3, future={"prise": nans(5, 3)}), "future_unknown", "prise"),
        (ForecastRequest(3, future={"visitors": nans(5, 3)}), "future_unknown", "visitors"),
        (ForecastRequest(3, future={"price": nans(5, 4)}), "future_shape", "shape"),
        (ForecastRequest(3, future={"price": np.full((5, 3), np.inf, np.float32)}), "future_value", "infinite"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(
    model: SeasonalNaiveForecaster, request_: ForecastRequest, code: str, text: str
) -> None:
    with pytest.raises(RequestError, match=text) as caught:
        ask(model, request_)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_near_name_is_offered(model: SeasonalNaiveForecaster) -> None:
    with pytest.raises(RequestError) as caught:
        ask(model, ForecastRequest(3, future={"prise": nans(5, 3)}))
    assert "'price'" in caught.value.hint


def test_closed_weekdays_are_zero_and_their_interval_too(model: SeasonalNaiveForecaster) -> None:
    answer = ask(model, ForecastRequest(14, (80.0,)))
    closed = np.array([day.astype(object).weekday() == 6 for day in PANEL.ahead(14).astype("M8[D]")])
    assert closed.sum() == 2
    for values in (answer.mean, answer.lower[80.0], answer.upper[80.0]):
        assert (values[:, closed] == 0).all()
    assert (answer.mean[:, ~closed] > 0).any()


def test_a_missing_known_ahead_value_can_be_an_error(model: SeasonalNaiveForecaster) -> None:
    bare = model.update(replace(PANEL, future=replace(PANEL.future, steps=0, columns={})))
    ask(bare, ForecastRequest(2))
    with pytest.raises(RequestError, match="'price' of series 'item 0' is not known at step 1") as caught:
        ask(bare, ForecastRequest(2), missing_ahead="error")
    assert caught.value.code == "future_missing"
    given = {"price": np.ones((1, 2), dtype=np.float32)}
    ask(bare, ForecastRequest(2, series=np.array([1]), future=given), missing_ahead="error")
    ask(model, ForecastRequest(14), missing_ahead="error")


class Bent(SeasonalNaiveForecaster):
    """Answers with one field replaced."""

    changes: dict[str, Any]

    def forecast(self, request: ForecastRequest) -> Forecast:
        return replace(super().forecast(request), **self.changes)


ONES = np.ones((5, 3))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mean": np.ones((5, 2))}, "forecast_shape"),
        ({"series": np.arange(5)[::-1]}, "forecast_shape"),
        ({"mean": np.full((5, 3), np.nan)}, "forecast_value"),
        ({"mean": np.full((5, 3), np.inf)}, "forecast_value"),
        ({"lower": {}}, "forecast_levels"),
        (
            {"mean": ONES, "lower": {80.0: 2 * ONES, 95.0: ONES}, "upper": {80.0: 3 * ONES, 95.0: 3 * ONES}},
            "forecast_levels",
        ),
        (
            {"mean": ONES, "lower": {80.0: 0 * ONES, 95.0: 0.5 * ONES}, "upper": {80.0: ONES, 95.0: ONES}},
            "forecast_levels",
        ),
        ({"mean": ONES, "lower": {80.0: ONES, 95.0: ONES}, "upper": {80.0: 2 * ONES, 95.0: ONES}}, "forecast_levels"),
        (
            {"mean": ONES, "lower": {80.0: ONES, 95.0: -np.inf * ONES}, "upper": {80.0: ONES, 95.0: ONES}},
            "forecast_value",
        ),
        (
            {"mean": ONES, "lower": {80.0: np.nan * ONES, 95.0: ONES}, "upper": {80.0: ONES, 95.0: ONES}},
            "forecast_value",
        ),
    ],
)
def test_a_faulty_answer_is_an_error(changes: dict[str, Any], code: str) -> None:
    model = Bent()
    model.fit(replace(PANEL, closed_weekdays=frozenset()), FitContext(3))
    model.changes = changes
    with pytest.raises(ModelError) as caught:
        ask(model, ForecastRequest(3, (80.0, 95.0)))
    assert caught.value.code == code


def test_no_interval_is_no_fault() -> None:
    model = Bent()
    model.fit(PANEL, FitContext(3))
    nothing = {80.0: np.nan * ONES, 95.0: np.nan * ONES}
    model.changes = {"lower": nothing, "upper": nothing}
    answer = ask(model, ForecastRequest(3, (80.0, 95.0)))
    closed = answer.mean[0] == 0
    assert np.isnan(answer.lower[95.0][:, ~closed]).all()
