"""Windows held back by turns: they lie in their part, spread over a year, and tell of all its seasons."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.held_back import HeldBack
from everloop.models.lightgbm import LightGBMForecaster

HORIZON = 4
YEAR = 52


@pytest.mark.parametrize(
    ("horizon", "season", "year", "days"), [(42, 7, 365, 900), (28, 7, 365, 1900), (1, 7, 365, 400), (6, 52, 52, 250)]
)
def test_each_window_lies_in_its_part_alone(horizon: int, season: int, year: int, days: int) -> None:
    held = HeldBack.choose(cutoff=days, first=1, horizon=horizon, season=season, year=year, windows=52)
    seen = 0
    for part in range(held.parts):
        for origin in held.origins(part):
            assert set(held.part_of(origin + np.arange(1, horizon + 1))) == {part}
            seen += 1
    assert seen == held.windows
    whole = held.part_of(np.arange(1, days + 1))
    assert (whole[: days // 3] == -1).all(), "a third is never held back"
    assert (whole >= 0).sum() == len(held.blocks) * held.size
    shares = np.bincount(whole[whole >= 0]) / (whole >= 0).sum()
    assert len(shares) == held.parts
    assert shares.max() - shares.min() <= held.size / (whole >= 0).sum() + 1e-9


def test_windows_spread_over_a_year_and_end_at_the_cutoff() -> None:
    held = HeldBack.choose(cutoff=1900, first=1, horizon=28, season=7, year=365, windows=6)
    assert held.blocks[0] == 0
    assert held.blocks[-1] == 12
    assert held.windows == 6
    # a horizon of one day is measured on every weekday
    days = HeldBack.choose(cutoff=1900, first=1, horizon=1, season=7, year=365, windows=52)
    origins = np.concatenate([days.origins(part) for part in range(days.parts)])
    assert set(origins % 7) == set(range(7))


@pytest.mark.parametrize("history", [0, 1, 5])
def test_too_short_a_history_holds_nothing_back(history: int) -> None:
    held = HeldBack.choose(cutoff=history, first=1, horizon=14, season=7, year=365, windows=52)
    assert (held.parts, held.windows) == (0, 0)
    assert (held.part_of(np.arange(1, history + 1)) == -1).all()


def test_none_are_held_back_where_none_are_wanted() -> None:
    assert HeldBack.choose(cutoff=900, first=1, horizon=14, season=7, year=365, windows=0).parts == 0


def weekly(n: int = 40, weeks: int = 4 * YEAR, seed: int = 3) -> Panel:
    """Weekly sales that are four times as uneven in one half of the year, and shocks that all series share."""
    random = np.random.default_rng(seed)
    is_wild = np.arange(weeks) % YEAR < YEAR // 2
    level = np.exp(random.uniform(2, 5, n))[:, None]
    mean = level * np.exp(random.normal(0, 0.03, weeks))
    y = np.maximum(mean * (1 + random.normal(0, 1, (n, weeks)) * np.where(is_wild, 0.4, 0.1)), 0.0)
    keys = tuple((f"s{row:02d}",) for row in range(n))
    return Panel(Frequency.parse("1w"), ("item",), keys, 3000, np.arange(n + 1) * weeks, y.astype(np.float32).ravel())


def test_a_year_of_windows_is_covered_though_its_halves_err_differently() -> None:
    whole = weekly()
    off = []
    # forecasts of a year: half of them lie in wild months
    for back in range(HORIZON, YEAR + 1, HORIZON):
        panel = whole.until(whole.cutoff - back, horizon=HORIZON)
        answer = (
            LightGBMForecaster(trees=10)
            .fit(panel, FitContext(HORIZON))
            .forecast(ForecastRequest(HORIZON, (80.0, 95.0)))
        )
        truth = whole.last(back)[:, :HORIZON]
        off.append([((truth >= answer.lower[level]) & (truth <= answer.upper[level])).mean() for level in (80.0, 95.0)])
    covered = 100 * np.array(off).mean(axis=0)
    # by the newest three windows alone 95 % are 92.1
    assert abs(covered[0] - 80) < 2.5
    assert abs(covered[1] - 95) < 2


def test_one_series_with_a_short_past_has_intervals_and_the_same_bits_again() -> None:
    panel = weekly(n=1, weeks=YEAR)
    one, two = (
        LightGBMForecaster(trees=5).fit(panel, FitContext(1)).forecast(ForecastRequest(1, (80.0,))) for _ in range(2)
    )
    assert np.isfinite(one.lower[80.0]).all()
    assert np.array_equal(one.upper[80.0], two.upper[80.0])
