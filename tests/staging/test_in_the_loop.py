"""The rehearsal within the main job: what fails it takes no role, what is waived does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from everloop.cli.main import main
from everloop.core.project import Project
from everloop.store.deployments import in_role
from everloop.store.engine import open_store
from everloop.store.events import list_events
from everloop.store.evidence import list_evidence


class Shell:
    """Calls commands in a project's folder: the exit status, and all that was said."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        status = main([*words, "--project", str(self.root)])
        said = self.capsys.readouterr()
        return status, said.out + said.err


ONE = ("--set", "train.candidates=['seasonal_naive']")
STRICT = ("--set", "validate.gates.max_latency_ms=0.000001")


def test_a_release_that_is_too_slow_takes_no_role_until_it_is_waived(
    make_kiosk: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_kiosk(days=120)
    everloop = Shell(project.root, capsys)
    status, said = everloop("run", *ONE, *STRICT)
    assert status == 6, said
    assert "did not pass its rehearsal: G_LATENCY" in said
    assert "see each gate: everloop release" in said
    assert "next:" not in said
    store = open_store(project.store_url, fsync=False)
    try:
        with store.read() as tx:
            assert in_role(tx, "champion") is None
            assert list_events(tx, kinds=("rejected",), limit=1)
            [row] = list_evidence(tx, kinds=("rehearsal",))
        status, said = everloop("promote", row.subject, *STRICT)
        assert status == 6
        assert "failed latency" in said
        waiver = ("--set", "validate.gates.waive={G_LATENCY='nobody waits'}")
        assert everloop("promote", row.subject, *STRICT, *waiver)[0] == 0
        with store.read() as tx:
            assert in_role(tx, "champion") == row.subject
            records = [each.record for each in list_evidence(tx, kinds=("rehearsal",))]
        assert len(records) == 2, "what was measured is judged anew, not measured again"
        assert records[-1]["gates"][1]["waived"] == "nobody waits"
        assert "waived" in everloop("release", row.subject)[1]
        assert everloop("evidence", "--kind", "rehearsal")[0] == 0
    finally:
        store.close()
