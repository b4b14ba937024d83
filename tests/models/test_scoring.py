"""Rows in, rows out: what MLflow's scoring protocol sees."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from everloop.core.errors import RequestError
from everloop.models.asking import ask
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.scoring import score_rows

PANEL = example_panels()["daily shop"]
DAYS = [str(day) for day in PANEL.ahead(14).astype("M8[D]")]


@pytest.fixture(scope="module")
def model() -> LightGBMForecaster:
    return LightGBMForecaster(trees=20).fit(PANEL, FitContext(14))


def test_without_times_each_series_and_step_is_a_row(model: LightGBMForecaster) -> None:
    rows = score_rows(model, {"item": ["item 3", "item 0", "item 3"]}, horizon=2, levels=(80,), time="date")
    assert list(rows) == ["item", "date", "forecast", "lo-80", "hi-80"]
    assert rows["item"] == ["item 3", "item 3", "item 0", "item 0"]
    assert rows["date"] == DAYS[:2] * 2
    expected = ask(model, ForecastRequest(2, (80.0,), np.array([3, 0])))
    assert rows["forecast"] == expected.mean.ravel().tolist()
    assert rows["hi-80"] == expected.upper[80.0].ravel().tolist()
    assert len(score_rows(model, {"item": ["item 0"]})["forecast"]) == 14


def test_with_times_each_row_asked_is_a_row_in_its_order(model: LightGBMForecaster) -> None:
    times: list[Any] = [DAYS[4], date.fromisoformat(DAYS[0]), f"{DAYS[2]}T00:00:00Z", datetime.fromisoformat(DAYS[4])]
    rows = score_rows(model, {"item": ["item 1", "item 0", "item 1", "item 0"], "time": times})
    everything = ask(model, ForecastRequest(14)).mean
    assert rows["time"] == [DAYS[4], DAYS[0], DAYS[2], DAYS[4]]
    assert rows["forecast"] == [everything[1, 4], everything[0, 0], everything[1, 2], everything[0, 4]]


def test_zones_are_obeyed(model: LightGBMForecaster) -> None:
    midnight = datetime.fromisoformat(DAYS[1]).replace(tzinfo=UTC)
    elsewhere = midnight.astimezone(timezone(timedelta(hours=9)))
    rows = score_rows(model, {"item": ["item 1"] * 2, "time": [midnight, elsewhere.isoformat()]})
    assert rows["time"] == [DAYS[1]] * 2


def test_known_ahead_columns_are_what_ifs_of_their_rows_alone(model: LightGBMForecaster) -> None:
    plain = score_rows(model, {"item": ["item 2"] * 3, "time": DAYS[:3]})
    price = float(PANEL.future.columns["price"][2, 1])
    asked = {"item": ["item 2"] * 3, "time": DAYS[:3], "price": [None, price / 3, float("nan")], "event": [None] * 3}
    cheap = score_rows(model, asked)
    assert cheap["forecast"][1] != plain["forecast"][1]
    assert cheap["forecast"][0] == plain["forecast"][0]
    assert cheap["forecast"][2] == plain["forecast"][2]
    feast = score_rows(model, {"item": ["item 2"], "time": DAYS[:1], "event": ["feast"]})
    assert feast["forecast"][0] != plain["forecast"][0]


def test_no_interval_is_none() -> None:
    short = LightGBMForecaster(trees=2).fit(PANEL.tail(20), FitContext(14))
    rows = score_rows(short, {"item": ["item 0"]}, horizon=1, levels=(95,))
    assert rows["lo-95"] == [None]
    assert rows["hi-95"] == [None]


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"itm": ["item 0"]}, "column_unknown"),
        ({"time": [DAYS[0]]}, "column_missing"),
        ({"item": ["item 0"], "time": []}, "column_lengths"),
        ({"item": ["item 9"]}, "series_unknown"),
        ({"item": ["item 0"], "time": ["soon"]}, "time_value"),
        ({"item": ["item 0"], "time": [None]}, "time_value"),
        ({"item": ["item 0"], "time": [f"{DAYS[0]}T05:00:00"]}, "time_value"),
        ({"item": ["item 0"], "time": ["2001-01-01"]}, "time_past"),
        ({"item": ["item 0"], "time": ["2031-01-01"]}, "horizon"),
        ({"item": ["item 0"], "time": [DAYS[0]], "price": ["dear"]}, "future_value"),
        ({"item": ["item 0"], "time": [DAYS[0]], "event": ["faire"]}, "future_value"),
    ],
)
def test_rows_that_do_not_fit_are_refused(model: LightGBMForecaster, columns: dict[str, list[Any]], code: str) -> None:
    with pytest.raises(RequestError) as caught:
        score_rows(model, columns)
    assert caught.value.code == code
    assert caught.value.hint
