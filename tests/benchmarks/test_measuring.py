"""What the benchmarks compute from their measurements, and the files they wrote."""

from __future__ import annotations

import doctest
import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("name", ["measuring.claims", "serving.load", "serving.ours"])
def test_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_a_claim_holds_where_all_of_its_interval_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    claims = importlib.import_module("measuring.claims")
    assert not claims.claim_of_rounds("a", "times", "x", 2.0, [1.9, 2.5, 2.6])["holds"]
    assert claims.claim_of_rounds("a", "share", "x", 0.5, [0.4, 0.5], is_most=True)["holds"]
    assert not claims.claim_of_rounds("a", "share", "x", 0.5, [0.4, 0.51], is_most=True)["holds"]
    assert not claims.claim_of_rounds("a", "share", "x", 0.5, [], is_most=True)["holds"]


@pytest.mark.parametrize("path", sorted((FOLDER / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_say_what_was_measured_where(path: Path) -> None:
    results = json.loads(path.read_text(encoding="utf-8"))
    # a benchmark of several parts says it of each
    for part in results.get("parts", {"": results}).values():
        assert {"machine", "date", "table"} <= set(part)
        for claim in part.get("claims", []):
            low, high = claim["interval"] or (None, None)
            assert low is None or low <= claim["measured"] <= high


def test_the_memory_of_a_command_and_its_children_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    memory = importlib.import_module("measuring.memory")
    child = "block = b'x' * 60_000_000; import sys; print('ready', flush=True); sys.stdin.read()"
    parent = (
        "import subprocess, sys, time; block = b'y' * 30_000_000; pipe = subprocess.PIPE; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=pipe, stdout=pipe); "
        "child.stdout.readline(); time.sleep(0.5); child.communicate(b'')"
    )
    cost = memory.cost_of([sys.executable, "-c", parent], log=tmp_path / "said.txt")
    assert 0.03 < cost.peak_gb < 0.08  # its own, without the child's
    assert 0.09 < cost.tree_gb < 0.16  # both together
    assert cost.seconds >= 0.5
    with pytest.raises(RuntimeError, match="no such thing"):
        memory.cost_of([sys.executable, "-c", "raise SystemExit('no such thing')"], log=tmp_path / "said.txt")
