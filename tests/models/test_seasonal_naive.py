"""The seasonal naive, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.core.errors import ModelError
from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models import seasonal_naive
from everloop.models.asking import ask
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.seasonal_naive import SeasonalNaiveForecaster

NAN = float("nan")


def panel_of(*series: list[float], closed: frozenset[int] = frozenset()) -> Panel:
    return Panel(
        Frequency.parse("1d"),
        ("item",),
        tuple((f"s{row}",) for row in range(len(series))),
        15_000,
        np.concatenate([[0], np.cumsum([len(each) for each in series])]).astype(np.int64),
        np.array([value for each in series for value in each], dtype=np.float32),
        closed_weekdays=closed,
    )


def test_the_last_season_repeats() -> None:
    panel = panel_of([*range(100, 107), *range(1, 8)])
    answer = ask(SeasonalNaiveForecaster().fit(panel, FitContext(10)), ForecastRequest(10))
    assert answer.mean.tolist() == [[1, 2, 3, 4, 5, 6, 7, 1, 2, 3]]


def test_a_hole_is_filled_from_the_season_before() -> None:
    panel = panel_of([1, 2, 3, 4, 5, 6, 7, 11, NAN, 13, 14, NAN, 16, 17, NAN, NAN, 23, 24, 25, 26, 27])
    answer = ask(SeasonalNaiveForecaster().fit(panel, FitContext(7)), ForecastRequest(7))
    assert answer.mean.tolist() == [[11, 2, 23, 24, 25, 26, 27]]


def test_where_no_season_has_a_value_the_newest_one_stands_and_else_zero() -> None:
    panel = panel_of([5.0, NAN, 8.0], [NAN, NAN], [2.0])
    answer = ask(SeasonalNaiveForecaster().fit(panel, FitContext(7)), ForecastRequest(7))
    assert answer.mean[0].tolist() == [8, 8, 8, 8, 5, 8, 8]
    assert answer.mean[1].tolist() == [0] * 7
    assert answer.mean[2].tolist() == [2] * 7


def test_another_season_can_be_set() -> None:
    panel = panel_of([1.0, 2.0, 3.0, 4.0, 5.0])
    answer = ask(SeasonalNaiveForecaster(season=2).fit(panel, FitContext(3)), ForecastRequest(3))
    assert answer.mean.tolist() == [[4, 5, 4]]
    with pytest.raises(ModelError, match="season of 0"):
        SeasonalNaiveForecaster(season=0).fit(panel, FitContext(3))


@pytest.mark.parametrize("most_errors", [40_000_000, 60_000])
def test_intervals_cover_what_they_promise(monkeypatch: pytest.MonkeyPatch, most_errors: int) -> None:
    # with the errors of all series, and of some that are drawn
    monkeypatch.setattr(seasonal_naive, "_MOST_ERRORS", most_errors)
    random = np.random.default_rng(4)
    y = random.poisson(np.repeat(random.uniform(1, 30, 300), 300)).reshape(300, 300).astype(float)
    whole = panel_of(*y.tolist())
    model = SeasonalNaiveForecaster().fit(whole.until(whole.cutoff - 28), FitContext(28))
    assert (model.errors_.scores.counts.sum() < 70_000) == (most_errors < 70_000)
    answer = ask(model, ForecastRequest(28, (80.0, 95.0)))
    truth = y[:, -28:]
    for level in (80.0, 95.0):
        share = ((truth >= answer.lower[level]) & (truth <= answer.upper[level])).mean()
        assert level / 100 - 0.02 <= share <= level / 100 + 0.05
    assert min(values.min() for values in answer.lower.values()) >= 0


def test_targets_below_zero_keep_their_sign() -> None:
    panel = panel_of((np.tile([-3.0, 2.0, -1.0, 4.0, 0.0, 1.0, 5.0], 20) + np.arange(140) % 3).tolist())
    answer = ask(SeasonalNaiveForecaster().fit(panel, FitContext(7)), ForecastRequest(7, (50.0,)))
    assert answer.mean.min() < 0
    assert answer.lower[50.0].min() < 0
