"""What a split comparison says of plain cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everloop.stats.split.comparison import compare_arms
from everloop.stats.split.metrics import UnitMetric, unit_values
from everloop.stats.split.rule import SplitRule
from unit_streams import deal, sticky_sales

NAMES = ("champion", "challenger")
RULE = SplitRule(min_days=5, max_days=30, draws=999)


def even(units: int, days: int, *, lift: float = 0.0, seed: int = 1) -> tuple[UnitMetric, np.ndarray]:
    rng = np.random.default_rng(seed)
    arm = deal(rng, units, (0.5, 0.5))
    sums = rng.gamma(4.0, 5.0, (units, days)) * np.where(arm == 1, 1 + lift, 1.0)[:, None]
    return UnitMetric("sales", sums), arm


@pytest.mark.parametrize(
    ("lift", "verdict", "words"),
    [(0.2, "promote", "is better"), (-0.2, "keep", "is worse"), (0.0, "keep", "not shown")],
)
def test_the_verdict_at_the_end(lift: float, verdict: str, words: str) -> None:
    metric, arm = even(100, 30, lift=lift)
    found = compare_arms(metric, [], arm, NAMES, rule=RULE)
    assert (found.verdict, words in found.reason) == (verdict, True)
    assert found.winner == (1 if verdict == "promote" else None)
    assert found.overall.kind == "split"
    assert found.overall.clusters == 100
    assert len(found.overall.series["lower"]) == found.overall.series["day"][-1]


def test_nothing_is_decided_before_the_least_days() -> None:
    metric, arm = even(100, 4, lift=0.5)
    found = compare_arms(metric, [], arm, NAMES, rule=RULE)
    assert (found.verdict, found.reason) == ("go on", "4 of at least 5 closed days")
    none = compare_arms(UnitMetric("sales", np.zeros((100, 0))), [], arm, NAMES, rule=RULE)
    assert (none.verdict, none.overall.effect) == ("go on", None)


def test_a_release_that_always_fails_is_stopped_on_the_first_day() -> None:
    rng = np.random.default_rng(2)
    arm = deal(rng, 120, (0.95, 0.05))
    answers = rng.poisson(20.0, (120, 1)) + 1.0
    failures = answers * (arm == 1)[:, None]
    guard = UnitMetric("failures", failures, counts=answers, better="lower", scale="absolute", margin=0.01)
    sales = UnitMetric("sales", answers)
    found = compare_arms(sales, [guard], arm, NAMES, rule=RULE)
    assert (found.verdict, found.stopped) == ("stop", (1,))
    assert found.parts[1].verdict == "harmed"
    # also where the split is not as it was set: failing may be why
    assert compare_arms(sales, [guard], arm, NAMES, rule=RULE, mismatch="p 0.001").verdict == "stop"


def test_many_units_are_compared_and_few_are_warned_of() -> None:
    metric, arm = even(10_000, 8, lift=0.1)
    found = compare_arms(metric, [], arm, NAMES, rule=RULE)
    assert (found.verdict, "normal paths" in found.overall.method) == ("promote", True)
    for units, words in ((6, "can be dealt in 20 ways only"), (12, "an arm has 6 units")):
        metric, arm = even(units, 8)
        found = compare_arms(metric, [], arm, NAMES, rule=RULE)
        assert any(words in warning for warning in found.overall.warnings)


def test_a_guardrail_that_needs_no_truth_does_not_wait_for_it() -> None:
    rng = np.random.default_rng(7)
    arm = deal(rng, 120, (0.9, 0.1))
    answers = np.full((120, 6), 10.0)
    failures = UnitMetric("failures", answers * (arm == 1)[:, None], answers, better="lower", scale="absolute")
    for known in (0, 3):
        sales = UnitMetric("sales", rng.gamma(4.0, 5.0, (120, known)))
        found = compare_arms(sales, [failures], arm, NAMES, rule=RULE)
        assert (found.verdict, len(found.parts[1].series["day"])) == ("stop", 1)
        assert found.parts[0].series["day"] == []


def test_units_that_are_all_alike_show_nothing() -> None:
    rng = np.random.default_rng(3)
    arm = deal(rng, 60, (0.5, 0.5))
    same = UnitMetric("sales", np.full((60, 30), 0.1) * 3)
    found = compare_arms(same, [replace(same, name="other")], arm, NAMES, rule=RULE)
    assert (found.verdict, found.stopped) == ("keep", ())
    assert [part.verdict for part in found.parts] == ["undecided", "undecided"]


def test_a_mismatch_blocks_a_verdict_until_the_time_is_up() -> None:
    metric, arm = even(100, 20, lift=0.3)
    assert compare_arms(metric, [], arm, NAMES, rule=RULE).verdict == "promote"
    found = compare_arms(metric, [], arm, NAMES, rule=RULE, mismatch="p 0.001")
    assert (found.verdict, found.winner) == ("cannot tell", None)
    metric, arm = even(100, 30)
    assert compare_arms(metric, [], arm, NAMES, rule=RULE, mismatch="p 0.001").verdict == "keep"


def test_not_worse_by_more_than_the_margin_is_enough_where_it_is_asked_for() -> None:
    metric, arm = even(400, 30)
    rule = replace(RULE, goal="not worse")
    assert compare_arms(replace(metric, margin=0.05), [], arm, NAMES, rule=rule).verdict == "promote"
    assert compare_arms(replace(metric, margin=0.0001), [], arm, NAMES, rule=rule).verdict == "keep"


def test_the_better_of_two_winners_is_promoted() -> None:
    rng = np.random.default_rng(4)
    arm = deal(rng, 150, (0.34, 0.33, 0.33))
    sums = rng.gamma(4.0, 5.0, (150, 30)) * np.array([1.0, 1.2, 1.5])[arm][:, None]
    found = compare_arms(UnitMetric("sales", sums), [], arm, ("a", "b", "c"), rule=RULE)
    assert (found.verdict, found.winner) == ("promote", 2)


def test_day_by_day_and_in_one_go_are_equal() -> None:
    rng = np.random.default_rng(5)
    sales = sticky_sales(rng, 60, 30)
    arm = deal(rng, 60, (0.5, 0.5))
    before = sticky_sales(rng, 60, 1)[:, 0]

    def bounds(days: int) -> list[float | None]:
        metric = UnitMetric("sales", sales[:, :days], before=before)
        evidence = compare_arms(metric, [], arm, NAMES, rule=RULE).parts[0]
        return [evidence.series["lower"][-1], evidence.series["upper"][-1], evidence.series["effect"][-1]]

    whole = compare_arms(UnitMetric("sales", sales, before=before), [], arm, NAMES, rule=RULE).parts[0].series
    for day in (1, 6, 7, 20, 30):
        once = [whole[name][day - 1] for name in ("lower", "upper", "effect")]
        assert bounds(day) == pytest.approx(once, nan_ok=True) or bounds(day) == once


def test_a_unit_counts_from_the_day_it_came() -> None:
    metric = UnitMetric("visits", np.array([[1.0, 3.0], [2.0, 2.0]]))
    present = np.array([[True, True], [False, True]])
    assert unit_values(metric, present).tolist() == [[1.0, 2.0], [0.0, 2.0]]


def test_a_ratio_is_that_of_the_sums() -> None:
    rng = np.random.default_rng(6)
    sums, counts = rng.gamma(2.0, 1.0, (40, 3)), rng.gamma(3.0, 1.0, (40, 3))
    values = unit_values(UnitMetric("error", sums, counts=counts), np.ones((40, 3), dtype=bool))
    expected = np.cumsum(sums, axis=1).sum(axis=0) / np.cumsum(counts, axis=1).sum(axis=0)
    assert values.mean(axis=0) == pytest.approx(expected)


def test_what_does_not_fit_is_refused() -> None:
    metric, arm = even(10, 3)
    with pytest.raises(ValueError, match="finite"):
        UnitMetric("sales", np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="same units"):
        compare_arms(metric, [], arm[:5], NAMES, rule=RULE)
    with pytest.raises(ValueError, match="numbered"):
        compare_arms(metric, [], arm + 1, NAMES, rule=RULE)
