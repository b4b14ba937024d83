"""Summaries from raw arrays: right, mergeable, and with quantiles to within a bin."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.stats.drift.summaries import add_sums, count_codes, summarise_numbers


def test_sums_are_those_of_arcsinh_whatever_is_missing() -> None:
    rng = np.random.default_rng(2)
    values = rng.lognormal(3, 2, (40_000, 3)) * rng.choice([-1, 1], (40_000, 3))
    values[::7, 1] = np.nan
    values[0, 2] = np.inf
    values[1, 2] = 1e300
    found = summarise_numbers(values)
    for column in range(3):
        known = np.arcsinh(values[np.isfinite(values[:, column]), column])
        assert found.known[column] == len(known)
        if column < 2:
            assert found.mean[column] == pytest.approx(known.mean(), abs=1e-9)
            assert found.log_deviation[column] == pytest.approx(np.log(known.std(ddof=1)), abs=1e-9)
    assert found.missing[1] == pytest.approx(np.isnan(values[:, 1]).mean())
    shares = np.array([0.1, 0.5, 0.9])
    exact = np.arcsinh(np.nanquantile(values[:, 1], shares))
    assert np.arcsinh(found.quantiles(shares)[1]) == pytest.approx(exact, abs=48 / 256)


def test_batches_add_up_to_the_day() -> None:
    values = np.random.default_rng(3).normal(size=(5_000, 4))
    whole = summarise_numbers(values)
    parts = add_sums(summarise_numbers(values[:1_234]), summarise_numbers(values[1_234:]))
    assert np.allclose(parts.total, whole.total)
    assert np.array_equal(parts.histogram, whole.histogram)
    with pytest.raises(ValueError, match="different columns"):
        add_sums(whole, summarise_numbers(values[:, :2]))


def test_nothing_known_is_nan() -> None:
    found = summarise_numbers(np.full((3, 1), np.nan))
    assert np.isnan(found.mean[0])
    assert np.isnan(found.log_deviation[0])
    assert np.isnan(found.quantiles(np.array([0.5]))).all()


def test_codes_are_counted_with_the_unseen_apart() -> None:
    counts, unseen = count_codes(np.array([0, 1, 1, -1, 2, 9]), 2)
    assert counts.tolist() == [1.0, 2.0]
    assert unseen == 2
