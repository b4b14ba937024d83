"""Seasonal profiles: found where they are, drawn to the group's where a series says little."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everloop.core.frequency import Frequency
from everloop.data.panel import Panel
from everloop.models.profiles import Profiles, row_blocks, season_of

FOOD = np.array([0.6, 0.7, 0.8, 0.9, 1.2, 1.6, 1.2])
TOYS = np.array([1.1, 0.9, 0.9, 0.9, 0.9, 1.2, 1.1])


def shop(n: int = 80, weeks: int = 30, *, rate: float = 20.0, seed: int = 0) -> Panel:
    """Half of the items follow FOOD, half TOYS, by grid index modulo seven; some Sundays are missing."""
    random = np.random.default_rng(seed)
    cutoff, periods = 15_003, 7 * weeks
    index = cutoff - periods + 1 + np.arange(periods)
    shape = np.where((np.arange(n) < n // 2)[:, None], FOOD[index % 7], TOYS[index % 7])
    y = random.poisson(rate * shape).astype(np.float32)
    return Panel(
        Frequency.parse("1d"),
        ("item",),
        tuple((f"{row:03d}",) for row in range(n)),
        cutoff,
        np.arange(n + 1) * periods,
        y.ravel(),
        static={
            "kind": np.repeat([0.0, 1.0], n // 2).astype(np.float32),
            "size": random.integers(0, 3, n).astype(np.float32),
        },
        categories={"kind": ("food", "toys"), "size": ("l", "m", "s")},
    )


def learned(panel: Panel, periods: int) -> Profiles:
    return Profiles.learn(panel, panel.last(periods), panel.cutoff, is_ratio=True)


def test_the_column_that_parts_the_series_is_found_and_its_profiles_too() -> None:
    panel = shop()
    profiles = learned(panel, 210)
    assert (profiles.column, profiles.groups) == ("kind", ("food", "toys"))
    np.testing.assert_allclose(profiles.index[0], FOOD, atol=0.03)
    np.testing.assert_allclose(profiles.index[1], TOYS, atol=0.03)
    np.testing.assert_allclose(profiles.index[2], (FOOD + TOYS) / 2, atol=0.05)


def test_columns_belong_to_the_steps_after_the_cutoff() -> None:
    panel = shop(rate=500.0)
    profiles = learned(panel, 210)
    own = profiles.of(panel.last(210), profiles.member(panel), panel.cutoff)
    np.testing.assert_allclose(own[0], FOOD[(panel.cutoff + 1 + np.arange(7)) % 7], atol=0.06)


def test_a_slow_seller_takes_the_groups_profile_and_a_series_of_three_days_all_of_it() -> None:
    panel = shop(rate=0.2, weeks=20)
    profiles = learned(panel, 140)
    own = profiles.of(panel.last(140), profiles.member(panel), panel.cutoff)
    group = np.roll(profiles.index, -((panel.cutoff + 1) % 7), axis=1)[profiles.member(panel)]
    raw = panel.last(140).reshape(80, -1, 7).mean(axis=1)
    raw = raw / raw.mean(axis=1, keepdims=True)
    assert np.abs(own - group).mean() < 0.3 * np.abs(raw - group).mean()
    few = panel.last(140)
    few[:, :-3] = np.nan
    np.testing.assert_array_equal(profiles.of(few, profiles.member(panel), panel.cutoff), group)


def test_a_value_not_seen_before_has_the_common_profile() -> None:
    panel = shop()
    profiles = learned(panel, 210)
    other = shop(4)
    other.categories["kind"] = ("food", "garden", "toys")
    other.static["kind"][:] = [0, 1, 2, np.nan]
    assert profiles.member(other).tolist() == [0, 2, 1, 2]


def test_differences_of_targets_of_both_signs_and_no_season_at_all() -> None:
    panel = shop(4)
    block = panel.last(210).astype(np.float64) - 20
    profiles = Profiles.learn(panel, block, panel.cutoff, is_ratio=False)
    own = profiles.of(block, profiles.member(panel), panel.cutoff)
    np.testing.assert_allclose(own[0], 20 * (FOOD - 1)[(panel.cutoff + 1 + np.arange(7)) % 7], atol=2.5)
    noise = np.random.default_rng(0).normal(0, 5, (200, 210))
    flat = profiles.of(noise, np.zeros(200, dtype=np.int64), panel.cutoff)
    assert np.abs(flat).mean() < 0.8 * np.abs(noise.reshape(200, 30, 7).mean(axis=1)).mean()


def test_saved_profiles_are_the_same(tmp_path: Path) -> None:
    profiles = learned(shop(), 210)
    profiles.save(tmp_path / "profiles")
    again = Profiles.load(tmp_path / "profiles")
    assert again.groups == profiles.groups
    np.testing.assert_array_equal(again.index, profiles.index)


def test_seconds_have_no_profile_beyond_a_minute() -> None:
    panel = shop(4)
    assert season_of(panel) == 7
    assert row_blocks(5, 1_000_000) == [slice(0, 2), slice(2, 4), slice(4, 5)]
