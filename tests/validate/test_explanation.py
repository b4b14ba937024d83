"""What groups of features bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.data.panel import Future, Panel
from everloop.validate.explanation import Explanation, Recipe, explain
from shop import sales

OPTIONS = {"trees": 25, "leaf_rows": 20, "leaves": 15}


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Sales that a promotion trebles, and a column of noise."""
    plain = sales(16, 170, seed=4)
    rng = np.random.default_rng(2)
    promo = (rng.random((16, 198)) < 0.15).astype(np.float32)
    noise = rng.standard_normal((16, 198)).astype(np.float32)
    y = plain.y * np.where(promo[:, :170].ravel() > 0, 3, 1).astype(np.float32)
    known = {"promo": promo[:, :170].ravel(), "noise": noise[:, :170].ravel()}
    future = Future(28, {**plain.future.columns, "promo": promo[:, 170:], "noise": noise[:, 170:]})
    return replace(plain, y=y, known={**plain.known, **known}, future=future)


@pytest.fixture
def explained(make_project: Callable[..., Project], panel: Panel) -> Callable[..., Explanation]:
    def make(candidate: str = "lightgbm", **more: object) -> Explanation:
        options = OPTIONS if candidate == "lightgbm" else {}
        return explain(make_project("validate.windows=2"), panel, Recipe(candidate, options), **more)  # type: ignore[arg-type]

    return make


def test_a_planted_cause_is_found_and_noise_is_not_taken_for_one(explained: Callable[..., Explanation]) -> None:
    found = explained(by_column=True, only=["promo", "noise"])
    worth = {each.group: each for each in found.groups}
    assert found.groups[0].group == "promo"
    promo, noise = worth["promo"], worth["noise"]
    assert promo.verdict == "helps"
    assert promo.left_out is not None
    assert promo.shuffled is not None
    assert promo.left_out.lower is not None
    assert promo.left_out.lower > 0.05
    assert promo.shuffled.is_surely_positive
    assert promo.without is not None
    assert found.value is not None
    assert promo.without > found.value
    assert noise.left_out is not None
    assert not noise.left_out.is_surely_positive
    assert (noise.gain or 0) < (promo.gain or 0)
    assert found == explained(by_column=True, only=["promo", "noise"])


def test_some_groups_alone_and_without_leaving_any_out(explained: Callable[..., Explanation]) -> None:
    told: list[str] = []
    found = explained(only=["events", "price"], leaving_out=False, progress=lambda done, total, word: told.append(word))
    assert {each.group for each in found.groups} == {"events", "price"}
    assert all(each.left_out is None and each.shuffled is not None for each in found.groups)
    assert {each.verdict for each in found.groups} == {"cannot tell"}
    everything = explained(leaving_out=False)
    assert sum(each.gain or 0 for each in everything.groups) == pytest.approx(1)
    assert sum(everything.features.values()) == pytest.approx(1)
    with pytest.raises(UsageError) as caught:
        explained(only=["evnts"])
    assert caught.value.code == "explain_group"
    assert "events" in caught.value.hint


def test_a_forecaster_without_trees_is_explained_by_columns(explained: Callable[..., Explanation]) -> None:
    found = explained("seasonal_naive")
    worth = {each.group: each for each in found.groups}
    assert set(worth) == {"price", "events", "static"}
    # it looks at none of them
    assert all(each.without == found.value and each.gain is None and each.shuffled is None for each in found.groups)
    assert found.features == {}
    assert found.to_dict()["groups"][0]["verdict"] in ("cannot tell", "not sure")
