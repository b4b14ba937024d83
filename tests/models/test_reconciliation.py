"""Reconciliation is the textbook's projection, without its matrices; what comes out adds up and is not negative."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.data.totals import Grouping
from everloop.models.reconciliation import Method, reconciled, shrinkage

SERIES, PERIODS = 8, 30
METHODS: tuple[Method, ...] = ("wls_struct", "wls_var", "mint_shrink")
EVERY = Grouping((), np.zeros(SERIES, dtype=np.int64), ((),))
THREE = Grouping(("shop",), np.arange(SERIES) % 3, (("a",), ("b",), ("c",)))
LEVELS = (EVERY, THREE)
SUMMING = np.vstack([np.ones(SERIES), *(THREE.codes == code for code in range(3)), np.eye(SERIES)])


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Series, totals that disagree with them, and past errors of both, correlated and of many sizes."""
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.3, 3, (SERIES + 4, 1)) * rng.normal(size=(SERIES + 4, PERIODS))
    errors[:SERIES] += rng.normal(size=PERIODS)
    series = rng.uniform(5, 9, (SERIES, 5))
    return series, SUMMING[:4] @ series + rng.normal(size=(4, 5)), errors[:SERIES], errors[SERIES:]


def slow_shrinkage(errors: np.ndarray) -> float:
    """Schaefer and Strimmer's formula, a pair at a time."""
    count = errors.shape[1]
    scaled = errors / np.sqrt((errors**2).mean(axis=1, keepdims=True))
    above = below = 0.0
    for first in range(len(scaled)):
        for second in range(len(scaled)):
            if first != second:
                products = scaled[first] * scaled[second]
                above += count / (count - 1) ** 3 * ((products - products.mean()) ** 2).sum()
                below += products.mean() ** 2
    return float(min(above / below, 1.0))


def textbook(method: Method, seed: int) -> np.ndarray:
    """``S (S' W^-1 S)^-1 S' W^-1 y`` with all matrices written out."""
    series, totals, below, above = world(seed)
    errors = np.vstack([above, below])
    weights = np.diag(SUMMING.sum(axis=1))
    if method != "wls_struct":
        diagonal = np.diag((errors**2).mean(axis=1))
        share = slow_shrinkage(errors) if method == "mint_shrink" else 1.0
        weights = share * diagonal + (1 - share) * errors @ errors.T / PERIODS
    inverse = np.linalg.inv(weights)
    changed = np.linalg.solve(SUMMING.T @ inverse @ SUMMING, SUMMING.T @ inverse @ np.vstack([totals, series]))
    return np.asarray(changed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_textbooks_projection(method: Method, seed: int) -> None:
    series, totals, below, above = world(seed)
    found = reconciled(series, totals, LEVELS, method=method, errors=(below, above))
    assert found == pytest.approx(textbook(method, seed), rel=1e-9)


def test_the_share_of_the_diagonal_is_that_of_all_pairs() -> None:
    _, _, below, above = world()
    errors = np.concatenate([below, above])
    assert shrinkage(errors) == pytest.approx(slow_shrinkage(errors))
    assert 0 < shrinkage(errors) < 1
    assert shrinkage(np.zeros((3, 9))) == 1.0
    never = np.concatenate([errors, np.zeros((2, PERIODS))])
    assert shrinkage(never) == pytest.approx(slow_shrinkage(errors)), "a series that never erred has no correlation"


@pytest.mark.parametrize("method", METHODS)
def test_totals_that_agree_change_nothing(method: Method) -> None:
    series, _, below, above = world()
    found = reconciled(series, SUMMING[:4] @ series, LEVELS, method=method, errors=(below, above))
    assert found == pytest.approx(series)


@pytest.mark.parametrize("method", METHODS)
def test_no_count_falls_below_zero(method: Method) -> None:
    series, totals, below, above = world()
    found = reconciled(series, totals - 60, LEVELS, method=method, errors=(below, above), lowest=0.0)
    assert found.min() == 0.0


def test_totals_that_never_erred_are_kept_and_others_too_many_do_no_harm() -> None:
    series, totals, below, above = world()
    found = reconciled(series, totals[:1], LEVELS[:1], method="wls_var", errors=(below, 0 * above[:1]))
    assert found.sum(axis=0) == pytest.approx(totals[0])
    twice = reconciled(
        series, totals[[0, 0]], (EVERY, EVERY), method="wls_var", errors=(below, 0 * above[:2])
    )  # the same total twice makes the matrix singular
    assert twice == pytest.approx(found)
    unknown = np.full_like(below, np.nan), np.full_like(above, np.nan)
    assert reconciled(series, totals, LEVELS, method="mint_shrink", errors=unknown) == pytest.approx(series)
    assert reconciled(series, totals, LEVELS, method="bottom_up", errors=(below, above)) is series


def test_it_takes_the_better_of_both() -> None:
    """Series with a common error that the total does not have: reconciled, they are much better."""
    rng = np.random.default_rng(8)
    truth = rng.uniform(20, 30, (SERIES, 200))
    common = rng.normal(size=(1, 200))
    series = truth + 2 * common + rng.normal(size=truth.shape)
    totals = truth.sum(axis=0, keepdims=True) + rng.normal(size=(1, 200))
    errors = (truth - series)[:, :100], (truth.sum(axis=0, keepdims=True) - totals)[:, :100]
    found = reconciled(series[:, 100:], totals[:, 100:], (EVERY,), method="mint_shrink", errors=errors)
    before, after = (np.sqrt(((each - truth[:, 100:]) ** 2).mean()) for each in (series[:, 100:], found))
    assert after < 0.55 * before
