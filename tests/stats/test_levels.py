"""Ranges hold the next window's level; evidence that it was left is as rare as is said, and grows where it was."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from everloop.stats.levels import LevelPrior, excess_path, level_range, onset, running_deviation, within_deviation


def windows(
    rng: np.random.Generator, count: int, length: int, *, memory: float = 0.0, level: float = 0.3
) -> np.ndarray:
    noise = rng.standard_normal((count, length))
    for place in range(1, length):
        noise[:, place] = memory * noise[:, place - 1] + np.sqrt(1 - memory**2) * noise[:, place]
    return noise + level * rng.standard_normal((count, 1))


@pytest.mark.parametrize(("count", "memory"), [(3, 0.0), (6, 0.5)])
def test_the_next_windows_level_lies_within_as_often_as_is_said(count: int, memory: float) -> None:
    rng = np.random.default_rng(count)
    runs, outside = 800, 0
    for _ in range(runs):
        drawn = windows(rng, count + 1, 28, memory=memory)
        span = level_range(drawn[:-1], confidence=0.95)
        assert span is not None
        assert span.lower is not None
        assert span.upper is not None
        outside += not span.lower <= drawn[-1].mean() <= span.upper
    assert binomtest(outside, runs).proportion_ci(0.99).low <= 0.10


def test_few_windows_make_a_wide_range_and_knowledge_from_elsewhere_a_narrower_one() -> None:
    rng = np.random.default_rng(1)
    drawn = windows(rng, 8, 28)
    two, eight = (level_range(drawn[:count], confidence=0.975) for count in (2, 8))
    helped = level_range(drawn[:2], confidence=0.975, prior=LevelPrior(variance=0.3**2 + 1 / 28, freedom=8))
    alone = level_range(drawn[:1], confidence=0.975)
    assert two is not None
    assert eight is not None
    assert helped is not None
    assert alone is not None
    assert alone.lower is alone.upper is alone.end(1, 0.99) is None, "one window tells of no other"
    assert two.upper is not None
    assert eight.upper is not None
    assert helped.upper is not None
    assert two.upper - two.center > 2 * (eight.upper - eight.center)
    assert helped.upper - helped.center < two.upper - two.center
    assert level_range([[np.nan, np.nan]], confidence=0.9) is None


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_alarms_within_the_range_are_as_rare_as_the_threshold_says(memory: float) -> None:
    rng = np.random.default_rng(3)
    runs, days, allowed = 1000, 365, 0.05
    stream = windows(rng, runs, days, memory=memory, level=0.0)
    deviation = np.sqrt((1 + memory) / (1 - memory))
    path = excess_path(stream, 0.0, deviation)  # the level lies at the very end of the range: the worst case
    alarms = int((path.max(axis=1) >= np.log(days / allowed)).sum())
    assert binomtest(alarms, runs).proportion_ci(0.99).low <= allowed
    untempered = excess_path(stream, 0.0, 1.0)
    wrong = int((untempered.max(axis=1) >= np.log(days / allowed)).sum())
    assert memory == 0 or wrong > 3 * allowed * runs, "without the long-run deviation it would not hold"


def test_evidence_is_the_same_day_by_day_and_tells_since_when() -> None:
    rng = np.random.default_rng(4)
    stream = 0.3 * rng.standard_normal(120)
    stream[70:] += 1.0
    deviation = running_deviation(stream, 0.3)
    whole = excess_path(stream, 0.3, deviation)
    for count in (1, 14, 15, 40, 80, 119):
        part = stream[:count]
        assert np.array_equal(excess_path(part, 0.3, running_deviation(part, 0.3)), whole[:count])
    assert whole[60] < 2
    assert whole[90] > np.log(10_000)
    assert abs(onset(stream, 0.3, deviation) - 70) <= 3
    assert (excess_path(stream, None, deviation) == -np.inf).all(), "an open end is never left"
    assert excess_path(-stream, -0.3, deviation, side=-1) == pytest.approx(whole)


def test_a_deviation_that_is_not_known_gives_no_evidence() -> None:
    assert excess_path(np.full(50, 9.0), 0.0, 0.0).max() < np.log(60)
    assert within_deviation([np.array([1.0]), np.array([2.0])]) == 0.0


def test_the_long_run_deviation_of_short_windows() -> None:
    rng = np.random.default_rng(5)
    found = np.array([within_deviation(list(windows(rng, 6, 28, memory=0.5))) for _ in range(300)])
    assert np.median(found) == pytest.approx(np.sqrt(3), rel=0.2)
