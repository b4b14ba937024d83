"""The error bounds of a split, by simulation: looked at on each of 60 days, on heavy-tailed and sticky units."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from everloop.stats.split.boundary import boundary, spending
from everloop.stats.split.comparison import compare_arms, metric_bounds
from everloop.stats.split.metrics import UnitMetric
from everloop.stats.split.planning import decision_days, first_passages
from everloop.stats.split.rule import SplitRule
from unit_streams import deal, forecast_errors, sticky_sales

ALPHA = 0.05
DAYS = 60
BEFORE = 28
RULE = SplitRule(alpha=ALPHA, guardrail_alpha=ALPHA, max_days=DAYS, draws=2_999)


def is_refuted(errors: int, n: int, bound: float = ALPHA) -> bool:
    """Whether so many errors refute the bound, at a level that leaves the suite in peace."""
    return bool(binomtest(errors, n, bound, alternative="greater").pvalue < 0.005)


def metric_of(kind: str, rng: np.random.Generator, units: int) -> UnitMetric:
    """A metric without any effect, with what was known before where its kind says so."""
    errors, sales = forecast_errors(rng, units, BEFORE + DAYS)
    now, past = sales[:, BEFORE:], sales[:, :BEFORE].sum(axis=1)
    if kind == "plain":
        return UnitMetric("sales", now)
    if kind == "before":
        return UnitMetric("sales", now, before=past)
    if kind == "binary":
        return UnitMetric("sold", (now > 0).astype(np.float64), before=(sales[:, :BEFORE] > 0).sum(axis=1) * 1.0)
    ratio = UnitMetric("error", errors[:, BEFORE:], counts=now, better="lower")
    if kind == "ratio":
        return ratio
    known = {"before": errors[:, :BEFORE].sum(axis=1), "before_counts": past}
    return UnitMetric("error", errors[:, BEFORE:], counts=now, better="lower", **known)


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.99])
def test_a_path_passes_its_boundary_no_more_often_than_is_spent(correlation: float) -> None:
    rng = np.random.default_rng(1)
    n, draws = 1_000, 799
    noise = rng.standard_normal((n * (draws + 1), 10))
    for day in range(1, 10):
        noise[:, day] = correlation * noise[:, day - 1] + np.sqrt(1 - correlation**2) * noise[:, day]
    spent = spending(10, alpha=ALPHA, horizon=10)
    passed = 0
    for block in noise.reshape(n, draws + 1, 10):
        passed += bool((block[0] > boundary(block[1:], spent)).any())
    assert not is_refuted(passed, n)
    assert passed > 0.5 * ALPHA * n  # nor does it waste much of what it may spend


def test_many_looks_at_few_draws_waste_little_of_the_error() -> None:
    rng = np.random.default_rng(5)
    n, draws, looks = 600, 199, 300
    # the paths of units whose days are alike: what is largest at one look is so at the next
    paths = rng.standard_normal((n, draws + 1, 1)) + rng.normal(0, 0.05, (n, draws + 1, looks))
    spent = spending(looks, alpha=ALPHA, horizon=looks)
    passed = sum(bool((block[0] > boundary(block[1:], spent)).any()) for block in paths)
    assert not is_refuted(passed, n)
    assert passed > 0.5 * ALPHA * n


@pytest.mark.parametrize("kind", ["plain", "before", "ratio", "ratio before", "binary"])
@pytest.mark.parametrize(("units", "share"), [(60, 0.5), (120, 0.1)])
def test_a_model_against_itself_wins_no_more_often_than_alpha(kind: str, units: int, share: float) -> None:
    rng = np.random.default_rng(2)
    wins = n = 0
    for _ in range(10):
        metric = metric_of(kind, rng, units)
        deals = np.stack([deal(rng, units, (1 - share, share)) for _ in range(100)])
        won = first_passages(metric, deals, rule=RULE)
        wins, n = wins + int((won > 0).sum()), n + len(won)
    assert not is_refuted(wins, n), f"{wins} of {n}"
    assert wins > 0.2 * ALPHA * n


def test_a_small_share_of_many_units_keeps_the_bound() -> None:
    # normal paths broke the bound here: a small arm of heavy-tailed units is not yet normal
    rng = np.random.default_rng(3)
    metric = metric_of("before", rng, 2_200)
    rule = SplitRule(alpha=ALPHA, max_days=20, draws=2_000)
    deals = np.stack([deal(rng, 2_200, (0.9, 0.1)) for _ in range(600)])
    wins = int((first_passages(metric, deals, rule=rule) > 0).sum())
    assert not is_refuted(wins, len(deals)), wins


def test_three_challengers_and_four_guardrails_share_one_bound_each() -> None:
    rng = np.random.default_rng(4)
    n, units, days = 60, 80, 30
    rule = SplitRule(alpha=ALPHA, guardrail_alpha=ALPHA, max_days=days, draws=799)
    wins = harms = 0
    for _ in range(n):
        blocks = [sticky_sales(rng, units, days) for _ in range(5)]
        primary, *guards = (UnitMetric(f"m{place}", block) for place, block in enumerate(blocks))
        arm = deal(rng, units, (0.4, 0.2, 0.2, 0.2))
        names = ("champion", "b", "c", "d")
        at_end = compare_arms(primary, guards, arm, names, rule=rule)
        looks = [path for part in at_end.parts[:3] for path in part.series["lower"]]
        wins += any(lower is not None and lower > 0 for lower in looks)
        spent = spending(days, alpha=ALPHA, horizon=days)
        family = metric_bounds(guards, arm, 4, spent=spent, draws=799)
        harms += any(bool((each.upper < 0).any()) for row in family for each in row)
    assert not is_refuted(wins, n), wins
    assert not is_refuted(harms, n), harms


def test_the_bounds_hold_the_true_effect_at_all_looks() -> None:
    rng = np.random.default_rng(5)
    n, units, effect = 200, 200, 0.3
    below = above = 0
    for _ in range(n):
        arm = deal(rng, units, (0.5, 0.5))
        sums = sticky_sales(rng, units, 28) * np.where(arm == 1, 1 + effect, 1.0)[:, None]
        spent = spending(28, alpha=ALPHA, horizon=28, first=7)
        ((bounds,),) = metric_bounds([UnitMetric("sales", sums)], arm, 2, spent=spent, draws=799)
        below += bool((bounds.upper < effect).any())
        above += bool((bounds.lower > effect).any())
    assert not is_refuted(below, n), below
    assert not is_refuted(above, n), above


def test_the_bounds_of_a_ratio_hold_the_true_effect() -> None:
    rng = np.random.default_rng(11)
    n, units, effect = 60, 60, 0.3
    missed = 0
    for _ in range(n):
        errors, sales = forecast_errors(rng, units, 10)
        arm = deal(rng, units, (0.5, 0.5))
        treated = errors * np.where(arm == 1, 1 - effect, 1.0)[:, None]
        spent = spending(10, alpha=ALPHA, horizon=10)
        metric = UnitMetric("error", treated, sales, better="lower")
        ((bounds,),) = metric_bounds([metric], arm, 2, spent=spent, draws=799)
        missed += bool(((bounds.upper < effect) | (bounds.lower > effect)).any())
    assert not is_refuted(missed, n, 2 * ALPHA), missed


@pytest.mark.parametrize("scale", ["relative", "absolute"])
def test_a_challenger_worse_by_just_the_margin_is_neither_let_through_nor_said_to_harm(scale: str) -> None:
    rng = np.random.default_rng(10)
    n, units, margin = 50, 60, 0.2
    rule = SplitRule(alpha=ALPHA, guardrail_alpha=ALPHA, max_days=14, goal="not worse", draws=999)
    through = harms = 0
    for _ in range(n):
        errors, sales = forecast_errors(rng, units, 14)
        arm = deal(rng, units, (0.5, 0.5))
        worse = errors * 1.2 if scale == "relative" else errors + 0.2 * sales
        treated = np.where((arm == 1)[:, None], worse, errors)
        metric = UnitMetric("error", treated, counts=sales, better="lower", margin=margin, scale=scale)
        primary, guard = compare_arms(metric, [metric], arm, ("a", "b"), rule=rule).parts
        through += any(lower is not None and lower > -margin for lower in primary.series["lower"])
        harms += any(upper is not None and upper < -margin for upper in guard.series["upper"])
    assert not is_refuted(through, n), through
    assert not is_refuted(harms, n), harms


def test_one_bad_challenger_does_not_help_another_to_win() -> None:
    rng = np.random.default_rng(6)
    n, units, days = 150, 90, 28
    rule = SplitRule(alpha=ALPHA, max_days=days, draws=999)
    wins = 0
    for _ in range(n):
        arm = deal(rng, units, (0.34, 0.33, 0.33))
        sums = sticky_sales(rng, units, days) * np.where(arm == 2, 0.2, 1.0)[:, None]
        found = compare_arms(UnitMetric("sales", sums), [], arm, ("a", "b", "c"), rule=rule)
        wins += any(lower is not None and lower > 0 for lower in found.parts[0].series["lower"])
    assert not is_refuted(wins, n), wins


def test_what_was_known_before_shortens_the_wait() -> None:
    rng = np.random.default_rng(7)
    sales = rng.lognormal(2.0, 0.8, (400, 1)) * rng.gamma(2.0, 0.5, (400, BEFORE + DAYS))
    waits = {}
    for name, before in (("plain", None), ("cuped", sales[:, :BEFORE].sum(axis=1))):
        metric = UnitMetric("sales", sales[:, BEFORE:], before=before)
        none, some = decision_days(metric, effects=[0.0, 0.1], rule=RULE, replications=200)
        waits[name] = some.median or DAYS + 1
        assert not is_refuted(round(none.decided * 200), 200)
    assert waits["cuped"] < 0.5 * waits["plain"], waits


def test_the_plan_is_what_the_comparison_does() -> None:
    rng = np.random.default_rng(8)
    base = metric_of("ratio", rng, 100)
    arm = deal(rng, 100, (0.5, 0.5))
    rule = SplitRule(alpha=ALPHA, max_days=DAYS, draws=2_999)
    assert base.counts is not None
    planned = int(first_passages(base, arm[None, :], effects=[0.6], rule=rule)[0, 0])
    treated = base.sums * np.where(arm == 1, 0.4, 1.0)[:, None]
    metric = UnitMetric("error", treated, counts=base.counts, better="lower")
    lower = compare_arms(metric, [], arm, ("a", "b"), rule=rule).parts[0].series["lower"]
    day = next(place for place, value in enumerate(lower, start=1) if value is not None and value > 0)
    assert abs(day - planned) <= 3


def test_without_the_correction_for_looks_the_bound_is_broken() -> None:
    rng = np.random.default_rng(9)
    metric = metric_of("plain", rng, 60)
    deals = np.stack([deal(rng, 60, (0.5, 0.5)) for _ in range(300)])
    sizes: NDArray[np.int64] = np.cumsum(metric.sums, axis=1)
    a, b = (np.stack([sizes[row == number] for row in deals]) for number in (0, 1))
    z = (b.mean(axis=1) - a.mean(axis=1)) / np.sqrt(a.var(axis=1) / 30 + b.var(axis=1) / 30)
    assert is_refuted(int((z[:, 6:] > 1.645).any(axis=1).sum()), 300)
