"""Intervals of totals hold what they promise, where those of their parts added up do not."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.models.total_errors import PastTotals, TotalErrors, usual_change

STEPS, REPEATS = 14, 150


def coverage(
    *, windows: int, totals: int, shared: float, skewed: bool = False, level: float = 80.0
) -> tuple[float, float, float]:
    """The share of a next window's totals that lies within, below and above, over many worlds.

    Args:
        windows: past windows that are learnt from.
        totals: how many there are; each errs by a size of its own.
        shared: the share of the errors' variance that moves all of a window.
        skewed: whether large errors lie above.
    """
    rng = np.random.default_rng(11)
    inside = below = above = 0.0
    for _ in range(REPEATS):
        unit = rng.uniform(1, 30, totals)
        noise = rng.normal(size=(windows + 1, totals, STEPS))
        if skewed:
            noise = rng.exponential(size=noise.shape) - 1.0
        common = rng.normal(size=(windows + 1, 1, 1))
        error = unit[None, :, None] * (np.sqrt(shared) * common + np.sqrt(1 - shared) * noise)
        mean = np.broadcast_to(20 * unit[None, :, None], error.shape)
        past = PastTotals((mean + error)[:-1], mean[:-1], np.broadcast_to(unit, (windows, totals)))
        lower, upper = TotalErrors.collect(past, lowest=0.0).intervals(mean[-1], unit, [level])
        truth = (mean + error)[-1]
        below += float((truth < lower[level]).mean())
        above += float((truth > upper[level]).mean())
        inside += float(((truth >= lower[level]) & (truth <= upper[level])).mean())
    return inside / REPEATS, below / REPEATS, above / REPEATS


@pytest.mark.parametrize("totals", [1, 10])
@pytest.mark.parametrize("shared", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("windows", [3, 8])
def test_they_cover_what_they_promise(windows: int, shared: float, totals: int) -> None:
    inside, below, above = coverage(windows=windows, totals=totals, shared=shared)
    assert inside >= 0.80 - 0.05, "within what chance and a guessed shared part take away"
    assert inside <= 0.93
    assert abs(below - above) < 0.09


def test_errors_that_are_many_and_not_even_are_missed_evenly() -> None:
    inside, below, above = coverage(windows=8, totals=20, shared=0.0, skewed=True, level=80.0)
    assert inside == pytest.approx(0.8, abs=0.02)
    assert below == pytest.approx(0.1, abs=0.02)
    assert above == pytest.approx(0.1, abs=0.02)


def test_one_window_or_none_gives_no_interval() -> None:
    ones = np.ones((1, 3, STEPS))
    rng = np.random.default_rng(2)
    for past in (
        PastTotals(ones + rng.normal(size=ones.shape), ones, np.ones((1, 3))),
        PastTotals(ones * np.nan, ones, np.ones((1, 3))),
        PastTotals(ones[:0], ones[:0], np.ones((0, 3))),
    ):
        lower, upper = TotalErrors.collect(past).intervals(ones[0], np.ones(3), [80.0])
        assert np.isnan(lower[80.0]).all()
        assert np.isnan(upper[80.0]).all()


def test_ends_of_higher_levels_lie_outside_and_not_below_the_lowest() -> None:
    rng = np.random.default_rng(4)
    mean = rng.uniform(0, 3, (4, 5, STEPS))
    past = PastTotals(rng.poisson(mean).astype(float), mean, np.ones((4, 5)))
    lower, upper = TotalErrors.collect(past, lowest=0.0).intervals(mean[0], np.ones(5), [50.0, 80.0])
    assert (lower[50.0] >= lower[80.0]).all()
    assert (upper[80.0] >= upper[50.0]).all()
    assert (lower[80.0] >= 0).all()
    assert (lower[50.0] <= mean[0]).all()
    assert (upper[50.0] >= mean[0]).all()


def test_the_unit_knows_only_what_was_known() -> None:
    y = np.array([1.0, 2.0, 1.0, 2.0, np.nan, 2.0, 50.0, 0.0, 0.0, 0.0])
    offsets = np.array([0, 7, 10])
    assert usual_change(y, offsets, 2, periods=9, drop=1) == pytest.approx([np.nan, np.nan], nan_ok=True)
    assert usual_change(y, offsets, 1, periods=9, drop=1) == pytest.approx([1.0, np.nan], nan_ok=True)
    assert usual_change(y, offsets, 1, periods=9)[0] == pytest.approx(np.sqrt((3 + 48**2) / 4))
    assert usual_change(y, offsets, 1, periods=9, drop=99) == pytest.approx([np.nan, np.nan], nan_ok=True)
