"""How much of a slow level is expected again: as much as it foretold, over all streams that are alike."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from everloop.stats.drift.dynamics import level_share, slow_level
from everloop.stats.drift.judging import judge
from everloop.stats.drift.reference import Reference, learn

Floats = NDArray[np.float64]
DAYS = np.arange(15_000, 15_731)


def wandering(rng: np.random.Generator, streams: int) -> Floats:
    """Levels that go where they will, and noise."""
    return np.cumsum(rng.normal(0, 0.06, (len(DAYS), streams)), axis=0) + rng.normal(size=(len(DAYS), streams))


def share_of(left: Floats, alike: NDArray[np.bool_] | None = None) -> Floats:
    everything = np.ones(left.shape[1], dtype=bool) if alike is None else alike
    return level_share(left, slow_level(left, left[:0], 1), everything, 1)


def test_a_level_that_wanders_is_followed_and_noise_hardly() -> None:
    rng = np.random.default_rng(1)
    assert share_of(wandering(rng, 40)).min() > 0.9
    quiet = [share_of(rng.normal(size=(len(DAYS), 40)))[0] for _ in range(20)]
    assert np.mean(quiet) < 0.25


def test_one_stream_says_too_little_to_hold_its_level_still() -> None:
    rng = np.random.default_rng(2)
    alone = [share_of(rng.normal(size=(len(DAYS), 1)))[0] for _ in range(60)]
    together = [share_of(rng.normal(size=(len(DAYS), 40)))[0] for _ in range(10)]
    assert all(0 <= each <= 1 for each in alone)
    assert np.mean(together) < np.mean(alone)


@pytest.mark.parametrize("length", [0, 1, 40, 90])
def test_a_history_that_is_too_short_to_tell_follows_the_level(length: int) -> None:
    left = np.random.default_rng(3).normal(size=(length, 5))
    assert share_of(left).tolist() == [1.0] * 5
    assert share_of(np.full((731, 5), np.nan)).tolist() == [1.0] * 5
    assert share_of(np.zeros((731, 5))).tolist() == [1.0] * 5


def test_streams_that_may_not_wander_follow_nothing_and_do_not_count() -> None:
    rng = np.random.default_rng(4)
    left = np.concatenate([rng.normal(size=(len(DAYS), 20)), wandering(rng, 20)], axis=1)
    alike = np.arange(40) < 20
    assert share_of(left, alike)[20:].tolist() == [0.0] * 20
    np.testing.assert_array_equal(share_of(left, alike)[:20], share_of(left[:, :20]))
    assert learn(DAYS, left[:, :2], ["bias", "value"]).follows[0] == 0


def test_a_small_change_of_streams_that_do_not_wander_is_found_however_long_it_takes() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(731 + 300, 40))
    reference = learn(DAYS, values[:731], ["value"] * 40)
    assert reference.follows[0] < 0.6
    watched = values[731:].copy()
    watched[60:, :8] += 0.6
    found = judge(reference, 15_731 + np.arange(300), watched)
    assert found.is_alarm[:8].sum() >= 7
    assert not found.is_alarm[8:].any()
    again = Reference.unpack(reference.pack())
    np.testing.assert_array_equal(again.follows, reference.follows)
