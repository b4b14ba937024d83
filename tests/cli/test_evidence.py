"""``everloop evidence``: what a person sees of the numbers behind a decision."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from everloop.cli.main import main
from everloop.core.project import load_project
from everloop.improve.comparison import decide
from everloop.stats.paired.comparison import PairedLosses, PairedRule
from everloop.stats.paired.losses import loss_of
from everloop.store.engine import open_store
from everloop.store.evidence import keep_evidence

SUBJECT = "ab" * 32


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "everloop.toml").write_text('[project]\nname = "shop"\ntask = "regression"\n')
    rng = np.random.default_rng(1)
    champion = rng.uniform(80, 120, size=(20, 10))
    names = tuple(f"store {number}" for number in range(10))
    losses = PairedLosses(
        np.arange(20), names, champion, champion * 0.9 + rng.normal(0, 5, (20, 10)), np.ones((20, 10))
    )
    evidence = decide(losses, PairedRule(), loss=loss_of("absolute"), cluster="store")
    store = open_store(load_project(tmp_path, environ={}).store_url)
    with store.write() as tx:
        keep_evidence(tx, evidence.to_dict(), at=datetime(2026, 3, 1, tzinfo=UTC), kind="paired", subject=SUBJECT)
    store.close()
    return tmp_path


def test_a_record_is_listed_and_shown_with_its_chart(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "--project", str(project), "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["record"]["verdict"] == "promote"
    assert main(["evidence", "--project", str(project), "--kind", "paired", "--subject", "abab"]) == 0
    assert "the challenger is better" in capsys.readouterr().out
    assert main(["evidence", listed["id"][:8], "--project", str(project)]) == 0
    shown = capsys.readouterr().out
    assert "10 (store)" in shown
    assert "at most 5% of trials" in shown
    assert shown.count("[") == 7, "a line for each day with bounds, from the fourteenth on"


def test_nothing_and_the_unknown_are_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "--project", str(project), "--kind", "split"]) == 0
    assert "no evidence yet" in capsys.readouterr().err
    assert main(["evidence", "zz", "--project", str(project)]) != 0
    assert "evidence_unknown" in capsys.readouterr().err
