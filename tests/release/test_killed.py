from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from everloop.core.clock import SystemClock
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.tracking import open_tracker
from everloop.release.bundle import Release, open_release
from everloop.release.promotion import promote
from everloop.store.deployments import deployment_history, in_role
from everloop.store.engine import open_store
from everloop.store.events import list_events
from everloop.store.schema import releases

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the test kills forked processes")

BUILDING = (
    "while the bundle is written",
    "when the bundle is there",
    "when the run has the artefacts",
    "when it is registered",
    "before the store commits",
)


@pytest.fixture(scope="module")
def graveyard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project for each place where a process was killed."""
    folder = tmp_path_factory.mktemp("killed")
    script = Path(__file__).with_name("dying.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(script.parents[1])},
    )
    statuses = dict(line.rsplit(": ", 1) for line in done.stdout.splitlines())
    assert set(statuses.values()) == {str(-signal.SIGKILL)}, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("place", BUILDING)
def test_a_second_run_goes_on_and_nothing_is_doubled(
    graveyard: Path,
    make_project: Callable[..., Project],
    make_panel: Callable[..., Panel],
    release_of: Callable[..., Release],
    place: str,
) -> None:
    project = Project(graveyard / place, make_project().settings, graveyard / place / ".everloop")
    before = {path.name for path in project.releases.glob("[0-9a-f]*")}

    release = release_of(project, make_panel())

    if place != "while the bundle is written":
        assert before == {release.digest}
    open_release(release.folder, digest=release.digest)
    assert [path.name for path in project.releases.glob("[0-9a-f]*")] == [release.digest]
    store, tracker = open_store(project.store_url), open_tracker(project)
    with store.read() as tx:
        assert tx.execute(select(func.count()).select_from(releases)).scalar() == 1
        assert len(list_events(tx, kinds=("released",))) == 1
    store.close()
    versions = tracker.client.search_model_versions("name = 'demand'")
    assert [version.tags["everloop.release"] for version in versions] == [release.digest]
    assert open_release(copy_of(project, versions[0])).digest == release.digest
    assert tracker.close_abandoned() == 0


def test_a_promotion_has_happened_or_not(graveyard: Path, make_project: Callable[..., Project]) -> None:
    place = "within the promotion"
    project = Project(graveyard / place, make_project().settings, graveyard / place / ".everloop")
    store = open_store(project.store_url)
    (digest,) = (path.name for path in project.releases.glob("[0-9a-f]*"))
    with store.read() as tx:
        assert in_role(tx, "champion") is None
        assert deployment_history(tx, "champion") == []
    promote(project, store, SystemClock(), digest, reason="again", actor="test")
    with store.read() as tx:
        assert in_role(tx, "champion") == digest
        assert len(list_events(tx, kinds=("promoted",))) == 1
    store.close()


def copy_of(project: Project, version: Any) -> Path:
    return project.home / "mlartifacts" / str(version.run_id) / "artifacts" / "release"
