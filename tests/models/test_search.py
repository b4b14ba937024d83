"""What may be tuned of a forecaster."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from everloop.core.errors import ModelError, SettingsError, UsageError
from everloop.models.catalog import forecaster_class
from everloop.models.search import Choice, Real, Whole, search_space_of

OWN = """
from everloop.models.pickled import PickledForecaster
from everloop.models.search import Choice, Whole


class Mine(PickledForecaster):
    def __init__(self, weeks=4, kind="mean"):
        self.weeks, self.kind = weeks, kind

    def fit(self, panel, context): ...
    def update(self, panel): ...
    def forecast(self, request): ...

    @classmethod
    def search_space(cls):
        return {"weeks": Whole(1, 12), "kind": Choice(("mean", "median")), "gone_since": Whole(1, 2)}


class Broken(Mine):
    @classmethod
    def search_space(cls):
        return {"weeks": (1, 12)}
"""


def test_what_lightgbm_declares_holds_its_defaults_and_nothing_unknown() -> None:
    space = search_space_of("lightgbm")
    known = inspect.signature(forecaster_class("lightgbm")).parameters
    assert {"trees", "learning_rate", "leaves", "leaf_rows", "max_rows"} <= set(space) <= set(known)
    assert all(each.holds(known[name].default) for name, each in space.items())
    assert search_space_of("seasonal_naive") == {}


def test_a_users_own_class_declares_its_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tunable_toy.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    space = search_space_of("tunable_toy:Mine", root=tmp_path)
    assert space == {"kind": Choice(("mean", "median")), "weeks": Whole(1, 12)}
    with pytest.raises(ModelError) as caught:
        search_space_of("tunable_toy:Broken", root=tmp_path)
    assert caught.value.code == "search_space"


def test_settings_narrow_widen_add_and_take_out() -> None:
    changed = {"trees": [20, 30], "learning_rate": [0.1, 1], "leaves": [], "objective": ["tweedie", "regression"]}
    space = search_space_of("lightgbm", changed={**changed, "windows": [1, 2, 4], "leaf_rows": [5]})
    assert space["trees"] == Whole(20, 30, log=True)
    assert space["learning_rate"] == Real(0.1, 1.0, log=True)
    assert "leaves" not in space
    assert space["objective"] == Choice(("tweedie", "regression"))
    assert space["windows"] == Choice((1, 2, 4))
    assert space["leaf_rows"] == Choice((5,))
    assert search_space_of("ets", changed={"history": [100, 400]})["history"] == Whole(100, 400)


def test_settings_that_name_nothing_are_told() -> None:
    with pytest.raises(SettingsError, match="takes no option 'leafs'") as caught:
        search_space_of("lightgbm", changed={"leafs": [1, 2]})
    assert "leaves" in caught.value.hint
    assert caught.value.path == "tune.space.lightgbm.leafs"
    with pytest.raises(SettingsError, match="no range"):
        search_space_of("lightgbm", changed={"trees": [30, 20]})
    with pytest.raises(UsageError):
        search_space_of("lightgmb")
