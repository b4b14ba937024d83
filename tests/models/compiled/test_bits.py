"""Compiled trees give the bits that LightGBM gives."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.models.booster import Booster
from everloop.models.compiled import machine, trees
from everloop.models.compiled.conversion import converter_of
from everloop.models.compiled.kernel import object_code
from everloop.models.compiled.text import read_trees
from everloop.models.compiled.trees import CompiledTrees, Plan
from everloop.models.compiled.trial import difference, hasten, odd_rows

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="no compiler for this machine")

_NEAR_ZERO = [0.0, -0.0, 1e-35, float(np.float32(1e-35)), -float(np.float32(1e-35)), 1e-36, 5e-324, 1.0001e-35]
_FAR = [1.7e308, -1.7e308, 1.7976931348623157e308, 1e19, -4294967296.0]
_OBJECTIVES = {
    1: [
        "",
        "regression",
        "regression sqrt",
        "regression_l1",
        "huber",
        "quantile",
        "poisson",
        "gamma",
        "tweedie",
        "binary sigmoid:1",
        "binary sigmoid:0.7",
        "cross_entropy",
        "cross_entropy_lambda",
        "lambdarank",
    ],
    3: ["multiclass num_class:3", "multiclassova num_class:3 sigmoid:1.3", ""],
}


def a_tree(random: np.random.Generator, features: int, leaves: int, *, category_share: float) -> str:
    """A tree of any shape, as LightGBM writes it."""
    inner = leaves - 1
    # nodes are split in turn, so that a child always comes after its parent
    left, right, owner = np.zeros(inner, int), np.zeros(inner, int), {0: (-1, 0)}
    for node in range(inner):
        leaf = int(random.choice(list(owner)))
        parent, side = owner.pop(leaf)
        if parent >= 0:
            (left if side == 0 else right)[parent] = node
        owner[leaf], owner[node + 1] = (node, 0), (node, 1)
        left[node], right[node] = ~leaf, ~(node + 1)
    is_set = random.random(inner) < category_share
    pools = (_NEAR_ZERO, _FAR, random.normal(size=8).round(2).tolist(), list(range(-3, 4)))
    threshold = [float(random.choice(pools[random.integers(4)])) for _ in range(inner)]
    decision = random.choice([0, 2, 4, 6, 8, 10], size=inner) * ~is_set + is_set
    words: list[int] = []
    bounds = [0]
    for node in np.flatnonzero(is_set):
        threshold[node] = float(len(bounds) - 1)
        count = int(random.integers(1, 4))
        words += random.integers(0, 2**32, count, dtype=np.uint64).tolist()
        bounds.append(len(words))
    value = random.normal(size=leaves) * 10.0 ** random.integers(-40, 3, leaves)

    def line(values: Any) -> str:
        return " ".join(repr(each) for each in np.asarray(values).tolist())

    categories = f"cat_boundaries={line(bounds)}\ncat_threshold={line(words)}\n" if is_set.any() else ""
    return (
        f"num_leaves={leaves}\nnum_cat={is_set.sum()}\nsplit_feature={line(random.integers(0, features, inner))}\n"
        f"split_gain={line([1] * inner)}\nthreshold={line(threshold)}\ndecision_type={line(decision)}\n"
        f"left_child={line(left)}\nright_child={line(right)}\nleaf_value={line(value)}\n"
        f"leaf_weight={line([1] * leaves)}\nleaf_count={line([1] * leaves)}\ninternal_value={line([0] * inner)}\n"
        f"internal_weight={line([1] * inner)}\ninternal_count={line([2] * inner)}\n{categories}"
        "is_linear=0\nshrinkage=1\n\n\n"
        if inner
        else f"num_leaves=1\nnum_cat=0\nsplit_feature=\nsplit_gain=\nthreshold=\ndecision_type=\nleft_child=\n"
        f"right_child=\nleaf_value={line(value)}\nleaf_weight=\nleaf_count=\ninternal_value=\ninternal_weight=\n"
        "internal_count=\nis_linear=0\nshrinkage=1\n\n\n"
    )


def a_model(
    random: np.random.Generator, *, most_leaves: int, outputs: int, category_share: float, least_leaves: int = 1
) -> str:
    """A model of random trees."""
    features, rounds = int(random.integers(1, 6)), int(random.integers(1, 14))
    grown = [
        f"Tree={place}\n"
        + a_tree(random, features, int(random.integers(least_leaves, most_leaves + 1)), category_share=category_share)
        for place in range(rounds * outputs)
    ]
    objective = str(random.choice(_OBJECTIVES[outputs]))
    average = "average_output\n" if random.random() < 0.3 else ""
    return (
        f"tree\nversion=v4\nnum_class={outputs}\nnum_tree_per_iteration={outputs}\nlabel_index=0\n"
        f"max_feature_idx={features - 1}\n"
        + (f"objective={objective}\n" if objective else "")
        + average
        + "feature_names="
        f"{' '.join(f'f{place}' for place in range(features))}\nfeature_infos={' '.join(['[-9:9]'] * features)}\n"
        f"tree_sizes={' '.join(str(len(tree)) for tree in grown)}\n\n" + "".join(grown) + "end of trees\n"
    )


def compiled(text: str) -> tuple[Booster, CompiledTrees]:
    grown = read_trees(text)
    return Booster(text), CompiledTrees(grown, converter_of(grown))


def assert_same(text: str) -> CompiledTrees:
    booster, found = compiled(text)
    rows = odd_rows(found.grown, most=700)
    assert not difference(booster, found, rows)
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    most_leaves=st.sampled_from([1, 2, 5, 40]),
    outputs=st.sampled_from([1, 3]),
    category_share=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_random_trees_answer_with_the_librarys_bits(
    seed: int, most_leaves: int, outputs: int, category_share: float
) -> None:
    random = np.random.default_rng(seed)
    assert_same(a_model(random, most_leaves=most_leaves, outputs=outputs, category_share=category_share))


@pytest.mark.parametrize("category_share", [0.0, 0.4])
def test_large_trees_take_codes_of_16_bits(category_share: float) -> None:
    random = np.random.default_rng(3)
    text = a_model(random, least_leaves=300, most_leaves=900, outputs=1, category_share=category_share)
    found = assert_same(text)
    assert found.forest.bits == 16


@pytest.mark.parametrize("has_categories", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_processors_without_masks_give_the_same_bits(
    bits: int, has_categories: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = machine.linked(object_code(bits, has_categories=has_categories, cpu="x86-64"))
    monkeypatch.setattr(trees, "kernels", lambda *_, **__: machine.placed(*code))
    random = np.random.default_rng(bits)
    least, most = (1, 40) if bits == 8 else (300, 500)
    for _ in range(5 if bits == 8 else 1):
        share = 0.4 if has_categories else 0.0
        text = a_model(random, least_leaves=least, most_leaves=most, outputs=3, category_share=share)
        assert assert_same(text).forest.bits == bits


def trained(**options: Any) -> tuple[str, np.ndarray]:
    random = np.random.default_rng(0)
    rows = random.normal(size=(900, 6))
    rows[random.random(rows.shape) < 0.1] = np.nan
    rows[random.random(rows.shape) < 0.1] = 0
    rows[:, 4], rows[:, 5] = random.integers(0, 3, 900), random.integers(0, 300, 900)
    target = np.exp(np.nan_to_num(rows[:, 0])) * (rows[:, 5] % 3 == 2) + random.random(900)
    if options["objective"].startswith("multiclass"):
        target = np.digitize(target, [0.5, 1.0])
    elif options["objective"] in ("binary", "cross_entropy"):
        target = (target > 0.8).astype(float)
    own = {"verbosity": -1, "num_threads": 1, "seed": 1, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(rows, target, categorical_feature=[4, 5])
    return lightgbm.train(own | options, data, 30).model_to_string(), rows


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "regression"},
        {"objective": "regression", "zero_as_missing": True},
        {"objective": "regression", "use_missing": False},
        {"objective": "regression", "reg_sqrt": True},
        {"objective": "regression", "boosting": "dart"},
        {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        {"objective": "regression", "monotone_constraints": [1, 0, 0, 0, 0, 0]},
        {"objective": "tweedie"},
        {"objective": "binary"},
        {"objective": "cross_entropy"},
        {"objective": "multiclass", "num_class": 3},
        {"objective": "multiclassova", "num_class": 3},
        {"objective": "quantile", "alpha": 0.9},
        {"objective": "regression", "min_data_in_leaf": 10_000},
        {"objective": "regression", "max_cat_to_onehot": 1000},
    ],
    ids=str,
)
def test_trained_models_answer_with_the_librarys_bits(options: dict[str, Any]) -> None:
    text, rows = trained(**options)
    booster, found = compiled(text)
    assert not difference(booster, found, np.concatenate((rows, odd_rows(found.grown))))


def test_each_node_is_asked_exactly_at_beside_and_without_its_value() -> None:
    text, rows = trained(objective="regression")
    booster, found = compiled(text)
    grown = found.grown
    random = np.random.default_rng(1)
    odd = []
    # rows that are like real ones but for one feature reach the nodes below the upper ones too
    for cut, feature in zip(grown.threshold.tolist(), grown.feature.tolist(), strict=True):
        for value in (cut, np.nextafter(cut, -np.inf), np.nextafter(cut, np.inf), np.nan):
            row = rows[random.integers(len(rows))].copy()
            row[feature] = value
            odd.append(row)
    assert not difference(booster, found, np.array(odd))


def test_a_rows_bits_depend_neither_on_others_nor_on_threads_type_or_layout() -> None:
    text, rows = trained(objective="tweedie")
    booster, found = compiled(text)
    rows = np.resize(rows, (9001, 6)).astype(np.float32)
    expected = booster.predict_by_library(rows)
    for plan in (Plan(alone=14), Plan(uses_blocks=False, alone=64), Plan(alone=0)):
        found.plan = plan
        booster.answer_by(found)
        for given_rows in (rows, np.asfortranarray(rows), rows.astype(np.float64), rows[::-1][::-1]):
            np.testing.assert_array_equal(booster.predict(given_rows, threads=2), expected)
        for n in (1, 2, 14, 15, 63, 64, 65, 78, 79, 512, 513):
            np.testing.assert_array_equal(booster.predict(rows[:n]), expected[:n])
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(booster.predict, [rows[start : start + 100] for start in range(0, 9001, 100)]))
        np.testing.assert_array_equal(np.concatenate(parts), expected)
    assert booster.predict(rows[:0]).shape == (0,)
    booster.answer_by(None)
    np.testing.assert_array_equal(booster.predict(rows), expected)


def test_scores_that_the_library_would_take_for_zero_are_left_to_it() -> None:
    tree = (
        "num_leaves=1\nnum_cat=0\nsplit_feature=\nsplit_gain=\nthreshold=\ndecision_type=\nleft_child=\nright_child=\n"
        "leaf_value=1e-36\nleaf_weight=\nleaf_count=\ninternal_value=\ninternal_weight=\ninternal_count=\nis_linear=0\n"
        "shrinkage=1\n\n\n"
    )
    text = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
        "objective=regression sqrt\nfeature_names=a\nfeature_infos=[0:1]\ntree_sizes=200\n\nTree=0\n"
        f"{tree}end of trees\n"
    )
    booster, found = compiled(text)
    rows = np.ones((3, 1))
    assert found.predict(rows) is None
    booster.answer_by(found)
    assert booster.predict(rows).tolist() == [1e-36**2] * 3


def test_a_booster_is_hastened_only_where_bits_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    text, rows = trained(objective="regression", num_leaves=63)
    booster = Booster(text)
    expected = booster.predict(rows)
    verdict = hasten(booster, [rows])
    assert verdict.note.startswith("compiled: ") == verdict.is_used
    np.testing.assert_array_equal(booster.predict(rows), expected)

    class Wrong(CompiledTrees):
        def _sums(self, rows: Any) -> Any:
            return np.nextafter(super()._sums(rows), np.inf)

    monkeypatch.setattr("everloop.models.compiled.trial.CompiledTrees", Wrong)
    booster = Booster(text)
    assert hasten(booster).note == "not compiled: the compiled trees give other bits than LightGBM"
    np.testing.assert_array_equal(booster.predict(rows), expected)


def test_a_machine_without_the_compiler_asks_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    text, _ = trained(objective="regression")
    assert not hasten(Booster(text)).is_used
