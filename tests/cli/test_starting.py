"""The server's options read plainly: as Typer reads them, or not at all."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from everloop.cli import serve
from everloop.cli.main import main
from everloop.cli.starting import Start, plain_start

NAMES = [
    "--host",
    "--port",
    "--workers",
    "-w",
    "--project",
    "-p",
    "--set",
    "-s",
    "--json",
    "--as-of",
    "--prot",
    "--help",
]
TEXTS = [
    "8000",
    "0",
    "65535",
    "65536",
    "-1",
    "",
    "1.5",
    "\u0661",
    " 2",
    "shop",
    "a=b",
    "serve.port=1",
    "--json",
    "1_000",
    "+3",
]
WORD = st.sampled_from(NAMES) | st.sampled_from(TEXTS) | st.text(max_size=4)
OPTION = st.tuples(st.sampled_from(NAMES), st.sampled_from(TEXTS)).flatmap(
    lambda pair: st.sampled_from([list(pair), [f"{pair[0]}={pair[1]}"], [pair[0]]])
)
MAIN = """
import atexit, sys
from everloop.cli.main import main
atexit.register(lambda: print(*sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(main(["serve", "--project", sys.argv[1], "--port", "0", "--json"]))
"""


def typed(arguments: list[str]) -> dict[str, Any] | None:
    """What Typer reads; ``None`` where it refuses."""
    found: dict[str, Any] = {}

    @functools.wraps(serve.command)
    def command(**options: Any) -> None:
        found.update(options)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("serve")(command)
    try:
        app(args=arguments, prog_name="everloop serve", standalone_mode=False)
    except typer.BadParameter.__mro__[2]:  # type: ignore[misc]
        return None
    return found


def assert_read_alike(arguments: list[str]) -> None:
    plain = plain_start(arguments)
    if plain is None:
        return
    found = typed(arguments)
    assert found is not None
    names = {"set_": "overrides", "as_json": "is_json"}
    expected = {names.get(name, name): value for name, value in found.items()}
    assert plain == Start(**(expected | {"overrides": tuple(expected["overrides"] or ())}))


@settings(max_examples=60, deadline=None)
@given(st.lists(OPTION, max_size=4).map(lambda parts: [word for part in parts for word in part]))
def test_options_are_read_as_typer_reads_them(arguments: list[str]) -> None:
    assert_read_alike(arguments)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORD, max_size=4))
def test_any_words_are_read_as_typer_reads_them(arguments: list[str]) -> None:
    assert_read_alike(arguments)


def test_what_people_write_is_plain() -> None:
    arguments = ["-p", "shop", "--host", "::", "--port=8000", "-w", "2", "-s", "a=b", "--set", "c=d", "--json"]
    assert plain_start(arguments) == Start("::", 8000, 2, Path("shop"), ("a=b", "c=d"), is_json=True)
    assert plain_start([]) == Start()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--port"], ["--port", "x"], ["--port", "70000"], ["-w", "0"], ["shop"], ["--speed", "2"]]
)
def test_the_rest_is_left_to_typer(arguments: list[str]) -> None:
    assert plain_start(arguments) is None


def test_mistakes_are_told_as_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--prot", "8000"]) == 2
    assert "error[usage]: No such option: --prot" in capsys.readouterr().err
    assert main(["serve", "--project", "/nowhere/at/all", "--json"]) == 3
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "project_missing"


def test_a_plain_start_imports_no_typer(tmp_path: Path) -> None:
    (tmp_path / "everloop.toml").write_text('[project]\nname = "rows"\ntask = "regression"\n', encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["port"] > 0
        server.send_signal(signal.SIGTERM)
        loaded, _ = server.communicate(timeout=30)
    assert server.returncode == 0
    assert "uvicorn" in loaded.split()
    assert not {"typer", "pydantic", "rich"} & set(loaded.split())
