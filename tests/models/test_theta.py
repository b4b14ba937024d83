"""The theta method's numbers equal statsforecast's for the same parameters, and its parameters err no more."""

from __future__ import annotations

import numpy as np
import pytest
from statsforecast.theta import forecast_theta, thetamodel

from everloop.core.errors import ModelError
from everloop.models.checks import check_forecaster
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext
from everloop.models.theta import ThetaForecaster
from everloop.models.theta_method import Theta, fit_theta


def wandering(n: int = 6, periods: int = 90, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 30 + 0.1 * np.arange(periods) * np.arange(n)[:, None] + np.cumsum(random.normal(0, 1, (n, periods)), axis=1)


FORMS = {"STM": (0.5, False), "OTM": (None, False), "DSTM": (0.5, True), "DOTM": (None, True)}


@pytest.mark.parametrize("form", FORMS)
def test_numbers_equal_statsforecasts(form: str) -> None:
    share, is_dynamic = FORMS[form]
    y = wandering()
    ours = fit_theta(y, share=share, is_dynamic=is_dynamic)
    for row in range(len(y)):
        theta = min(1 / (1 - ours.share[row]), 1e9) if ours.share[row] < 1 else 1e9
        peer = thetamodel(y[row], 1, form, float(ours.first[row]), float(ours.alpha[row]), float(theta), 3)
        np.testing.assert_allclose(ours.ahead(12)[row], forecast_theta(peer, 12)["mean"], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_parameters_err_no_more_than_statsforecasts(form: str) -> None:
    share, is_dynamic = FORMS[form]
    y = wandering()
    ours = fit_theta(y, share=share, is_dynamic=is_dynamic)
    for row in range(len(y)):
        peer = thetamodel(y[row], 1, form, np.nan, np.nan, np.nan, 3)
        assert ours.squares[row] <= 1.003 * float((peer["residuals"] ** 2).sum())


def test_the_classical_method_is_smoothing_with_half_the_trend() -> None:
    """Hyndman and Billah (2003): far steps rise by half the slope of the fitted line."""
    y = wandering()
    ahead = fit_theta(y).ahead(400)
    slope = np.polyfit(np.arange(y.shape[1]), y.T, 1)[0]
    np.testing.assert_allclose(ahead[:, -1] - ahead[:, -2], slope / 2, rtol=1e-6)


def test_gaps_short_and_empty_series() -> None:
    y = np.full((4, 60), np.nan)
    y[0, ::2] = np.arange(30.0)
    y[1, 30:] = np.arange(30.0)
    y[2, -3:] = [1.0, 2.0, 3.0]
    found = fit_theta(y)
    np.testing.assert_allclose(found.ahead(5)[0], found.ahead(5)[1], rtol=1e-12)
    assert found.ahead(5)[2].tolist() == [2.0] * 5
    assert found.ahead(5)[3].tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("options", "panel"), [({}, "daily shop"), ({"theta": None, "dynamic": True}, "monthly balance")]
)
def test_laws(options: dict[str, object], panel: str) -> None:
    results = check_forecaster(lambda: ThetaForecaster(**options), {panel: example_panels()[panel]})  # type: ignore[arg-type]
    assert [str(result) for result in results if result.status != "passed"] == []


@pytest.mark.parametrize(("options", "code"), [({"theta": 0.5}, "theta"), ({"low": 0.9}, "smoothing_weight")])
def test_what_cannot_be_is_an_error(options: dict[str, float], code: str) -> None:
    with pytest.raises(ModelError) as raised:
        ThetaForecaster(**options).fit(example_panels()["daily shop"], FitContext(7))  # type: ignore[arg-type]
    assert raised.value.code == code


def test_states_are_per_series() -> None:
    y = wandering()
    together = fit_theta(y, share=None, is_dynamic=True)
    alone = [fit_theta(y[row : row + 1], share=None, is_dynamic=True) for row in range(len(y))]
    assert isinstance(together, Theta)
    for row, each in enumerate(alone):
        np.testing.assert_array_equal(each.ahead(9)[0], together.ahead(9)[row])
