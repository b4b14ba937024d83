"""The forecasters whose forecast follows from the tail keep every law, and their season is in the forecast."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest

from everloop.core.errors import ModelError
from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models.adida import ADIDAForecaster
from everloop.models.asking import ask
from everloop.models.catalog import make_forecaster
from everloop.models.checks import FORECASTER_CHECKS, Check
from everloop.models.croston import CrostonForecaster
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, Forecaster, ForecastRequest
from everloop.models.search import search_space_of

PANELS = example_panels()
FACTORIES: dict[str, Callable[[], Forecaster]] = {
    "croston": CrostonForecaster,
    "tsb": lambda: CrostonForecaster("tsb", 0.2),
    "adida": ADIDAForecaster,
    "imapa": lambda: ADIDAForecaster(multiple=True),
}


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("check", FORECASTER_CHECKS)
@pytest.mark.parametrize("name", FACTORIES)
def test_laws(name: str, check: Check, panel: str) -> None:
    check(FACTORIES[name], deepcopy(PANELS[panel]))


def panel_of(y: np.ndarray) -> Panel:
    n, periods = y.shape
    keys = tuple((f"{row:03d}",) for row in range(n))
    return Panel(
        Frequency.parse("1d"), ("item",), keys, 15_000, np.arange(n + 1) * periods, y.astype(np.float32).ravel()
    )


@pytest.mark.parametrize("name", FACTORIES)
def test_the_season_is_in_the_forecast(name: str) -> None:
    weekday = (15_000 - 280 + 1 + np.arange(287) + 3) % 7
    rate = np.where(weekday == 5, 3.0, 1.0)
    y = np.random.default_rng(2).poisson(rate, (60, 287))
    mean = ask(FACTORIES[name]().fit(panel_of(y[:, :280]), FitContext(7)), ForecastRequest(7)).mean
    is_saturday = weekday[280:] == 5
    assert 2.7 < mean[:, is_saturday].mean() / mean[:, ~is_saturday].mean() < 3.3
    assert 0.92 < mean.mean() / (9 / 7) < 1.08


def test_intervals_cover_what_comes() -> None:
    random = np.random.default_rng(4)
    rate = random.gamma(1.0, 1.0, 200)[:, None]
    y = random.poisson(np.broadcast_to(rate, (200, 434)))
    answer = ask(CrostonForecaster().fit(panel_of(y[:, :420]), FitContext(14)), ForecastRequest(14, (80.0, 95.0)))
    truth = y[:, 420:]
    for level in (80.0, 95.0):  # counts cover more than asked; 200 series of 14 days vary by 2 points
        inside = (truth >= answer.lower[level]) & (truth <= answer.upper[level])
        assert level / 100 - 0.025 < inside.mean() < level / 100 + 0.12


@pytest.mark.parametrize("name", ["croston", "adida", "theta"])
def test_defaults_lie_in_the_ranges_that_are_tuned(name: str) -> None:
    parameters = make_forecaster(name).parameters()
    space = search_space_of(name)
    assert space
    assert all(each.holds(parameters[parameter]) for parameter, each in space.items())


@pytest.mark.parametrize(
    ("options", "code"),
    [({"variant": "sbb"}, "croston_variant"), ({"alpha": 0.0}, "smoothing_weight"), ({"history": 0}, "history")],
)
def test_what_cannot_be_is_an_error(options: dict[str, object], code: str) -> None:
    with pytest.raises(ModelError) as raised:
        CrostonForecaster(**options).fit(PANELS["daily shop"], FitContext(7))  # type: ignore[arg-type]
    assert raised.value.code == code
