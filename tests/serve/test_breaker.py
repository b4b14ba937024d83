"""The circuit breaker as a machine of three states, on a clock of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.serve.breaker import Breaker


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def breaker(hand: Hand) -> Breaker:
    return Breaker(failures=3, seconds=10.0, clock=hand)


def test_failures_in_a_row_open_it(breaker: Breaker) -> None:
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert breaker.allows()
    breaker.failed()
    assert (breaker.state, breaker.allows()) == ("open", False)


def test_half_of_the_last_answers_failing_opens_it_too(hand: Hand) -> None:
    breaker = Breaker(failures=5, seconds=10.0, clock=hand)
    for _ in range(31):
        breaker.failed()
        breaker.succeeded()
    assert breaker.is_closed
    breaker.failed()
    assert not breaker.is_closed


def test_a_few_failures_among_many_answers_do_not(breaker: Breaker) -> None:
    for _ in range(1_000):
        breaker.failed()
        for _ in range(3):
            breaker.succeeded()
    assert breaker.is_closed


def test_one_request_at_a_time_tries_it_half_open(breaker: Breaker, hand: Hand) -> None:
    breaker.trip()
    hand.seconds += 9.9
    assert not breaker.allows()
    hand.seconds += 0.1
    assert breaker.state == "half-open"
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert breaker.state == "closed"
    breaker.failed()
    breaker.failed()
    assert breaker.is_closed  # it starts anew


def test_a_trial_that_is_never_told_of_is_followed_by_another(breaker: Breaker, hand: Hand) -> None:
    breaker.trip()
    hand.seconds += 10
    assert breaker.allows()
    hand.seconds += 10
    assert breaker.allows()


def test_it_stays_open_longer_each_time_up_to_a_bound(breaker: Breaker, hand: Hand) -> None:
    breaker.trip()
    waits = []
    for _ in range(7):
        began = hand.seconds
        while not breaker.allows() and hand.seconds < began + 1_000:
            hand.seconds += 1.0
        waits.append(hand.seconds - began)
        breaker.failed()
    assert waits == [10, 20, 40, 80, 160, 160, 160]
    hand.seconds += 160
    assert breaker.allows()
    breaker.succeeded()
    breaker.trip()
    hand.seconds += 10
    assert breaker.allows()  # an answer makes it as patient as before


@given(st.lists(st.sampled_from(["ok", "fail", "trip", "wait"]), max_size=200))
def test_it_never_asks_while_open_and_never_stays_open_for_ever(steps: list[str]) -> None:
    hand = Hand()
    breaker = Breaker(failures=3, seconds=10.0, clock=hand)
    for step in steps:
        if step == "wait":
            hand.seconds += 4.0
        elif step == "trip":
            breaker.trip()
        elif breaker.allows():
            if step == "ok":
                breaker.succeeded()
                assert breaker.is_closed
            else:
                breaker.failed()
    hand.seconds += 10.0 * 16
    assert breaker.allows()
