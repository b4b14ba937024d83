"""The commands from training to rollback, as a person calls them, on a small table of sales."""

from __future__ import annotations

import json
import math
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from everloop.cli.main import main

SETTINGS = """
[project]
name = "demand"
[data]
source = "sales.csv"
series = ["store"]
time = "date"
target = "units"
[forecast]
horizon = 7
[train]
candidates = ["seasonal_naive", "lightgbm"]
options.lightgbm = {trees = 15}
[validate]
windows = 2
[validate.gates]
min_skill = -9
coverage_tolerance = 1
[tracking]
plots = false
"""


class Shell:
    """Calls commands in a project's folder."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        status = main([words[0], "--project", str(self.root), *words[1:]])
        seen = self.capsys.readouterr()
        return status, seen.out, seen.err

    def json(self, *words: str) -> Any:
        status, out, err = self(*words, "--json")
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    (tmp_path / "everloop.toml").write_text(SETTINGS)
    lines = ["store,date,units"]
    for day in range(120):
        when = date(2011, 1, 1) + timedelta(days=day)
        lines += [f"S{n},{when},{round(9 + n + 5 * math.sin(day * 2 * math.pi / 7) + day * n % 3)}" for n in range(4)]
    (tmp_path / "sales.csv").write_text("\n".join(lines) + "\n")
    shell = Shell(tmp_path, capsys)
    shell.json("ingest")
    return shell


def test_from_training_to_rollback(shell: Shell) -> None:
    trained = shell.json("train")
    assert [each["passed"] for each in trained["candidates"]] == [True, True]
    assert {each["candidate"] for each in trained["candidates"]} == {"seasonal_naive", "lightgbm"}
    first = trained["release"]
    assert shell.json("train")["release"] == first  # the same data, code and seed
    second = shell.json("train", "--set", "train.candidates=['seasonal_naive']", "--set", "forecast.horizon=6")[
        "release"
    ]
    assert second != first

    listed = shell.json("release")
    assert {each["digest"] for each in listed} == {first, second}
    assert [each["role"] for each in listed] == [None, None]

    status, out, err = shell("promote", first[:8], "--dry-run")
    assert (status, out) == (0, "")
    assert "would make" in err
    assert shell.json("promote", first[:8])["release"] == first
    assert shell.json("promote", second, "--reason", "shorter")["previous"] == first
    assert "champion already" in shell("promote", second)[2]
    assert shell.json("rollback", "--dry-run")["release"] == first
    assert shell.json("rollback", "--reason", "oops")["release"] == first
    status, _, err = shell("rollback")
    assert (status, "rollback_nowhere" in err) == (3, True)

    shown = shell.json("release", "champion")
    assert shown["digest"] == first
    assert shown["manifest"]["project"] == "demand"
    status, out, _ = shell("release", "champion")
    assert status == 0
    assert "beats_baseline" in out
    assert "(verified)" in out
    kinds = [event["kind"] for event in shell.json("events")]
    assert kinds == ["ingested", "released", "released", "promoted", "promoted", "rolled_back"]

    ranked = shell.json("compare")
    assert len(ranked) == 5
    assert ranked[0]["release"] in (first, second)
    assert len(shell.json("compare", "--metric", "mase", "-n", "2")) == 2


def test_no_candidate_that_passes_is_status_six_and_the_runs_stay(shell: Shell) -> None:
    status, out, err = shell("train", "--set", "validate.gates.min_skill=0.99")
    assert status == 6
    assert "failed: beats_baseline" in out
    assert "gates_failed" in err
    assert shell.json("release") == []
    assert all(run["gates"].startswith("failed: beats_baseline") for run in shell.json("compare"))


def test_backtest_shows_windows_and_gates(shell: Shell) -> None:
    status, out, _ = shell("backtest", "seasonal_naive")
    assert status == 0
    for word in ("window 2", "beats_baseline", "no champion", "coverage_80"):
        assert word in out
    record = shell.json("backtest", "lightgbm")
    assert len(record["scores"]["by_fold"]) == 2
    assert len(record["scores"]["by_step"]) == 7
    assert shell.json("release") == []


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("promote", "feedbeef"), 3, "release_unknown"),
        (("release", "champion"), 3, "role_empty"),
        (("rollback",), 3, "rollback_nowhere"),
        (("backtest", "lightgmb"), 2, "forecaster_unknown"),
        (("backtest", "seasonal_naive", "--set", "validate.windows=99"), 5, "history_short"),
        (("compare", "--metric", "wappe"), 2, "metric_unknown"),
    ],
)
def test_what_cannot_be_is_told_with_a_code(shell: Shell, words: tuple[str, ...], status: int, code: str) -> None:
    found, out, err = shell(*words)
    assert (found, out) == (status, "")
    assert f"error[{code}]" in err
    assert "hint: " in err


def test_a_changed_bundle_is_refused(shell: Shell) -> None:
    digest = shell.json("train", "--set", "train.candidates=['seasonal_naive']")["release"]
    (shell.root / ".everloop" / "releases" / digest / "card.md").write_text("trust me")
    for words in (("promote", digest), ("release", digest), ("promote", digest, "--dry-run")):
        status, _, err = shell(*words)
        assert status == 9
        assert "card.md" in err


@pytest.mark.parametrize("name", ["train", "backtest", "compare", "release", "promote", "rollback"])
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Example: everloop {name}" in capsys.readouterr().out


def test_sums_of_series_can_rank(shell: Shell) -> None:
    asked = ["--set", "validate.metric=wrmsse", "--set", 'validate.sums=[[], ["store"]]']
    status, out, err = shell("backtest", "lightgbm", *asked)
    assert status == 0, err
    assert "WRMSSE" in out
    status, _, err = shell("backtest", "lightgbm", "--set", "validate.metric=wrmsse")
    assert status == 2
    assert "validate.sums" in err
    status, _, err = shell("backtest", "lightgbm", *asked, "--set", "validate.worth=prize")
    assert status == 2
    assert "wrmsse_worth" in err
