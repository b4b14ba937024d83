"""The methods' numbers equal statsforecast's, series by series; the formulas hold by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from statsforecast.models import ADIDA, IMAPA, TSB, CrostonClassic, CrostonSBA

from everloop.models.intermittent import adida, aligned, croston, demand_sizes, golden, imapa, smooth, tsb

Doubles = NDArray[np.float64]


def sparse(n: int = 60, periods: int = 180, seed: int = 3) -> Doubles:
    """Counts from daily to one in forty days; some series begin late, and some have gaps."""
    random = np.random.default_rng(seed)
    rate = np.geomspace(0.025, 4.0, n)[:, None]
    y = np.where(random.random((n, periods)) < rate, random.negative_binomial(2, 0.4, (n, periods)) + 1.0, 0.0)
    y[::4, : periods // 2] = np.nan
    y[2::5][random.random((len(y[2::5]), periods)) < 0.1] = np.nan
    return y


CASES: dict[str, tuple[Callable[[Doubles], Doubles], object, float]] = {
    "croston": (lambda y: croston(y, 0.1, is_corrected=False), CrostonClassic(), 1e-12),
    "sba": (lambda y: croston(y, 0.1, is_corrected=True), CrostonSBA(), 1e-12),
    "tsb": (lambda y: tsb(y, 0.2, 0.1), TSB(0.2, 0.1), 1e-12),
    "adida": (adida, ADIDA(), 2e-3),  # both search the weight, to within a thousandth
    "imapa": (lambda y: imapa(y, most=1000), IMAPA(), 2e-3),
}


@pytest.mark.parametrize("case", CASES)
def test_numbers_equal_statsforecasts(case: str) -> None:
    method, peer, tolerance = CASES[case]
    y = sparse()
    theirs = [peer.forecast(row[~np.isnan(row)], 1)["mean"][0] for row in y]  # type: ignore[attr-defined]
    np.testing.assert_allclose(method(y), theirs, rtol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_a_series_alone_has_the_same_bits(case: str) -> None:
    method = CASES[case][0]
    y = sparse(20)
    together = method(y)
    for row in range(len(y)):
        assert method(y[row : row + 1])[0] == together[row]


@pytest.mark.parametrize("case", CASES)
def test_series_without_demand_or_without_any_value_get_zero(case: str) -> None:
    y = np.array([[0.0] * 30, [np.nan] * 30, [np.nan] * 29 + [3.0]])
    found = CASES[case][0](y)
    assert found[:2].tolist() == [0.0, 0.0]
    assert found[2] == pytest.approx(3.0 * (0.95 if case == "sba" else 1.0))


def test_croston_by_hand() -> None:
    y = np.array([[0.0, 2.0, 0.0, 0.0, 4.0, 0.0]])
    size, interval = 2 + 0.5 * (4 - 2), 2 + 0.5 * (3 - 2)
    assert croston(y, 0.5, is_corrected=False)[0] == pytest.approx(size / interval)
    assert croston(y, 0.5, is_corrected=True)[0] == pytest.approx(0.75 * size / interval)


def test_an_item_that_is_sold_no_more_falls_to_zero_with_tsb_alone() -> None:
    y = np.concatenate([np.tile([0.0, 3.0], 30), np.zeros(90)])[None, :]
    assert tsb(y, 0.1, 0.05)[0] < 0.02
    assert croston(y, 0.1, is_corrected=True)[0] > 1.0


def test_the_sizes_of_demand() -> None:
    sizes = demand_sizes(np.array([[np.nan, 0.0, 2.0, np.nan, 0.0, 4.0, 0.0], [np.nan] * 7]))
    assert sizes.periods.tolist() == [5, 0]
    assert sizes.demands.tolist() == [2, 0]
    assert sizes.interval[0] == 2.0  # two observed periods up to each demand
    assert sizes.mean[0] == 3.0
    assert sizes.variation[0] == pytest.approx(1 / 9)
    assert np.isnan(sizes.interval[1])


def test_gaps_are_closed_up_and_order_is_kept() -> None:
    y = np.array([[1.0, np.nan, 2.0, np.nan], [np.nan, 1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(aligned(y), [[np.nan, np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0, 3.0]])


def test_the_weight_found_has_the_least_error_of_a_fine_grid() -> None:
    y = aligned(sparse(12))
    y = np.where(np.isnan(y), 0.0, y) + np.cumsum(np.random.default_rng(1).normal(0, 0.2, y.shape), axis=1)
    found = smooth(y, golden(np.ascontiguousarray(y.T), 0.05, 0.5))[1]
    grid = np.stack([smooth(y, np.full(len(y), alpha))[1] for alpha in np.linspace(0.05, 0.5, 91)])
    assert (found <= grid.min(axis=0) * 1.001).mean() >= 0.9  # a few errors have two valleys
