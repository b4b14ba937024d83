"""How far means wander is learnt of all streams that are alike, and an odd one keeps what is its own."""

from __future__ import annotations

import numpy as np
import pytest

from everloop.stats.drift.reference import Reference, learn
from everloop.stats.drift.usual import Usual


def errors(wander: float, *, streams: int = 30, days: int = 730, seed: int = 5) -> np.ndarray:
    """Noise whose mean is another in each stretch of two months; ends with a whole stretch."""
    rng = np.random.default_rng([seed, round(100 * wander)])
    stretch = (np.arange(days) - days % 60) // 60
    return rng.normal(size=(days, streams)) + wander * rng.normal(size=(days, streams))[stretch]


def learnt(values: np.ndarray, *, alike: bool = True) -> np.ndarray:
    usual = Usual.of(values, values, np.full(values.shape[1], alike))
    # back to the unit of the values
    return usual.wander * np.sqrt(usual.temper) * values.std(axis=0)


def test_without_wander_little_is_allowed_and_less_than_of_streams_alone() -> None:
    values = errors(0.0)
    shared, alone = learnt(values), learnt(values, alike=False)
    assert shared.max() < 0.1
    assert shared.mean() < 0.5 * alone.mean()


def test_wander_is_learnt_for_streams_that_showed_none() -> None:
    values = errors(0.3)
    shared = learnt(values)
    assert learnt(values, alike=False).min() < 0.1, "some streams happened to stay"
    # temper takes a part of what wanders for dependence
    assert shared.min() > 0.15
    assert np.median(shared) == pytest.approx(0.2, abs=0.03)


def test_one_that_wanders_further_keeps_the_excess() -> None:
    values = errors(0.0)
    values[:, 3] = errors(0.5)[:, 3]
    found = learnt(values)
    assert found[3] > 0.25
    assert np.delete(found, 3).max() < 0.15


def test_ties_tell_nothing_of_others() -> None:
    values = errors(0.3)
    values[:, :20] = 0.0
    assert learnt(values)[20:].min() > 0.15
    assert np.isfinite(learnt(values)).all()


def test_what_was_learnt_is_kept_bit_for_bit() -> None:
    days = np.arange(800) + 17_000
    values = errors(0.1, streams=6, days=800)
    values[100:140, 2] = np.nan
    values[:, 5] = np.nan
    reference = learn(days, values, ["value"] * 4 + ["bias", "value"])
    again = Reference.unpack(reference.pack())
    assert again.pack() == reference.pack()
    assert (again.kinds, again.season, again.last_day) == (reference.kinds, reference.season, reference.last_day)
    for name, part in reference.usual.arrays().items():
        assert np.array_equal(part, again.usual.arrays()[name], equal_nan=True)
    assert np.array_equal(again.tail, reference.tail, equal_nan=True)
    with pytest.raises(ValueError, match="no reference for drift"):
        Reference.unpack(reference.pack()[:-20])
    with pytest.raises(ValueError, match="no reference for drift"):
        Reference.unpack(b"nothing")
