"""Each kind of demand gets the method that forecast it best; new series are answered by their siblings."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models.asking import ask
from everloop.models.checks import FORECASTER_CHECKS, Check
from everloop.models.demand_kinds import KINDS, kinds_of
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.statistical import COMBINED, METHODS, StatisticalForecaster, _windows_back
from everloop.models.unseen import with_unseen

PANELS = example_panels()
CUTOFF, PERIODS = 15_003, 420


def panel_of(y: np.ndarray) -> Panel:
    """Series of equal length; leading NaN are cut off."""
    values = [row[~np.isnan(row)] for row in y]
    lengths = np.array([len(row) for row in values])
    keys = tuple((f"{row:03d}",) for row in range(len(y)))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Panel(Frequency.parse("1d"), ("item",), keys, CUTOFF, offsets, np.concatenate(values).astype(np.float32))


@cache
def shop() -> Panel:
    """60 items that sell daily about a wandering level, 60 that are dying out slowly, and 40 launches."""
    random = np.random.default_rng(0)
    level = 20 * np.exp(np.cumsum(random.normal(0, 0.05, (60, PERIODS)), axis=1))
    daily = random.poisson(level)
    rate = 0.4 * np.exp(-np.arange(PERIODS) / 120.0)
    dying = np.where(random.random((60, PERIODS)) < rate, 1 + random.poisson(1.0, (60, PERIODS)), 0)
    new = random.poisson(3.0, (40, PERIODS)).astype(np.float64)
    for row in range(40):
        new[row, : 60 + 8 * row] = np.nan
        new[row, 60 + 8 * row] = 3.0
    new[39, : PERIODS - 5] = np.nan
    return panel_of(np.concatenate([daily, dying, new]).astype(np.float64))


@cache
def fitted() -> StatisticalForecaster:
    return StatisticalForecaster().fit(shop(), FitContext(14))


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("check", FORECASTER_CHECKS)
def test_laws(check: Check, panel: str) -> None:
    check(StatisticalForecaster, deepcopy(PANELS[panel]))


def test_the_kinds_of_demand() -> None:
    time = np.arange(120)
    y = np.stack(
        [
            np.full(120, 5.0),
            np.where(time % 4 == 0, 20.0, 1.0),
            np.where(time % 3 == 0, 5.0, 0.0),
            np.where(time % 3 == 0, np.where(time % 12 == 0, 40.0, 1.0), 0.0),
            np.where(time < 80, np.nan, 3.0),
            np.zeros(120),
        ]
    )
    found = [KINDS[number] for number in kinds_of(y, 56).tolist()]
    assert found == ["smooth", "erratic", "intermittent", "lumpy", "short", "intermittent"]


def test_the_choice_is_that_of_least_error_and_stands_in_learned() -> None:
    learned = fitted().learned()
    for kind, told in learned["errors"].items():
        if told["forecasts"] >= 30:
            errors = {name: told[name] for name in (*METHODS, COMBINED)}
            assert learned["methods"][kind] == min(errors, key=lambda name: errors[name])
            assert min(errors.values()) == 1.0
    # what dies out is forecast too high by a mean of the past
    assert learned["errors"]["intermittent"]["mean"] > 1.0
    # a wandering level is followed by what looks at the newest days
    assert learned["methods"]["smooth"] in ("smoothing", "theta", "adida", "imapa", "tsb", COMBINED)


def test_the_choice_reads_nothing_after_the_cutoff() -> None:
    panel = shop()
    spoiled = panel.y.copy()
    late = panel.index_of_rows() > CUTOFF - 14
    spoiled[late] += 1000
    one = StatisticalForecaster().fit(panel.until(CUTOFF - 14), FitContext(14))
    two = StatisticalForecaster().fit(replace(panel, y=spoiled).until(CUTOFF - 14), FitContext(14))
    np.testing.assert_array_equal(one.mean_, two.mean_)
    assert one.learned() == two.learned()


def test_new_and_unseen_series_sell_like_their_siblings() -> None:
    panel = with_unseen(shop(), [("zzz",)], {}, {})
    answer = ask(fitted().update(panel), ForecastRequest(14, (80.0,)))
    young, unseen = panel.position(("159",)), panel.position(("zzz",))
    for row in (young, unseen):
        assert 1.5 < answer.mean[row].mean() < 5.0
        assert (answer.upper[80.0][row] > answer.mean[row]).all()
    assert answer.mean[unseen].mean() > 0


def test_what_is_loaded_has_learnt_the_same(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    again = StatisticalForecaster.load(tmp_path)
    assert again.learned() == fitted().learned()


@pytest.mark.parametrize(
    ("periods", "windows", "backs"), [(700, 4, [336, 224, 140, 28]), (60, 13, [28]), (55, 13, []), (700, 0, [])]
)
def test_errors_are_measured_on_windows_spread_over_a_year(periods: int, windows: int, backs: list[int]) -> None:
    assert _windows_back(_flat(periods), windows, 28) == backs


def _flat(periods: int) -> Panel:
    offsets = np.array([0, periods])
    return Panel(Frequency.parse("1d"), ("item",), (("a",),), 20_000, offsets, np.ones(periods, dtype=np.float32))
