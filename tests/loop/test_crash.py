"""The main job, killed at any moment, goes on with the next command: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from everloop.core.project import Project
from everloop.data.table import head, versions
from everloop.release.bundle import open_release
from everloop.store.deployments import deployment_history, in_role, list_releases
from everloop.store.engine import open_store
from everloop.store.events import list_events

KILLS = 10 if os.environ.get("EVERLOOP_SOAK") else 2


def run(project: Project, command: str, *, kill_after: float | None = None) -> int:
    """Run a command; with ``kill_after`` it is killed after so many seconds, where it still runs."""
    words = [sys.executable, "-m", "everloop.cli.main", command, "--project", str(project.root)]
    # the lease of the one that was killed must not keep the next one waiting
    words += ["--set", "loop.lease_seconds=0.1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if kill_after is not None:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    _, complaints = process.communicate(timeout=120)
    if kill_after is None:
        assert process.returncode == 0, complaints.decode()
    return process.returncode


def assert_whole(project: Project) -> None:
    """What must hold once a command has come to its end."""
    store = open_store(project.store_url)
    with store.read() as tx:
        champion = in_role(tx, "champion")
        releases = list_releases(tx)
        history = deployment_history(tx, "champion")
        released = [event.subject for event in list_events(tx, kinds=("released",), limit=1000)]
    store.close()
    assert champion is not None
    assert len({each.digest for each in releases}) == len(releases)
    assert sorted(released) == sorted(each.digest for each in releases), "one event for each release"
    assert [each.release for each in history] == list(dict.fromkeys(each.release for each in history))
    for each in releases:
        open_release(project.releases / each.digest, digest=each.digest)
    leftovers = [path.name for path in project.releases.iterdir() if len(path.name) != 64]
    assert all(name.startswith(".making-") for name in leftovers)


@pytest.mark.slow
def test_run_killed_at_random_moments_goes_on(make_kiosk: Callable[..., Project], tmp_path: Path) -> None:
    whole = make_kiosk(name="whole")
    began = time.monotonic()
    run(whole, "run")
    seconds = time.monotonic() - began
    expected = head(whole.table)
    assert expected is not None
    rng = random.Random(5)
    project = make_kiosk(name="killed")
    moments = [rng.uniform(0.3, 1.0) * seconds for _ in range(KILLS)]
    for moment in moments:
        run(project, "run", kill_after=moment)
        found = head(project.table)
        assert found is None or found.digest == expected.digest, "the old version or the new"
    run(project, "run")
    assert_whole(project)
    now = head(project.table)
    assert now is not None
    assert now.digest == expected.digest
    assert len(versions(project.table)) == 1, "the same source is one version"
