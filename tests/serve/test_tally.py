"""Shared counters: right across processes, also of those that died."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from everloop.serve.tally import Family, Tally, forget_gauges

ASKED = Family("asked", "Asked.", labels=("code",))
OPEN = Family("open", "Open.", "gauge")
NEWEST = Family("newest", "Newest.", "highest")
SHOWN = Family("shown", "Shown.", "info", ("role",))
TOOK = Family("took", "Took.", "histogram", (), (0.1, 0.5, 1.0))
FAMILIES = (ASKED, OPEN, NEWEST, SHOWN, TOOK)


def shown(tally: Tally) -> str:
    registry = CollectorRegistry()
    registry.register(tally)
    return generate_latest(registry).decode()


def test_workers_add_up_and_the_dead_keep_their_counts(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from everloop.serve.tally import Family, Tally\n"
        "asked = Family('asked', 'Asked.', labels=('code',))\n"
        "gauge = Family('open', 'Open.', 'gauge')\n"
        "tally = Tally([asked, gauge], folder=Path(sys.argv[1]), process='dead')\n"
        "tally.cell(asked, '200').add(5)\n"
        "tally.cell(asked, '503').add(1)\n"
        "tally.cell(gauge).add(3)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    one = Tally(FAMILIES, folder=tmp_path, process="one")
    two = Tally(FAMILIES, folder=tmp_path, process="two")
    one.cell(ASKED, "200").add()
    two.cell(ASKED, "200").add()
    one.cell(OPEN).add(2)
    one.cell(NEWEST).set(7)
    two.cell(NEWEST).set(9)
    assert 'asked_total{code="200"} 7.0' in shown(two)
    assert "open 5.0" in shown(one)
    forget_gauges(tmp_path, "dead", FAMILIES)
    text = shown(one)
    assert text == shown(two)
    assert 'asked_total{code="503"} 1.0' in text
    assert "open 2.0" in text
    assert "newest 9.0" in text


@given(st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 3.0])))
def test_a_histogram_is_what_the_library_counts(values: list[float]) -> None:
    registry = CollectorRegistry()
    expected = Histogram("took", "Took.", buckets=TOOK.buckets, registry=registry)
    tally = Tally([TOOK])
    own = tally.histogram(TOOK)
    for value in values:
        expected.observe(value)
        own.observe(value)
    lines = [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
    assert shown(tally).splitlines() == lines


def test_an_info_series_that_ended_is_not_shown() -> None:
    tally = Tally(FAMILIES)
    tally.cell(SHOWN, "champion").set(1)
    assert 'shown{role="champion"} 1.0' in shown(tally)
    tally.cell(SHOWN, "champion").set(0)
    assert "champion" not in shown(tally)


def test_labels_are_bounded_and_named() -> None:
    tally = Tally(FAMILIES)
    with pytest.raises(ValueError, match="has the labels"):
        tally.cell(ASKED)
    for number in range(16_384):
        tally.cell(ASKED, str(number))
    with pytest.raises(MemoryError):
        tally.cell(ASKED, "one more")
