"""The mean of several forecasters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everloop.core.errors import ModelError, UsageError
from everloop.models.asking import ask
from everloop.models.catalog import make_forecaster
from everloop.models.ensemble import EnsembleForecaster
from everloop.models.examples import example_panels
from everloop.models.forecaster import FitContext, ForecastRequest

HORIZON = 6
OPTIONS: dict[str, dict[str, Any]] = {"lightgbm": {"trees": 10}}
REQUEST = ForecastRequest(HORIZON, (80.0, 95.0))


@pytest.fixture(scope="module")
def ensemble() -> EnsembleForecaster:
    panel = example_panels()["daily shop"]
    return EnsembleForecaster(["seasonal_naive", "lightgbm"], options=OPTIONS).fit(panel, FitContext(HORIZON))


def test_its_forecast_is_the_mean_of_its_members_alone(ensemble: EnsembleForecaster) -> None:
    panel = example_panels()["daily shop"]
    answer = ask(ensemble, REQUEST)
    members = [
        ask(make_forecaster(name, OPTIONS.get(name)).fit(panel, FitContext(HORIZON)), REQUEST)
        for name in ("seasonal_naive", "lightgbm")
    ]
    np.testing.assert_array_equal(answer.mean, (members[0].mean + members[1].mean) / 2)
    for level in (80.0, 95.0):
        np.testing.assert_array_equal(answer.upper[level], (members[0].upper[level] + members[1].upper[level]) / 2)
    assert ensemble.memory == max(member.memory for member in ensemble.members_)
    assert set(ensemble.learned()) == {"lightgbm"}
    assert ensemble.horizon_ == HORIZON


def test_it_is_read_again_as_it_was_written(ensemble: EnsembleForecaster, tmp_path: Path) -> None:
    ensemble.save(tmp_path)
    again = EnsembleForecaster.load(tmp_path)
    assert ask(again, REQUEST).mean.tobytes() == ask(ensemble, REQUEST).mean.tobytes()
    assert again.parameters() == ensemble.parameters()
    (tmp_path / "member-2" / "booster.txt").unlink()
    with pytest.raises(ModelError):
        EnsembleForecaster.load(tmp_path)


@pytest.mark.parametrize(
    ("members", "options", "problem"),
    [
        (["lightgbm"], None, "at least two"),
        (["lightgbm", "lightgbm"], None, "named once"),
        (["lightgbm", "ensemble"], None, "no member of one"),
        (["lightgbm", "mine:Own"], None, "'mine:Own' is not built in"),
        (["lightgbm", "statistical"], {"ets": {}}, "ets, which is no member"),
    ],
)
def test_members_that_make_no_ensemble_are_an_error(members: list[str], options: Any, problem: str) -> None:
    model = EnsembleForecaster(members, options=options)
    with pytest.raises(ModelError, match=problem) as caught:
        model.fit(example_panels()["daily shop"], FitContext(HORIZON))
    assert caught.value.code == "ensemble_members"


def test_a_member_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="lightgmb"):
        EnsembleForecaster(["lightgmb", "statistical"]).fit(example_panels()["daily shop"], FitContext(HORIZON))
