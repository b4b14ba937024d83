"""Outcomes meet predictions in every order, with the same result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.core.frequency import Frequency
from everloop.core.ids import new_id
from everloop.monitor.accuracy import assess_decay, daily_errors, measure
from everloop.monitor.joining import Truth, join
from everloop.store.facts import Outcome, Prediction
from everloop.store.values import ForecastValues

DAY = Frequency.parse("1d")
START = datetime(2011, 11, 1, tzinfo=UTC)


def forecast(mean: list[list[float]], *, at: datetime = START, release: str = "r", width: float = 1.0) -> Prediction:
    block = np.array(mean, dtype=np.float64)
    times = (
        np.datetime64(at.replace(tzinfo=None), "us") + np.arange(1, block.shape[1] + 1) * np.timedelta64(1, "D")
    ).astype(np.int64)
    names = tuple("ab"[: len(block)])
    values = ForecastValues(names, times, block, {80.0: block - width}, {80.0: block + width})
    last = at + timedelta(days=block.shape[1])
    return Prediction(
        new_id(at), at, release, "", "champion", "batch", None, at + timedelta(days=1), last, b"{}", values.pack()
    )


def outcome(series: str, day: int, value: float, *, received: int | None = None, identifier: str = "") -> Outcome:
    time = START + timedelta(days=day)
    when = time + timedelta(hours=6) if received is None else START + timedelta(days=received)
    return Outcome(identifier or Outcome.content_id(series, time, value, None), when, None, series, time, value, "test")


def truth(*outcomes: Outcome) -> Truth:
    none = np.zeros(0, dtype=np.int64)
    return Truth.build(
        DAY,
        series=np.zeros(0, dtype=object),
        times_us=none,
        values=np.zeros(0),
        received_us=none,
        known_us=none,
        outcomes=outcomes,
    )


def test_accuracy_of_a_forecast_by_hand() -> None:
    joined = join([forecast([[10, 20], [5, 5]])], truth(outcome("a", 1, 12), outcome("a", 2, 20), outcome("b", 1, 4)))
    result = measure("r", joined, {1: 0.1, 2: 0.5})
    assert result.n == 3
    assert result.wape == pytest.approx(3 / 36)
    assert result.bias == pytest.approx(-1 / 36)
    assert result.coverage == {"80": pytest.approx(2 / 3)}
    assert result.expected_wape == pytest.approx((0.1 * 16 + 0.5 * 20) / 36)
    assert result.waiting == 1


def test_a_corrected_outcome_replaces_the_earlier_one() -> None:
    first, later = outcome("a", 1, 12), outcome("a", 1, 10, received=9)
    for order in ((first, later), (later, first)):
        (joined,) = join([forecast([[10]])], truth(*order))
        assert joined.actual[0, 0] == 10


def test_an_early_outcome_is_hindsight_for_a_later_forecast() -> None:
    known_before = outcome("a", 1, 12, received=-3)
    (joined,) = join([forecast([[10]])], truth(known_before))
    assert np.isnan(joined.actual).all()
    assert joined.hindsight == 1
    corrected = outcome("a", 1, 11, received=5)
    (joined,) = join([forecast([[10]])], truth(known_before, corrected))
    assert joined.hindsight == 1, "a correction does not make an early outcome unknown"


def test_an_outcome_without_a_prediction_changes_nothing() -> None:
    with_it = join([forecast([[10]])], truth(outcome("a", 1, 12), outcome("zzz", 40, 5)))
    without = join([forecast([[10]])], truth(outcome("a", 1, 12)))
    assert measure("r", with_it, {}) == measure("r", without, {})


def test_no_outcome_is_said_and_not_a_number() -> None:
    result = measure("r", join([forecast([[10]])], truth()), {})
    assert result.wape is None
    assert "no outcome" in result.reason


@given(st.permutations([0, 1, 2, 3, 4, 5]))
def test_the_order_of_arrival_makes_no_difference(order: list[int]) -> None:
    facts = [
        outcome("a", 1, 12),
        outcome("a", 1, 11, received=8),
        outcome("b", 1, 4),
        outcome("b", 2, 7),
        outcome("a", 2, 3, received=-1),
        outcome("b", 2, 7, identifier="again"),
    ]
    expected = measure("r", join([forecast([[10, 20], [5, 5]])], truth(*facts)), {1: 0.2})
    assert (
        measure("r", join([forecast([[10, 20], [5, 5]])], truth(*[facts[place] for place in order])), {1: 0.2})
        == expected
    )


def live(excess: float, days: int, seed: int = 1) -> list:
    rng = np.random.default_rng(seed)
    predictions = [forecast([[100.0]] * 2, at=START + timedelta(days=day)) for day in range(days)]
    outcomes = [
        outcome(name, day + 1, 100 + rng.choice([-1, 1]) * rng.uniform(5, 15) * (1 + excess))
        for day in range(days)
        for name in "ab"
    ]
    return join(predictions, truth(*outcomes))


def test_decay_is_said_when_it_is_there_and_only_then() -> None:
    def verdict(excess: float, days: int) -> str:
        daily = daily_errors(live(excess, days), {1: 0.1})
        return assess_decay(daily, max_decay=0.15, alpha=0.05, min_outcomes=10).verdict

    assert verdict(1.0, 28) == "decay"
    assert verdict(0.0, 28) == "no decay"
    assert verdict(1.0, 3) == "cannot tell"


def test_steady_accuracy_raises_no_false_alarm() -> None:
    alarms = 0
    for seed in range(100):
        daily = daily_errors(live(0.15, 28, seed), {1: 0.1})
        alarms += assess_decay(daily, max_decay=0.15, alpha=0.05, min_outcomes=10).verdict == "decay"
    assert alarms <= 8


def test_what_is_no_true_picture_of_demand_judges_nothing() -> None:
    known = truth(outcome("a", 1, 0), outcome("a", 2, 20), outcome("b", 1, 4))
    times = np.array([START.replace(tzinfo=None), START.replace(tzinfo=None)], dtype="M8[us]") + np.timedelta64(1, "D")
    left = known.without(np.array(["a", "not there"], dtype=object), times.astype(np.int64))
    joined = join([forecast([[10, 20], [5, 5]])], left)
    result = measure("r", joined, {})
    assert (result.n, result.left_out, result.waiting) == (2, 1, 1)
    assert result.wape == pytest.approx(1 / 24)
    assert join([forecast([[10, 20], [5, 5]])], known)[0].actual[0, 0] == 0
