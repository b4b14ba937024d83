"""The numbers of our walk equal statsforecast's; odd series and updates are handled."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsforecast.ets import ets_f, forecast_ets, forward_ets

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models import smoothing
from everloop.models.asking import ask
from everloop.models.ets import ETSForecaster
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.smoothing import Smoothing, fit_smoothing

PANELS = example_panels()


def weekly_wave(n: int, periods: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    time = np.arange(periods)
    level = 20 + 5 * np.arange(n)[:, None] + np.cumsum(random.normal(0, 0.3, (n, periods)), axis=1)
    return level + 6 * np.sin(2 * np.pi * time / 7)[None, :] + random.normal(0, 1.5, (n, periods)) + 0.05 * time


def panel_of(y: np.ndarray) -> Panel:
    n, periods = y.shape
    return Panel(
        Frequency.parse("1d"),
        ("item",),
        tuple((f"s{row:02d}",) for row in range(n)),
        15_000,
        np.arange(n + 1) * periods,
        y.astype(np.float32).ravel(),
    )


def smoothing_of(fitted: dict[str, Any], first: int) -> Smoothing:
    """The state before the first period of a fit of statsforecast's."""
    blank = fit_smoothing(np.full((1, 5), np.nan), fitted["m"], 0, has_trend=False, threads=1)
    arrays = {name: getattr(blank, name).copy() for name in blank.__slots__}
    smoothing._store(arrays, 0, fitted["components"], fitted["par"], first)
    return Smoothing(**arrays)


FORMS = [("ANN", False), ("ANA", False), ("AAN", False), ("AAA", False), ("AAN", True), ("AAA", True)]


@pytest.mark.parametrize(("form", "damped"), FORMS)
def test_walking_equals_statsforecast(form: str, damped: bool) -> None:
    y = weekly_wave(3, 140)
    for row in range(3):
        fitted = ets_f(y[row, :126], 7, model=form, damped=damped)
        later = forward_ets(fitted, y[row])
        # statsforecast adds phi + phi + phi^2 + ... to a damped trend's far steps; the book says phi + phi^2 + ...
        steps = 1 if damped else 10
        ours = smoothing_of(fitted, 3).advance(y[row : row + 1, :126], 3)
        np.testing.assert_allclose(ours.ahead(3 + 126, steps)[0], forecast_ets(fitted, h=10)["mean"][:steps], rtol=1e-9)
        ours = ours.advance(y[row : row + 1, 126:], 3 + 126)
        np.testing.assert_allclose(ours.ahead(3 + 140, steps)[0], forecast_ets(later, h=10)["mean"][:steps], rtol=1e-9)
        np.testing.assert_allclose(ours.level, later["states"][-1, 0], rtol=1e-9)


def test_a_damped_trend_dies_out() -> None:
    one = np.ones(1)
    state = Smoothing(one, one, 0 * one, 0.5 * one, 10 * one, 8 * one, np.zeros((1, 1)))
    assert state.ahead(0, 3).tolist() == [[14.0, 16.0, 17.0]]


def test_the_chosen_form_is_statsforecasts() -> None:
    y = weekly_wave(4, 140)
    ours = fit_smoothing(y, 7, 0, has_trend=False, threads=1).advance(y, 0).ahead(140, 14)
    for row in range(4):
        peer = ets_f(y[row], 7, model="ANZ", damped=False)
        np.testing.assert_allclose(ours[row], forecast_ets(peer, h=14)["mean"], rtol=1e-9)


def test_shared_work_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    y = weekly_wave(4, 100)
    alone = fit_smoothing(y, 7, 0, has_trend=False, threads=1)
    monkeypatch.setattr(smoothing, "_MANY", 2)
    shared = fit_smoothing(y, 7, 0, has_trend=False, threads=2)
    for name in alone.__slots__:
        np.testing.assert_array_equal(getattr(shared, name), getattr(alone, name))


