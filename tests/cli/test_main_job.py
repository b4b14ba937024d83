"""The main job by its commands: init, run, status, events, monitor, trace, tick."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from everloop.cli.main import main
from everloop.core.project import Project, load_project
from kiosk import sales

Capture = pytest.CaptureFixture[str]


def answer(capsys: Capture, *words: str, status: int = 0) -> Any:
    assert main([*words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_from_data_to_a_traced_forecast(make_kiosk: Callable[..., Project], capsys: Capture) -> None:
    at = ("-p", str(make_kiosk().root))
    assert answer(capsys, "status", *at)["next"].startswith("everloop run")
    ran = answer(capsys, "run", *at)
    assert ran["became"] == "champion"
    assert [each["name"] for each in ran["candidates"]] == ["toy:MeanOfWeeks", "seasonal_naive"]
    again = answer(capsys, "run", *at)
    assert (again["became"], again["release"]) == ("known", ran["release"]), "same data, code and seed: same release"
    assert answer(capsys, "status", *at)["champion"]["release"] == ran["release"]
    stepped = answer(capsys, "tick", *at)
    assert stepped["predicted"] == 1
    events = answer(capsys, "events", *at)
    assert [event["kind"] for event in events][:3] == ["training", "released", "promoted"]
    watched = answer(capsys, "monitor", *at)
    assert watched["accuracy"]["wape"] is None
    assert watched["decay"]["verdict"] == "cannot tell"


def test_gates_that_fail_are_an_exit_status_of_their_own(make_kiosk: Callable[..., Project], capsys: Capture) -> None:
    at = ("-p", str(make_kiosk().root), "--set", "validate.gates.min_skill=0.9")
    assert main(["run", *at]) == 6
    assert "error[gates_failed]" in capsys.readouterr().err


def test_init_writes_settings_that_load(tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "kiosk.csv"
    sales(60).write_csv(data)
    assert main(["init", str(data), "--folder", str(tmp_path)]) == 0
    settings = load_project(tmp_path).settings
    assert (settings.data.time, settings.data.target, sorted(settings.data.series)) == ("day", "sold", ["item", "shop"])
    assert main(["init", str(data), "--folder", str(tmp_path)]) == 2
    assert "error[project_exists]" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "kiosk.cvs")]) == 4
    assert "did you mean 'kiosk.csv'?" in capsys.readouterr().err
