"""Real parts that the tests start on loopback, and stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from everloop.core.project import Project
from everloop.data.panel import Panel
from kiosk import kiosk_maker
from postgres import Postgres
from shop import project_in, sales


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
    server = Postgres()
    try:
        yield server.url
    finally:
        server.delete()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of one test, which may kill it."""
    server = Postgres()
    try:
        yield server
    finally:
        server.delete()


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
