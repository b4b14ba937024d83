from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everloop.improve.comparison import PairedDays, decide, pair_days
from everloop.monitor.joining import JoinedForecast


def answer(mean: list[float], actual: list[float], *, name: str, twin: str | None = None) -> JoinedForecast:
    steps = np.arange(1, len(mean) + 1)
    return JoinedForecast(
        prediction=name,
        release="r",
        role="shadow" if twin else "champion",
        kind="batch",
        twin=twin,
        series=("a",),
        index=steps + 100,
        steps=steps,
        mean=np.array([mean]),
        actual=np.array([actual]),
        lower={},
        upper={},
        hindsight=0,
    )


def test_only_twins_with_truth_are_compared() -> None:
    champion = answer([10, 10, 10], [12, 10, np.nan], name="p")
    shadow = answer([11, 10, 10], [12, 10, np.nan], name="q", twin="p")
    stranger = answer([11, 10, 10], [12, 10, 5], name="s", twin="nobody")
    days = pair_days([champion], [shadow, stranger])
    assert days.index == [101, 102]
    assert (days.champion, days.challenger, days.actual, days.pairs) == ([2, 0], [1, 0], [12, 10], 2)
    assert pair_days([champion], [replace(shadow, series=("b",))]).pairs == 0


def days_of(gain: float, n: int, seed: int = 2) -> PairedDays:
    rng = np.random.default_rng(seed)
    champion = rng.uniform(80, 120, size=n)
    challenger = champion * (1 - gain) + rng.normal(scale=5, size=n)
    return PairedDays(list(range(n)), champion.tolist(), challenger.tolist(), [200.0] * n, 10 * n)


@pytest.mark.parametrize(
    ("gain", "n", "verdict"),
    [(0.2, 5, "go on"), (0.2, 20, "promote"), (-0.2, 20, "keep"), (0.0, 20, "go on"), (0.0, 42, "keep")],
)
def test_verdicts(gain: float, n: int, verdict: str) -> None:
    evidence = decide(days_of(gain, n), alpha=0.05, min_days=14, max_days=42)
    assert evidence.verdict == verdict
    assert evidence.n == n
    assert evidence.would_change


def test_nothing_yet_goes_on() -> None:
    evidence = decide(PairedDays([], [], [], [], 0), alpha=0.05, min_days=14, max_days=42)
    assert evidence.verdict == "go on"
    assert evidence.effect is None
