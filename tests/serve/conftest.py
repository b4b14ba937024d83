"""A small project with real bundles, for the server's tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np
import pytest

from everloop.core.digest import digest_file, digest_tree
from everloop.core.frequency import Frequency
from everloop.core.objects import name_object
from everloop.core.project import Project, load_project
from everloop.data.panel import Future, Panel
from everloop.models.forecaster import FitContext, Forecaster
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.release.bundle import model_digest
from everloop.release.manifest import MANIFEST_FILE, Columns, Dataset, Field, Manifest, Provenance
from everloop.release.state import save_state
from everloop.store.deployments import ReleaseRow, Role, StateRow, add_release, add_state, deploy
from everloop.store.engine import Store, open_store

T = TypeVar("T")
NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
HORIZON = 14
SETTINGS = """
[project]
name = "demand"
[data]
source = "data/*.csv"
series = ["store_id", "item_id"]
time = "date"
target = "units"
known_ahead = ["price", "event"]
[forecast]
horizon = 14
levels = [80, 95]
[serve]
port = 0
poll_seconds = 0.05
"""


def make_panel(*, stores: int = 2, items: int = 3, days: int = 260, seed: int = 3) -> Panel:
    """Daily sales with a weekly season, a price, and an event; ends on the day before NOW."""
    random = np.random.default_rng(seed)
    keys = tuple((f"S{store}", f"item/{item}") for store in range(stores) for item in range(items))
    n = len(keys)
    day = Frequency.parse("1d")
    cutoff = day.index_of(datetime(2026, 2, 28, tzinfo=UTC))
    week = 10 + 5 * np.sin(np.arange(days) * 2 * np.pi / 7)
    price = random.choice([2.0, 2.5, 3.0], size=(n, days + HORIZON)).astype(np.float32)
    event = (random.random((n, days + HORIZON)) < 0.05).astype(np.float32)
    y = random.poisson(week[None, :] * (4 - price[:, :days])).astype(np.float32)
    return Panel(
        frequency=day,
        series_columns=("store_id", "item_id"),
        keys=keys,
        cutoff=cutoff,
        offsets=np.arange(n + 1, dtype=np.int64) * days,
        y=y.ravel(),
        known={"price": price[:, :days].ravel(), "event": event[:, :days].ravel()},
        categories={"event": ("none", "fair")},
        future=Future(HORIZON, {"price": price[:, days:].copy(), "event": event[:, days:].copy()}),
    )


@dataclass
class World:
    """A project with a store, in which tests make and deploy releases."""

    project: Project
    store: Store
    panel: Panel

    def add(self, model: Forecaster | None = None, *, name: str = "seasonal_naive", is_fitted: bool = False) -> str:
        """Fit a model, make it a release of this store, and return its digest."""
        model = model or SeasonalNaiveForecaster()
        if not is_fitted:
            model.fit(self.panel, FitContext(HORIZON, (80.0, 95.0)))
        making = self.project.releases / "making"
        (making / "model").mkdir(parents=True)
        model.save(making / "model")
        manifest = Manifest(
            project="demand",
            candidate=name,
            model_class=name_object(type(model)),
            options=model.parameters(),
            model_digest=model_digest(making / "model"),
            files=digest_tree(making),
            created_at=NOW.isoformat(),
            run_id="run",
            dataset=Dataset(1, "d" * 64, len(self.panel.y)),
            columns=Columns(("store_id", "item_id"), "date", "units", "1d", ("price", "event")),
            inputs=(Field("store_id", "string", True), Field("item_id", "string", True)),
            cutoff="2026-02-28T00:00:00+00:00",
            horizon=HORIZON,
            levels=(80.0, 95.0),
            provenance=Provenance("", False, "", "", 7, "3.11", "linux", "0"),
            metrics={},
            gates=(),
        )
        (making / MANIFEST_FILE).write_bytes(manifest.to_bytes())
        digest = digest_file(making / MANIFEST_FILE)
        making.rename(self.project.releases / digest)
        row = ReleaseRow(digest, manifest.model_digest, name, "run", 1, "d" * 64, NOW, NOW, {}, [])
        with self.store.write() as tx:
            add_release(tx, row)
        return digest

    def deploy(self, role: Role, digest: str | None) -> None:
        with self.store.write() as tx:
            deploy(tx, role, digest, at=NOW, reason="test")

    def champion(self, model: Forecaster | None = None, **options: object) -> str:
        digest = self.add(model, **options)  # type: ignore[arg-type]
        self.deploy("champion", digest)
        return digest

    def advance(self, digest: str, model: Forecaster, *, days: int = 1, version: int = 2) -> str:
        """Bring a release up to date with more days of data; returns the state's id."""
        newer = replace(self.panel, cutoff=self.panel.cutoff + days)
        dataset = Dataset(version, f"{version:064d}", 1)
        state = save_state(
            self.project.states, model.update(newer), release=digest, dataset=dataset, cutoff="2026-03-01"
        )
        with self.store.write() as tx:
            add_state(tx, StateRow(state.id, digest, version, dataset.digest, NOW, NOW))
        return state.id


@contextmanager
def opened_world(folder: Path, more: str = "") -> Iterator[World]:
    """A world in a folder; ``more`` is put after its settings."""
    (folder / "everloop.toml").write_text(SETTINGS + more)
    project = load_project(folder, environ={})
    store = open_store(project.store_url)
    yield World(project, store, make_panel())
    store.close()


@pytest.fixture(scope="session")
def make_world() -> Callable[..., object]:
    return opened_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened_world(tmp_path) as made:
        yield made


@dataclass
class Running:
    """A server process."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, trust_env=False, **options)  # type: ignore[arg-type]


@contextmanager
def started(world: World, *flags: str, is_killed: bool = False) -> Iterator[Running]:
    """``everloop serve`` in a process of its own."""
    from everloop.serve.address import read_address

    log = world.project.root / f"server-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "everloop.cli.main", "serve", "--project", str(world.project.root), *flags]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors, stdout=errors, env=dict(os.environ))
    try:
        address = wait_for(lambda: _announced(process, read_address, world.project, log))
        yield Running(process, address.url, log)  # type: ignore[attr-defined]
        if not is_killed:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def _announced(process: subprocess.Popen[bytes], read: Callable[..., object], project: Project, log: Path) -> object:
    from everloop.core.errors import UnavailableError

    assert process.poll() is None, log.read_text()
    try:
        address = read(project)
    except UnavailableError:
        return None
    return address if address.pid == process.pid else None  # type: ignore[attr-defined]


def wait_for(look: Callable[[], T | None], *, seconds: float = 20.0) -> T:
    """What ``look`` gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"nothing came within {seconds} seconds")


@pytest.fixture(scope="session")
def serving() -> Callable[..., object]:
    return started


@pytest.fixture(scope="session")
def until() -> Callable[..., object]:
    return wait_for


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel()


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that a whole module's tests share."""
    with opened_world(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture(scope="module")
def server(shared_world: World) -> Iterator[httpx.Client]:
    """A client of a real server with a champion."""
    shared_world.champion()
    with started(shared_world) as running, running.client() as client:
        yield client
