"""The paired comparison against its claims: few false promotions at every look, and the same answer in any order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from everloop.stats.paired.comparison import PairedLosses, PairedRule, compare_paired
from everloop.stats.paired.losses import loss_of
from everloop.stats.paired.paths import paired_paths

Floats = NDArray[np.float64]
RULE = PairedRule(min_days=7, max_days=60)
RUNS, DAYS = 400, 60


def streams(
    seed: int, clusters: int, *, phi: float = 0.0, common: float = 0.0, gain: float = 0.0, runs: int = RUNS
) -> tuple[Floats, Floats]:
    """Differences and the champion's losses: heavy tails, a week's season, stores of unlike size, days that hang
    together, and a share of the variance that all stores have in common."""
    rng = np.random.default_rng(seed)

    def noise(width: int) -> Floats:
        steps = rng.standard_t(4, size=(runs, DAYS, width))
        out = np.empty_like(steps)
        out[:, 0] = steps[:, 0] / np.sqrt(1 - phi * phi)
        for day in range(1, DAYS):
            out[:, day] = phi * out[:, day - 1] + steps[:, day]
        return out * np.sqrt(1 - phi * phi)

    size = np.exp(rng.normal(0, 0.25, clusters))
    week = 1 + 0.3 * np.sin(2 * np.pi * np.arange(DAYS) / 7)[:, None]
    lost = (8 + rng.gamma(2, 1, size=(runs, DAYS, clusters))) * size * week
    apart = np.sqrt(1 - common) * noise(clusters) + np.sqrt(common) * noise(1)
    return apart * size * week + gain * lost, lost


@pytest.mark.parametrize(
    ("clusters", "phi", "common"),
    [
        pytest.param(50, 0.0, 0.0, id="50 stores"),
        pytest.param(50, 0.9, 0.0, id="50 stores, days that hang together"),
        pytest.param(10, 0.5, 0.0, id="10 stores"),
        pytest.param(50, 0.5, 0.3, id="stores that move together"),
        pytest.param(1, 0.7, 0.0, id="one store: days alone"),
    ],
)
def test_a_challenger_that_is_not_better_is_rarely_promoted(clusters: int, phi: float, common: float) -> None:
    difference, lost = streams(11, clusters, phi=phi, common=common)
    wrong = int((paired_paths(difference, lost, RULE).lower > 0).any(axis=-1).sum())
    # at five percent, 400 runs give more than 30 with a probability of 1 in 100
    assert binomtest(wrong, RUNS, RULE.alpha, alternative="greater").pvalue > 0.01, wrong


def test_clusters_find_a_small_gain_in_days_where_days_alone_need_months() -> None:
    difference, lost = streams(12, 50, phi=0.5, gain=0.05, runs=100)
    by_cluster = paired_paths(difference, lost, RULE).lower > 0
    by_day = paired_paths(difference.sum(axis=-1, keepdims=True), lost.sum(axis=-1, keepdims=True), RULE).lower > 0
    assert np.median(by_cluster.argmax(axis=-1)) < 10
    assert by_cluster.any(axis=-1).mean() > 0.95
    assert by_cluster[:, 20].mean() > by_day[:, 20].mean() + 0.2


def losses_of(seed: int, clusters: int = 12, **kinds: float) -> PairedLosses:
    difference, lost = (each[0] for each in streams(seed, clusters, runs=1, **kinds))  # type: ignore[arg-type]
    names = tuple(f"store {number:02}" for number in range(clusters))
    counts = np.full(lost.shape, 3)
    return PairedLosses(np.arange(DAYS), names, lost, lost - difference, counts)


def until(losses: PairedLosses, days: int) -> PairedLosses:
    return replace(
        losses,
        days=losses.days[:days],
        champion=losses.champion[:days],
        challenger=losses.challenger[:days],
        counts=losses.counts[:days],
    )


@pytest.mark.parametrize("kinds", [{}, {"common": 0.4}])
def test_day_by_day_is_the_same_as_in_one_go(kinds: dict[str, float]) -> None:
    losses = losses_of(3, **kinds)
    whole = compare_paired(losses, RULE).paths
    for days in (7, 14, 15, 40, 60):
        part = compare_paired(until(losses, days), RULE)
        for name in ("effect", "lower", "upper", "common", "clusters", "worth", "by_day"):
            now, then = getattr(part.paths, name), getattr(whole, name)[:days]
            np.testing.assert_array_equal(now, then, err_msg=name)


def test_the_order_of_cases_changes_no_bit() -> None:
    rng = np.random.default_rng(5)
    day, cluster = rng.integers(0, 30, 4000), rng.integers(0, 12, 4000).astype(str)
    champion, challenger = rng.gamma(2, 1e3, 4000), rng.gamma(2, 1.0, 4000)
    first = PairedLosses.collect(day, cluster, champion, challenger)
    order = rng.permutation(4000)
    second = PairedLosses.collect(day[order], cluster[order], champion[order], challenger[order])
    np.testing.assert_array_equal(first.champion, second.champion)
    np.testing.assert_array_equal(first.challenger, second.challenger)
    assert first.clusters == second.clusters
    assert first.counts.sum() == 4000


@pytest.mark.parametrize(
    ("gain", "days", "rule", "verdict", "why"),
    [
        (0.2, 5, RULE, "go on", "too early"),
        (0.2, 20, RULE, "promote", "better"),
        (-0.2, 20, RULE, "keep", "worse"),
        (0.0, 20, replace(RULE, margin=0.2), "promote", "not worse"),
        (-0.06, 40, replace(RULE, futility=0.1), "keep", "worse"),
        (0.0, 60, replace(RULE, futility=0.0), "keep", "time is up"),
    ],
)
def test_verdicts(gain: float, days: int, rule: PairedRule, verdict: str, why: str) -> None:
    result = compare_paired(until(losses_of(1, gain=gain), days), rule)
    assert (result.verdict, result.why) == (verdict, why)


def test_a_trial_that_will_not_decide_ends_early_and_costs_little_power() -> None:
    """Of challengers that would be promoted in the end, few are stopped; of useless ones most are."""

    def ends(gain: float, futility: float) -> list[str]:
        found = []
        for seed in range(60):
            losses = losses_of(100 + seed, clusters=10, gain=gain)
            for days in range(7, DAYS + 1):
                result = compare_paired(until(losses, days), replace(RULE, futility=futility))
                if result.verdict != "go on":
                    break
            found.append(result.why)
        return found

    assert ends(-0.01, 0.02).count("futile") > 30
    good = ends(0.06, 0.0).count("better")
    assert good > 30
    assert ends(0.06, 0.02).count("better") >= good - 3


def test_warnings_say_what_was_done() -> None:
    few = compare_paired(losses_of(2, clusters=3), RULE)
    assert few.unit == "day"
    assert "too few clusters (3)" in few.warnings[0]
    together = compare_paired(losses_of(2, clusters=20, common=0.5), RULE)
    assert together.unit == "day"
    assert "move together" in together.warnings[0]
    assert compare_paired(losses_of(2, clusters=20), RULE).warnings == ()


def test_nothing_yet_goes_on() -> None:
    empty = PairedLosses.collect([], [], [], [])
    result = compare_paired(empty, RULE)
    assert (result.verdict, result.effect, result.lower) == ("go on", None, None)


def test_losses_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        PairedLosses.collect([1], ["a"], [np.nan], [1.0])


@pytest.mark.parametrize("name", ["mape", "pinball", "pinball:1.5", "cost:1", "cost:a:b", "cost:0:0"])
def test_an_unknown_loss_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        loss_of(name)


def test_losses() -> None:
    assert loss_of("absolute").of([1.0, 3.0], [2.0, np.nan]).tolist()[0] == 1.0
    assert loss_of("squared").of([1.0], [3.0]).tolist() == [4.0]
    # the pinball loss at a quantile is least at that quantile
    actual = np.random.default_rng(0).gamma(2, 1, 20_000)
    grid = np.linspace(0, 8, 81)
    best = grid[np.argmin([loss_of("pinball:0.9").of(np.full(actual.shape, each), actual).mean() for each in grid])]
    assert abs(best - np.quantile(actual, 0.9)) < 0.11
