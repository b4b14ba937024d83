from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.core.errors import RequestError
from everloop.serve.doors.limits import (
    Limiter,
    address_key,
    check_depth,
    check_rows,
    depth_of,
)
from everloop.serve.failures import status_of

RATES = st.floats(0.01, 10_000)
BURSTS = st.integers(1, 50)
PAUSES = st.lists(st.floats(0, 20), min_size=1, max_size=150)


@given(RATES, BURSTS, PAUSES, st.floats(0, 1e6))
def test_no_span_lets_more_through_than_burst_and_rate_allow(
    rate: float, burst: int, pauses: list[float], start: float
) -> None:
    limiter = Limiter(rate, burst)
    now, let_through = start, []
    for pause in pauses:
        now += pause / rate
        if limiter.take("key", now=now) == 0.0:
            let_through.append(now)
    for first, begun in enumerate(let_through):
        for last in range(first, len(let_through)):
            span = let_through[last] - begun
            # the clock's own rounding, one part in 2**52 of its reading, and a nanosecond for each step
            slack = rate * (1e-9 + (start + 1e4) * 2**-50) * (last - first + 1)
            assert last - first + 1 <= burst + rate * span + slack + 1e-6


@given(RATES, BURSTS, PAUSES)
def test_after_the_wait_that_was_told_the_next_one_is_let_through(rate: float, burst: int, pauses: list[float]) -> None:
    limiter = Limiter(rate, burst)
    now = 0.0
    for pause in pauses:
        now += pause / rate
        wait = limiter.take("key", now=now)
        if wait:
            assert wait <= 1 / rate + 1e-6
            now += wait
            assert limiter.take("key", now=now) == 0.0


@given(st.floats(0.1, 1000), BURSTS)
def test_who_keeps_to_the_rate_is_never_refused(rate: float, burst: int) -> None:
    limiter = Limiter(rate, burst)
    assert all(limiter.take("key", now=step / rate) == 0.0 for step in range(200))


def test_names_do_not_share_a_bucket_and_may_have_a_rate_of_their_own() -> None:
    limiter = Limiter(1.0, 1)
    assert limiter.take("a", now=0.0) == 0.0
    assert limiter.take("b", now=0.0) == 0.0
    assert limiter.take("a", now=0.0) == 1.0
    assert limiter.take("c", rate=0.5, now=0.0) == 0.0
    assert limiter.take("c", rate=0.5, now=0.0) == 2.0


def test_no_rate_is_no_bound_and_no_burst_is_one_second() -> None:
    assert all(Limiter(0.0).take("a", now=0.0) == 0.0 for _ in range(5))
    limiter = Limiter(3.0)
    assert [limiter.take("a", now=0.0) > 0 for _ in range(4)] == [False, False, False, True]
    slow = Limiter(0.1)
    assert [slow.take("a", now=0.0) > 0 for _ in range(2)] == [False, True]


def test_a_flood_of_names_is_bounded_and_the_busiest_are_remembered() -> None:
    limiter = Limiter(1.0, 5, most=100)
    for _ in range(5):
        limiter.take("busy", now=0.0)
    for number in range(5000):
        limiter.take(f"name {number}", now=number / 1e6)
        assert len(limiter._arrivals) <= 100
    assert limiter.take("busy", now=0.01) > 0


def test_an_ipv6_network_is_one_caller() -> None:
    assert address_key("2001:db8:1:2::1") == address_key("2001:db8:1:2:ffff::")
    assert address_key("2001:db8:1:2::1") != address_key("2001:db8:1:3::1")
    assert address_key("::ffff:192.0.2.7") == address_key("192.0.2.7") == "192.0.2.7"
    assert address_key("fe80::1%eth0") == address_key("fe80::2")
    assert address_key("not:an:address") == "not:an:address"


VALUES = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\,:a\u00e9', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\', max_size=4), inner, max_size=4),
    max_leaves=40,
)


def depth(value: Any) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 0


@given(VALUES, st.booleans())
def test_the_depth_is_that_of_the_value(value: Any, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode()
    assert depth_of(body) == depth_of(bytearray(body)) == depth(value)


@given(VALUES, st.integers(0, 6))
def test_deeper_bodies_are_refused(value: Any, most: int) -> None:
    body = json.dumps(value).encode()
    if depth(value) <= most:
        check_depth(body, most)
    else:
        with pytest.raises(RequestError) as caught:
            check_depth(body, most)
        assert status_of(caught.value) == 400


@given(st.binary(max_size=200) | st.text(alphabet='[]{}"\\', max_size=200).map(str.encode))
def test_no_bytes_break_the_depth(body: bytes) -> None:
    assert 0 <= depth_of(body) <= len(body)


def test_a_bomb_of_brackets_is_refused() -> None:
    for body in (b"[" * 5_000_000, b'{"a":' * 1_000_000, b"[" * 65):
        with pytest.raises(RequestError):
            check_depth(body, 64)
    check_depth(b"[" + b"[1,2]," * 100_000 + b"[1]]", 64)
    check_depth(b'{"a": "' + b"[" * 1000 + b'"}', 64)


def test_rows_are_bounded() -> None:
    check_rows(10, 10)
    with pytest.raises(RequestError) as caught:
        check_rows(11, 10)
    assert status_of(caught.value) == 413
