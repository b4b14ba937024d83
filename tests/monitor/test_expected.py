"""Live errors against the ranges of a release: rare false alarms over a year, real ones soon, settled days only."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.stats import binomtest

from everloop.core.errors import IntegrityError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.monitor.expected import expected_of, judge_streams, settled_days
from everloop.monitor.joining import JoinedForecast
from everloop.monitor.live_days import COLUMNS, LiveDays, sum_days
from everloop.release.bundle import open_release
from everloop.validate.expected import EXPECTED_FILE
from releasing import release_once

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KINDS = ("error", "bias", "coverage", "estimate")


@pytest.fixture
def shops(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("decisions.shops")


def test_healthy_years_alarm_no_more_often_than_allowed(shops: Any) -> None:
    worlds = [shops.World("autocorrelated", memory=0.7), shops.World("December", december=0.8, heavy=0.3)]
    for world in worlds:
        runs = 80
        alarms = sum(shops.first_alarm(shops.judged(world, seed, 0.05)[0], KINDS) is not None for seed in range(runs))
        assert binomtest(alarms, runs).proportion_ci(0.99).low <= 0.05, world.name


def test_a_fault_is_found_within_weeks(shops: Any) -> None:
    delays = []
    for seed in range(20):
        streams, first = shops.judged(shops.World("smooth"), seed, 0.05, shops.Fault(60, factor=1.5))
        found = shops.first_alarm(streams, ("error", "bias"))
        delays.append(1000 if found is None else found - first - 60)
    assert 0 < np.median(delays) <= 21


def test_day_by_day_equals_one_go(shops: Any) -> None:
    expected, days, present = shops.live_year(shops.World("smooth"), 3, shops.Fault(100, factor=1.4))
    whole = judge_streams(expected, days, present=present, alarms_per_year=0.05)
    for count in (20, 99, 130, 300):
        part = LiveDays(days.observations[:count], days.months[:count], days.sums[:count], days.fresh[:count])
        until = int(days.observations[count - 1]) + 1
        for short, long in zip(judge_streams(expected, part, present=until, alarms_per_year=0.05), whole, strict=True):
            for side, path in short.evidence.items():
                assert np.array_equal(path, long.evidence[side][: len(path)])


def test_a_day_with_a_part_of_its_truth_is_not_judged(shops: Any) -> None:
    expected, days, present = shops.live_year(shops.World("smooth"), 4)
    sums = days.sums.copy()
    sums[50, :, COLUMNS.index("known")] *= 0.6  # late truth
    late = replace(days, sums=sums)
    full, partial = settled_days(late, expected.buckets[0], 0, present=present)
    assert (int(full.sum()), np.flatnonzero(partial).tolist()) == (364, [50])
    assert len(judge_streams(expected, late, present=present, alarms_per_year=0.05)[0].values) == 364
    today = int(days.observations[100])
    full, partial = settled_days(days, expected.buckets[0], 0, present=today)
    assert int(full.sum()) == 100
    assert not partial.any(), "a day that is not over is neither"


def test_sums_by_day_and_steps(shops: Any) -> None:
    expected = shops.live_year(shops.World("smooth"), 5)[0]
    actual = np.array([[2.0, np.nan], [4.0, 1.0]])
    mean = np.array([[3.0, 1.0], [3.0, 1.5]])
    joined = JoinedForecast(
        prediction="p",
        release="r",
        role="champion",
        kind="batch",
        twin=None,
        series=("a", "b"),
        index=np.array([100, 101]),
        steps=np.array([7, 8]),
        mean=mean,
        actual=actual,
        lower={80.0: mean - 0.75},
        upper={80.0: mean + 0.75},
        hindsight=0,
    )
    observations, sums = sum_days([joined, joined], expected)
    assert observations.tolist() == [100, 101]
    seventh, eighth = (dict(zip(COLUMNS, each, strict=True)) for each in (sums[0, 0], sums[1, 1]))
    assert seventh["absolute"] == 2 * 2
    assert seventh["signed"] == 0
    assert (seventh["inside"], seventh["covered"]) == (0, 4)
    assert (eighth["forecasts"], eighth["known"], eighth["inside"]) == (4, 2, 2)
    assert (eighth["width"], eighth["width_ahead"]) == (3.0, 6.0)
    assert sums[0, 1].sum() == 0


def test_a_wider_level_that_fails_alone_is_found(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project = make_project("validate.windows=4", "forecast.levels=[95, 80]")
    expected = expected_of(release_once(project, make_panel(series=40, periods=240)).folder)
    assert expected is not None
    assert (expected.level, expected.wider) == (80.0, (95.0,))
    span = expected.buckets[0].wider["95"]
    assert span is not None
    assert span.center > 0.9

    def alarms(width: float) -> set[str]:
        """The kinds that are beyond their range after 120 days of normal errors and 95 % intervals of some width."""
        rng = np.random.default_rng(1)
        joined = []
        for day in range(120):
            actual = 100.0 + 10.0 * rng.standard_normal((200, 14))
            mean = np.full_like(actual, 100.0)
            ends = {80.0: 12.816, 95.0: width}
            lower, upper = ({level: mean + side * end for level, end in ends.items()} for side in (-1, 1))
            index = 20_000 + day + np.arange(14)
            steps = np.arange(1, 15)
            about = ("p", "r", "champion", "batch", None, tuple(map(str, range(200))))
            joined.append(JoinedForecast(*about, index, steps, mean, actual, lower, upper, 0))
        observations, sums = sum_days(joined, expected)
        flags = np.ones(len(observations), dtype=np.bool_)
        days = LiveDays(observations, np.ones(len(observations), dtype=np.int64), sums, flags)
        streams = judge_streams(expected, days, present=20_120, alarms_per_year=0.05)
        return {each.kind for each in streams if each.kind.startswith("coverage") and each.out}

    assert alarms(19.6) == set()
    assert alarms(13.0) == {"coverage 95"}


def test_a_release_carries_its_ranges_and_they_cannot_be_changed(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    release = release_once(make_project("validate.windows=3"), make_panel())
    expected = expected_of(release.folder)
    assert expected is not None
    assert [bucket.name for bucket in expected.buckets] == ["1-7", "8-14"]
    error = expected.buckets[0].error
    assert error is not None
    assert error.lower is not None
    assert error.lower < error.center
    assert "no season" in expected.season
    path = release.folder / EXPECTED_FILE
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(expected, season="none")))
    with pytest.raises(IntegrityError, match="is changed"):
        open_release(release.folder, digest=release.digest)
    path.write_bytes(b"{}")
    with pytest.raises(IntegrityError) as raised:
        expected_of(release.folder)
    assert raised.value.code == "expected_ranges"
    path.unlink()
    assert expected_of(release.folder) is None, "a release of an older version has none"
