"""Measuring a release in a process of its own, which holds nothing but what a server holds.

The process is told by its standard input what to measure, settings and all, and writes what it found to a file:
whatever a model prints disturbs nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from everloop.core.project import Project
from everloop.core.settings.whole import Settings
from everloop.staging.measuring import Measured, measure
from everloop.store.engine import open_store

__all__ = ["measure_afresh"]

_REQUEST_SECONDS = 60.0
_MOST_TOLD = 400


class _Task(msgspec.Struct, frozen=True):
    root: str
    home: str
    settings: dict[str, Any]
    digest: str
    result: str


def measure_afresh(project: Project, digest: str) -> Measured:
    """Load, ask and time a release in a fresh process.

    Args:
        project: the project; its store must be one that another process can open.
        digest: the release.
    """
    limit = project.settings.serve.load_timeout_seconds + _REQUEST_SECONDS
    with tempfile.TemporaryDirectory(prefix="everloop-rehearsal-") as place:
        result = Path(place) / "measured.json"
        task = _Task(
            str(project.root),
            str(project.home),
            project.settings.model_dump(),
            digest,
            str(result),
        )
        try:
            done = subprocess.run(
                [sys.executable, "-m", "everloop.staging.fresh"],
                input=msgspec.json.encode(task),
                capture_output=True,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Measured(failure=f"loading and asking it took more than {limit:g} seconds")
        if not result.is_file():
            told = done.stderr.decode(errors="replace").strip()[-_MOST_TOLD:]
            return Measured(failure=f"the process that loaded it ended with status {done.returncode}: {told}")
        return msgspec.json.decode(result.read_bytes(), type=Measured)


def _main() -> None:
    import everloop.serve.app  # noqa: F401 - a server holds its own code too

    task = msgspec.json.decode(sys.stdin.buffer.read(), type=_Task)
    project = Project(Path(task.root), Settings.model_validate(task.settings), Path(task.home))
    store = open_store(project.store_url, fsync=False)
    try:
        measured = measure(project, store, task.digest, is_timed=True)
    finally:
        store.close()
    Path(task.result).write_bytes(msgspec.json.encode(measured))


if __name__ == "__main__":
    _main()
