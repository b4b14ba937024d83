"""Gates on what was measured of a release."""

from __future__ import annotations

import math

import pytest

from everloop.validate.gates.serving import latency, memory, parity

TRAINED = {"a": {"forecast": [1.0, 2.0], "lo-80": [None, 0.0]}, "b": {"forecast": [3.0, 0.0]}}


def test_the_same_answers_pass_in_every_way() -> None:
    gate = parity(TRAINED, {"by the model": TRAINED, "from the snapshot": TRAINED})
    assert gate.passed
    assert gate.evidence["n"] == 12


@pytest.mark.parametrize(
    ("served", "word"),
    [
        ({"a": TRAINED["a"], "b": {"forecast": [math.nextafter(3.0, 4), 0.0]}}, "by up to 1.5e-16"),
        ({"a": TRAINED["a"], "b": {"forecast": [3.0]}}, "in what they hold"),
        ({"a": {"forecast": [1.0, 2.0], "lo-80": [0.0, 0.0]}, "b": TRAINED["b"]}, "in what they hold"),
        ({"a": TRAINED["a"]}, "in what they hold"),
    ],
)
def test_any_difference_stops(served: dict[str, dict[str, list[float]]], word: str) -> None:
    gate = parity(TRAINED, {"by the model": TRAINED, "from the snapshot": served})
    assert gate.blocks
    assert "from the snapshot, 1 of 2" in gate.message
    assert word in gate.message


def test_a_difference_within_the_tolerance_passes() -> None:
    near = {"a": TRAINED["a"], "b": {"forecast": [3.0 * (1 + 1e-9), 0.0]}}
    assert parity(TRAINED, {"alone": near}, tolerance=1e-6).passed
    assert not parity(TRAINED, {"alone": near}, tolerance=1e-12).passed


def test_nothing_asked_does_not_pass() -> None:
    gate = parity({}, {})
    assert (gate.passed, gate.severity) == (False, "warning")


def test_the_least_disturbed_round_counts() -> None:
    quiet, disturbed = [1.0] * 99 + [50.0], [9.0] * 100
    assert latency([disturbed, quiet], 2.0).passed
    assert latency([disturbed, disturbed], 8.0).blocks
    assert latency([], 8.0).blocks


def test_memory_is_held_to_its_limit() -> None:
    assert memory(99.0, 100.0, before=40.0).passed
    assert memory(101.0, 100.0).blocks
    gate = memory(None, 100.0)
    assert (gate.passed, gate.severity) == (False, "warning")
