"""``everloop log``: numbers, export and pruning as a person calls them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from everloop.cli.main import main
from everloop.core.clock import SystemClock
from everloop.core.ids import new_id
from everloop.core.project import load_project
from everloop.serve.log.spool import Spool
from everloop.store.engine import open_store
from everloop.store.facts import Prediction, add_predictions

SETTINGS = """
[project]
name = "prices"
task = "regression"
[log]
keep_days = 60
"""


class Shell:
    """Calls the command in a project with predictions of 1, 10 and 100 days ago."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys
        (root / "everloop.toml").write_text(SETTINGS)
        now = datetime.now(UTC)
        times = [now - timedelta(days=days) for days in (1, 10, 100)]
        store = open_store(load_project(root, environ={}).store_url, fsync=False)
        with store.write() as tx:
            add_predictions(
                tx,
                [
                    Prediction(new_id(at), at, "r", "s", "champion", "infer", None, at, at, b"{}", b"\x00")
                    for at in times
                ],
            )
        store.close()

    def __call__(self, *words: str) -> tuple[int, str, str]:
        status = main(["log", *words, "--project", str(self.root)])
        seen = self.capsys.readouterr()
        return status, seen.out, seen.err

    def json(self, *words: str) -> Any:
        status, out, err = self(*words, "--json")
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


def test_stats_count_the_store_and_the_buffer(shell: Shell) -> None:
    spool = Spool(shell.root / ".everloop" / "spool", SystemClock(), most=10_000)
    spool.append([("id", *["x"] * 8, b"", b"", None, None)], fsync=False)
    stats = shell.json("stats")
    assert (stats["predictions"], stats["due"], stats["spooled"], stats["keep_days"]) == (3, 1, 1, 60)
    assert stats["spool_bytes"] == spool.size > 0
    assert stats["first"] < stats["last"]
    status, out, _ = shell("stats")
    assert status == 0
    assert "60 days" in out


def test_export_appends_what_is_new(shell: Shell) -> None:
    assert shell.json("export", "--to", "out/log")["rows"] == 3
    status, out, err = shell("export", "--to", "out/log")
    assert (status, out) == (0, "")
    assert "0 predictions appended" in err
    assert pl.read_delta(str(shell.root / "out" / "log")).height == 3
    assert shell.json("export", "--set", "log.export=out/log")["rows"] == 0
    assert [each["location"] for each in shell.json("stats")["exports"]] == [str(shell.root / "out" / "log")]


def test_prune_shows_first_and_then_deletes(shell: Shell) -> None:
    dry = shell.json("prune", "--dry-run")
    assert (dry["deleted"], dry["dry_run"]) == (1, True)
    assert shell.json("stats")["predictions"] == 3
    status, _, err = shell("prune", "--set", "log.export=out/log")
    assert status == 0
    assert "1 predictions deleted" in err
    assert "1 of them were exported just now" in err
    assert shell.json("stats")["predictions"] == 2
    events = [main(["events", "--project", str(shell.root), "--json"]), shell.capsys.readouterr().out]
    assert "predictions_deleted" in str(events[1])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("export",), "log_to"),
        (("stats", "--to", "x"), "log_to"),
        (("export", "--to", "x", "--dry-run"), "log_dry_run"),
        (("prune", "--set", "log.keep_days=0"), "log_kept"),
    ],
)
def test_what_makes_no_sense_is_refused(shell: Shell, words: tuple[str, ...], code: str) -> None:
    status, _, err = shell(*words)
    assert status == 2
    assert code in err
