"""One door for built-in forecasters and a user's own, with errors that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from everloop.core.errors import EverloopError, ModelError, UsageError
from everloop.models.catalog import BUILT_IN, make_forecaster

OWN = """
from everloop.models.pickled import PickledForecaster

class Good(PickledForecaster):
    def __init__(self, span=3):
        self.span = span

class Strict(PickledForecaster):
    def __init__(self, span):
        self.span = span

class Half:
    def fit(self, panel, context): ...
    def forecast(self, request): ...

def function(): ...
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_models_for_catalog.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_names_make_their_class_and_keep_parameters(name: str) -> None:
    model = make_forecaster(name)
    assert type(model)(**model.parameters()).parameters() == model.parameters()


def test_a_users_class_comes_in_by_the_same_door(root: Path) -> None:
    assert make_forecaster("own_models_for_catalog:Good", {"span": 5}, root=root).parameters() == {"span": 5}


@pytest.mark.parametrize(
    ("name", "options", "kind", "code", "hint"),
    [
        ("lightgmb", {}, UsageError, "forecaster_unknown", "'lightgbm'"),
        ("arima", {}, UsageError, "forecaster_unknown", "'adida'"),
        ("lightgbm", {"tree": 5}, UsageError, "forecaster_option", "'trees'"),
        ("own_models_for_catalog:Good", {"spam": 5}, UsageError, "forecaster_option", "'span'"),
        ("own_models_for_catalog:Half", {}, ModelError, "forecaster_protocol", "PickledForecaster"),
        ("own_models_for_catalog:Strict", {}, ModelError, "forecaster_construct", "span"),
        ("own_models_for_catalog:function", {}, UsageError, "forecaster_class", "class"),
        ("own_models_for_catalog:Goood", {}, UsageError, "object_missing", "'Good'"),
        ("no_such_module_here:Good", {}, UsageError, "object_module", "installed"),
    ],
)
def test_mistakes_are_named(
    root: Path, name: str, options: dict[str, int], kind: type[EverloopError], code: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        make_forecaster(name, options, root=root)
    assert caught.value.code == code
    assert hint in caught.value.hint


def test_missing_methods_are_listed(root: Path) -> None:
    with pytest.raises(ModelError, match="no update, series_panel, parameters, save, load"):
        make_forecaster("own_models_for_catalog:Half", root=root)
