"""What is not understood fully is not compiled, and the booster goes on answering by its library."""

from __future__ import annotations

import re
from collections.abc import Callable

import lightgbm
import numpy as np
import pytest

from everloop.core.errors import ModelError
from everloop.models.booster import Booster
from everloop.models.compiled import machine
from everloop.models.compiled.forest import lay_out
from everloop.models.compiled.text import read_trees
from everloop.models.compiled.trial import hasten, odd_rows


@pytest.fixture(scope="module")
def text() -> str:
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 3))
    rows[:, 2] = random.integers(0, 9, 500)
    target = rows[:, 0] + 9 * (rows[:, 2] % 2) + rows[:, 1]
    options = {"objective": "regression", "verbosity": -1, "num_threads": 1, "num_leaves": 7}
    return lightgbm.train(options, lightgbm.Dataset(rows, target, categorical_feature=[2]), 5).model_to_string()


def line(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[str], str]:
    """Another first line of a name, by its values."""

    def made(text: str) -> str:
        return re.sub(
            rf"(?m)^{name}=(.*)$", lambda found: f"{name}={' '.join(change(found[1].split()))}", text, count=1
        )

    return made


DAMAGES: dict[str, Callable[[str], str]] = {
    "cut short": lambda text: text[: text.index("end of trees")],
    "no trees": lambda text: "tree\nversion=v4\n\nend of trees\n",
    "another version": lambda text: text.replace("version=v4", "version=v9"),
    "a field of the head": lambda text: text.replace("label_index=0", "label_index=0\nmirrored=1"),
    "a flag of the head": lambda text: text.replace("label_index=0", "label_index=0\nmirrored"),
    "a field of a tree": lambda text: text.replace("num_cat=", "mirrored=1\nnum_cat=", 1),
    "linear leaves": lambda text: text.replace("is_linear=0", "is_linear=1"),
    "a missing field": lambda text: re.sub(r"(?m)^threshold=.*\n", "", text, count=1),
    "a threshold too few": line("threshold", lambda values: values[:-1]),
    "a threshold that is none": line("threshold", lambda values: ["nan", *values[1:]]),
    "a word for a number": line("left_child", lambda values: ["one", *values[1:]]),
    "a leaf that is none": line("leaf_value", lambda values: ["inf", *values[1:]]),
    "a feature too high": line("split_feature", lambda values: ["3", *values[1:]]),
    "a negative feature": line("split_feature", lambda values: ["-1", *values[1:]]),
    "a decision of another kind": line("decision_type", lambda values: ["16", *values[1:]]),
    "a child of itself": line("left_child", lambda values: ["0", *values[1:]]),
    "a child beyond the tree": line("left_child", lambda values: ["6", *values[1:]]),
    "a leaf beyond the tree": line("left_child", lambda values: ["-9", *values[1:]]),
    "two parents": lambda text: line("left_child", lambda values: ["-1"] * len(values))(text),
    "no leaves": line("num_leaves", lambda _: ["0"]),
    "categories that are missing": line("num_cat", lambda _: ["0"]),
    "outputs that do not fit": line("num_tree_per_iteration", lambda _: ["2"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_understood_is_refused(text: str, damage: str) -> None:
    damaged = DAMAGES[damage](text)
    assert damaged != text
    with pytest.raises(ModelError) as caught:
        read_trees(damaged)
    assert caught.value.code == "compiled_refused"


def test_a_refused_model_answers_by_its_library() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 3))
    options = {"objective": "regression", "verbosity": -1, "num_threads": 1, "linear_tree": True}
    linear = lightgbm.train(options, lightgbm.Dataset(rows, rows @ np.arange(3.0)), 5)
    booster = Booster(linear.model_to_string())
    verdict = hasten(booster)
    assert not verdict.is_used
    if machine.is_available():
        assert "linear" in verdict.note
    np.testing.assert_array_equal(booster.predict(rows), linear.predict(rows))


def test_the_layout_holds_what_the_text_says(text: str) -> None:
    grown = read_trees(text)
    assert (grown.features, grown.outputs, grown.is_averaged, grown.objective) == (3, 1, False, "regression")
    assert len(grown.leaves) == 5
    assert len(grown.values) == grown.leaves.sum()
    forest = lay_out(grown)
    assert forest.bits == 8
    assert forest.has_categories == bool(grown.members) is True
    assert {column.feature for column in forest.columns} <= {0, 1, 2}


def test_odd_rows_hold_every_threshold_and_its_neighbours(text: str) -> None:
    grown = read_trees(text)
    rows = odd_rows(grown)
    for feature in range(3):
        own = (grown.feature == feature) & (grown.decision & 1 == 0)
        for cut in grown.threshold[own]:
            assert {cut, np.nextafter(cut, -np.inf), np.nextafter(cut, np.inf)} <= set(rows[:, feature])
        assert np.isnan(rows[:, feature]).any()
    known = np.unique(np.concatenate(list(grown.members.values())))
    assert set(known) <= set(rows[:, 2])