def test_a_closed_weekday_shortens_the_season() -> None:
    y = weekly_wave(2, 210)
    panel = panel_of(y)
    days = panel.frequency.times(panel.index_of_rows()).astype("M8[D]").astype(np.int64)
    is_sunday = (days + 3) % 7 == 6
    holed = replace(panel, y=np.where(is_sunday, np.float32(np.nan), panel.y), closed_weekdays=frozenset({6}))
    model = ETSForecaster().fit(holed, FitContext(14))
    assert model.start_.season.shape[1] == 6
    answer = ask(model, ForecastRequest(14, (80.0,)))
    closed = (np.array([day.astype(object).weekday() for day in panel.ahead(14).astype("M8[D]")])) == 6
    assert (answer.mean[:, closed] == 0).all()
    compact = y[:, ~is_sunday[:210]].astype(np.float32).astype(np.float64)
    for row in range(2):
        peer = forecast_ets(ets_f(compact[row], 6, model="ANZ", damped=False), h=int((~closed).sum()))["mean"]
        np.testing.assert_allclose(answer.mean[row, ~closed], peer, rtol=1e-6)


def test_an_update_walks_on_and_days_one_by_one_equal_all_at_once() -> None:
    y = weekly_wave(3, 300)
    whole = panel_of(y)
    model = ETSForecaster(history=120).fit(whole.until(whole.cutoff - 40), FitContext(7))
    at_once = model.update(whole)
    one_by_one = model
    for back in range(39, -1, -1):
        one_by_one = one_by_one.update(whole.until(whole.cutoff - back).tail(120))
    np.testing.assert_array_equal(one_by_one.mean_, at_once.mean_)
    assert not np.array_equal(at_once.mean_, model.mean_)


def test_a_corrected_row_counts() -> None:
    whole = panel_of(weekly_wave(2, 200))
    model = ETSForecaster().fit(whole, FitContext(7))
    y = whole.y.copy()
    y[-3] += 50
    assert (model.update(replace(whole, y=y)).mean_[1] > model.mean_[1]).any()


def test_too_little_history_is_smoothed_plainly() -> None:
    y = np.array([[3.0, 5.0, np.nan, 4.0, 4.0]])
    state = fit_smoothing(y, 7, 0, has_trend=False, threads=1)
    assert state.level.tolist() == [4.0]
    assert state.ahead(5, 2).tolist() == [[4.0, 4.0]]


def test_months_get_a_trend_and_days_do_not() -> None:
    rising = np.arange(60.0)[None, :] + np.random.default_rng(0).normal(0, 0.5, (1, 60))
    months = replace(panel_of(rising), frequency=Frequency.parse("1mo"), cutoff=500)
    assert ETSForecaster().fit(months, FitContext(6)).mean_[0, -1] > 61
    assert ETSForecaster(trend=False).fit(months, FitContext(6)).mean_[0, -1] < 61
    assert ETSForecaster(trend=True).fit(panel_of(rising), FitContext(6)).mean_[0, -1] > 61


def test_a_season_above_24_is_left_out() -> None:
    weeks = replace(panel_of(weekly_wave(1, 200)), frequency=Frequency.parse("1w"), cutoff=2000)
    model = ETSForecaster().fit(weeks, FitContext(6))
    assert not model.start_.season.any()
    assert np.ptp(model.mean_) == 0


def test_loading_needs_neither_statsforecast_nor_pandas(tmp_path: Path) -> None:
    ETSForecaster().fit(PANELS["daily shop"], FitContext(7)).save(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from everloop.models.asking import ask\n"
        "from everloop.models.ets import ETSForecaster\n"
        "from everloop.models.forecaster import ForecastRequest\n"
        "model = ETSForecaster.load(Path(sys.argv[1]))\n"
        "ask(model.update(model.series_panel()), ForecastRequest(7, (80.0,)))\n"
        "heavy = ('statsforecast', 'pandas', 'scipy', 'sklearn', 'polars', 'joblib')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
