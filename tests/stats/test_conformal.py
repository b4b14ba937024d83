"""Conformal quantiles keep their promise on exchangeable scores, and say so where they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.stats.conformal import GroupedScores, lower_rank, upper_rank


@given(st.integers(1, 500), st.integers(1, 99))
def test_ranks_are_the_exact_ones(n: int, percent: int) -> None:
    exact = math.ceil((n + 1) * percent / 100) if (n + 1) * percent % 100 else (n + 1) * percent // 100
    assert upper_rank(n, percent / 100) == exact
    assert lower_rank(n, 1 - percent / 100) == n + 1 - exact


@pytest.mark.parametrize(("level", "needed"), [(80, 9), (90, 19), (95, 39), (99, 199)])
def test_one_score_too_few_gives_no_interval(level: float, needed: int) -> None:
    for n, is_given in ((needed, True), (needed - 1, False)):
        scores = GroupedScores.collect(np.arange(float(n)), np.zeros(n, dtype=np.int64), groups=1)
        lower, upper = scores.bounds(level)
        assert np.isfinite(lower).all() == is_given
        assert np.isfinite(upper).all() == is_given


def test_coverage_is_at_least_the_level_and_hardly_more() -> None:
    random = np.random.default_rng(3)
    n, repeats = 59, 4000
    hits = {80.0: 0, 90.0: 0}
    for _ in range(repeats):
        draws = random.exponential(size=n + 1)
        scores = GroupedScores.collect(draws[:n], np.zeros(n, dtype=np.int64), groups=1)
        for level in hits:
            lower, upper = scores.bounds(level)
            hits[level] += bool(lower[0] <= draws[n] <= upper[0])
    for level, count in hits.items():
        # promised: level; at most 2 / (n + 1) more; three standard errors of the simulation around both
        error = 3 * math.sqrt(0.2 * 0.8 / repeats)
        assert level / 100 - error <= count / repeats <= level / 100 + 2 / (n + 1) + error


def test_groups_do_not_mix_and_an_empty_one_has_no_interval() -> None:
    scores = np.concatenate([np.arange(100.0), 1000 + np.arange(100.0), [np.nan, np.inf]])
    groups = np.repeat([0, 2, 0], [100, 100, 2])
    found = GroupedScores.collect(scores, groups, groups=3)
    assert found.counts.tolist() == [100, 0, 100]
    lower, upper = found.bounds(80)
    assert lower[0] < upper[0] < 100
    assert np.isnan(lower[1])
    assert np.isnan(upper[1])
    assert lower[2] > 999


def test_a_large_group_is_thinned_at_random_and_small_ones_are_kept() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=20_000)
    groups = np.where(np.arange(20_000) < 50, 1, 0)
    found = GroupedScores.collect(scores, groups, groups=2, most=1000, seed=1)
    assert found.counts.tolist() == [1000, 50]
    assert (np.diff(found.scores[:1000]) >= 0).all()
    np.testing.assert_allclose(found.bounds(80)[1][0], 1.2816, atol=0.15)  # the normal's 90 % quantile


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=80), st.randoms())
def test_the_order_of_scores_does_not_matter(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    zeros = np.zeros(len(values), dtype=np.int64)
    one = GroupedScores.collect(np.array(values), zeros, groups=1)
    other = GroupedScores.collect(np.array(shuffled), zeros, groups=1)
    np.testing.assert_array_equal(one.scores, other.scores)
