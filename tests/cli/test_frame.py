"""What all commands share: help, errors, JSON, and a start that loads no more than it needs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from everloop.cli.commands import COMMANDS
from everloop.cli.main import main
from everloop.core.project import Project

Capture = pytest.CaptureFixture[str]


def test_the_overview_lists_every_command(capsys: Capture) -> None:
    assert main([]) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"  {command.name} " in text
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_has_help_with_an_example(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example: everloop " + name in text
    assert importlib.import_module(f"everloop.cli.{name}").__doc__


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from everloop.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
    assert not {"typer", "rich", "numpy", "pydantic", "sqlalchemy", "polars"} & set(loaded)


def test_a_wrong_command_and_a_wrong_flag(capsys: Capture) -> None:
    assert main(["promotee"]) == 2
    assert "did you mean 'promote'?" in capsys.readouterr().err
    assert main(["events", "--nonsense"]) == 2
    assert "error[usage]" in capsys.readouterr().err


def test_no_project_says_what_to_do(tmp_path: Path, capsys: Capture) -> None:
    assert main(["status", "-p", str(tmp_path)]) == 3
    told = capsys.readouterr().err
    assert "error[project_missing]" in told
    assert "everloop init" in told


def test_errors_are_json_where_json_is_asked_for(tmp_path: Path, capsys: Capture) -> None:
    assert main(["status", "--json", "-p", str(tmp_path)]) == 3
    assert set(json.loads(capsys.readouterr().err)["error"]) == {"code", "message", "hint", "path"}


@pytest.mark.parametrize(
    ("override", "code", "hint"),
    [
        ("serve.prot=1", "settings_unknown", "did you mean 'port'?"),
        ("serve.port=99999", "settings_value", "The port to listen on."),
        ("nonsense", "settings_flag", "--set KEY=VALUE"),
        ("data.frequency=daily", "settings_value", "frequency"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_path(
    override: str, code: str, hint: str, make_kiosk: Callable[..., Project], capsys: Capture
) -> None:
    project = make_kiosk()
    assert main(["settings", "-p", str(project.root), "--set", override]) == 2
    told = capsys.readouterr().err
    assert f"error[{code}]" in told
    assert hint in told


def test_the_environment_and_flags_override_the_file(
    make_kiosk: Callable[..., Project], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_kiosk()
    monkeypatch.setenv("EVERLOOP_SERVE__PORT", "9001")
    monkeypatch.setenv("EVERLOOP_FORECAST__HORIZON", "5")
    assert main(["settings", "-p", str(project.root), "--json", "--set", "serve.port=9002"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["serve.port"], values["forecast.horizon"], values["data.target"]) == (9002, 5, "sold")
