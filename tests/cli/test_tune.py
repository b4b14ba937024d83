"""``everloop tune`` and ``everloop explain`` as a user calls them, killed and called again."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from everloop.cli.main import main
from everloop.core.project import Project, load_project

Capture = pytest.CaptureFixture[str]
SPACE = 'tune.space={"toy:MeanOfWeeks"={weeks=[1,12]}}'
PRESENT = 'train.options={"toy:MeanOfWeeks"={weeks=1}}'
TUNE = ("tune", "toy:MeanOfWeeks", "--set", SPACE, "--trials", "5")


def answer(capsys: Capture, *words: str, status: int = 0) -> Any:
    assert main([*words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_what_is_kept_is_written_or_used(make_kiosk: Callable[..., Project], capsys: Capture) -> None:
    project = make_kiosk()
    settings = project.root / "everloop.toml"
    text = settings.read_text(encoding="utf-8") + '\n[train.options."toy:MeanOfWeeks"]\nweeks = 1\n'
    settings.write_text(text, encoding="utf-8")
    at = ("-p", str(project.root))
    assert main(["ingest", *at]) == 0
    capsys.readouterr()
    (found,) = answer(capsys, *TUNE, *at)
    weeks = found["kept"]["weeks"]
    assert weeks > 1
    assert settings.read_text(encoding="utf-8") == text, "nothing is written unasked"

    used = answer(capsys, "backtest", "toy:MeanOfWeeks", "--set", "tune.use=true", *at)
    plain = answer(capsys, "backtest", "toy:MeanOfWeeks", *at)
    held = found["held_back"]
    assert used["summary"]["candidate"]["wape"] == pytest.approx(held["found"])
    assert plain["summary"]["candidate"]["wape"] == pytest.approx(held["present"])

    assert main([*TUNE, "--write", *at]) == 0
    shown = capsys.readouterr()
    assert "0 (present)" in shown.out
    assert "0 new trials, 5 in all" in shown.err
    assert "written into everloop.toml" in shown.err
    assert load_project(project.root, environ={}).settings.train.options == {"toy:MeanOfWeeks": {"weeks": weeks}}
    events = answer(capsys, "events", *at)
    assert [each["kind"] for each in events if each["kind"] == "tuned"] == ["tuned", "tuned"]


def test_killed_with_kill_9_the_same_command_goes_on(make_kiosk: Callable[..., Project], capsys: Capture) -> None:
    whole, killed = make_kiosk(name="whole"), make_kiosk(name="killed")
    for each in (whole, killed):
        assert main(["ingest", "-p", str(each.root)]) == 0
    capsys.readouterr()
    slow = (killed.root / "toy.py").read_text(encoding="utf-8")
    # in the process that is killed a forecast waits as soon as four windows have been seen
    waiting = slow + (
        "\n\nimport itertools, signal\nseen, plain = itertools.count(), MeanOfWeeks.fit\n\n\n"
        "def fit(self, panel, context):\n    next(seen) < 4 or signal.pause()\n    return plain(self, panel, context)\n"
        "\n\nMeanOfWeeks.fit = fit\n"
    )
    (killed.root / "toy.py").write_text(waiting, encoding="utf-8")
    command = [sys.executable, "-m", "everloop.cli.main", *TUNE, "-p", str(killed.root)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    _wait_for_windows(killed.home / "tuning.db", 4, child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    (killed.root / "toy.py").write_text(slow, encoding="utf-8")

    def trials(project: Project) -> Any:
        (found,) = answer(capsys, *TUNE, "-p", str(project.root))
        return [(each["options"], each["values"], each["state"]) for each in found["trials"]], found["new_trials"]

    after, new = trials(killed)
    assert 0 < new < 5, "what had ended before the kill is not tried again"
    assert after == trials(whole)[0]


def _wait_for_windows(path: Path, count: int, child: subprocess.Popen[bytes]) -> None:
    """Until so many windows are on the disk."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if path.exists():
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
                query = "SELECT count(*) FROM trial_user_attributes WHERE key LIKE 'window%'"
                try:
                    if connection.execute(query).fetchone()[0] >= count:
                        return
                except sqlite3.OperationalError:
                    pass  # its tables are not there yet
        time.sleep(0.02)
    raise AssertionError(f"it ended too soon: {child.communicate()}")


def test_explaining_what_was_examined(make_kiosk: Callable[..., Project], capsys: Capture) -> None:
    project = make_kiosk("train.options={lightgbm={trees=10}}")
    at = ("-p", str(project.root), "--set", "train.options={lightgbm={trees=10}}")
    assert main(["ingest", *at]) == 0
    run = answer_after(capsys, "backtest", "lightgbm", *at)["run_id"]
    by_run = answer(capsys, "explain", run[:12], "--group", "events", *at)
    by_name = answer(capsys, "explain", "lightgbm", "--group", "events", *at)
    assert {**by_run, "run_id": ""} == {**by_name, "run_id": ""}
    assert by_run["options"]["trees"] == 10
    assert main(["explain", "lightgbm", "--quick", *at]) == 0
    shown = capsys.readouterr().out
    assert "calendar_weekday" in shown
    assert "left out" not in shown
    assert main(["explain", *at]) == 3
    assert "name a candidate" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tune", "explain"])
def test_models_of_rows_are_not_trained_here(tmp_path: Path, capsys: Capture, name: str) -> None:
    (tmp_path / "everloop.toml").write_text('[project]\nname = "r"\ntask = "regression"\n', encoding="utf-8")
    assert main([name, "lightgbm", "-p", str(tmp_path)]) == 2
    assert "error[task_of_rows]" in capsys.readouterr().err


def answer_after(capsys: Capture, *words: str) -> Any:
    capsys.readouterr()
    return answer(capsys, *words)
