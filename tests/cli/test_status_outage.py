"""``everloop status`` tells what servers say of a store that is away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from everloop.cli.main import main
from everloop.core.clock import SystemClock
from everloop.core.project import load_project
from everloop.serve.log.outage import FULL, SPOOLING, OutageNote
from everloop.serve.log.spool import spool_folder
from postgres import free_port

SETTINGS = '[project]\nname = "prices"\ntask = "regression"\n'


def test_an_outage_is_seen_whether_the_store_answers_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    (tmp_path / "everloop.toml").write_text(SETTINGS)
    note = OutageNote(spool_folder(load_project(tmp_path, environ={})), SystemClock())
    note.write(SPOOLING, "the store takes no predictions (away)")
    note.write(FULL, "the buffer on disk is full")
    assert main(["status", "--json", "--project", str(tmp_path)]) == 0
    alerts = json.loads(capsys.readouterr().out)["alerts"]
    assert [each["code"] for each in alerts] == [FULL, SPOOLING]
    away = f"store.url=postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none"
    assert main(["status", "--set", away, "--project", str(tmp_path)]) == 8
    told = capsys.readouterr()
    assert f"alert[{SPOOLING}]" in told.out + told.err
    assert "store_unavailable" in told.err
    note.delete()
    assert main(["status", "--json", "--project", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["alerts"] == []
