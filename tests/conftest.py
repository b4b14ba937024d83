"""Real parts that the tests start on loopback, and stop."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from everloop.core.project import Project
from everloop.data.panel import Panel
from kiosk import kiosk_maker
from shop import project_in, sales

SEARCH = os.pathsep.join(
    [os.environ.get("PATH", ""), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))]
)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where all parts must be there, as on CI, a test that is skipped for a missing one fails."""
    report = yield
    if report.skipped and os.environ.get("EVERLOOP_REQUIRE_PARTS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"EVERLOOP_REQUIRE_PARTS is set, but the test was skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test session."""
    binaries = {name: shutil.which(name, path=SEARCH) for name in ("initdb", "postgres", "pg_ctl")}
    if not all(binaries.values()):
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    is_root = os.getuid() == 0
    as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if is_root else []
    folder = Path(tempfile.mkdtemp(prefix="everloop-postgres-"))
    if is_root:
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()

    def run(*command: str | None) -> None:
        subprocess.run([*as_owner, *[part or "" for part in command]], check=True, capture_output=True, cwd=folder)

    run(binaries["initdb"], "-D", f"{folder}/data", "-A", "trust", "-U", "everloop", "-E", "UTF8", "--no-sync")
    options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -p {port} -c fsync=off"
    run(binaries["pg_ctl"], "-D", f"{folder}/data", "-o", options, "-w", "-l", f"{folder}/log", "start")
    try:
        yield f"postgresql+psycopg://everloop@127.0.0.1:{port}/postgres"
    finally:
        run(binaries["pg_ctl"], "-D", f"{folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make_kiosk(tmp_path: Path) -> Callable[..., Project]:
    """Makes small projects with a forecaster of their own."""
    return kiosk_maker(tmp_path)


@pytest.fixture
def make_panel() -> Callable[..., Panel]:
    """Makes synthetic panels."""
    return sales


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    """Makes projects without data, each in a folder of its own."""
    return lambda *overrides, name="shop floor": project_in(tmp_path / name, *overrides)
