"""Synthetic panels and projects for this folder's tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from everloop.core.clock import ManualClock
from everloop.core.frequency import Frequency
from everloop.core.project import Project, parse_settings
from everloop.data.panel import Future, Panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.experiment.training import fit_candidate
from everloop.release.build import build_release
from everloop.release.bundle import Release
from everloop.release.manifest import Dataset
from everloop.store.engine import open_store
from everloop.validate.examination import BASELINE, backtest_candidate, examine

NOW = datetime(2011, 12, 9, 3, tzinfo=UTC)
DATASET = Dataset(version=1, digest="d" * 64, rows=1920)


def sales(series: int = 12, periods: int = 160, *, seed: int = 1, late: int = 0) -> Panel:
    """Daily counts with a weekly season and a price; the last series begins ``late`` periods after the others."""
    rng = np.random.default_rng(seed)
    times = np.arange(periods)
    price = (1 + 0.1 * rng.standard_normal((series, periods + 28))).astype(np.float32)
    season = 1 + 0.5 * np.sin(2 * np.pi * times / 7)
    level = rng.gamma(2.0, 5.0, series)
    y = rng.poisson(level[:, None] * season * (2 - price[:, :periods])).astype(np.float32)
    lengths = np.full(series, periods)
    lengths[-1] -= late
    kept = times[None, :] >= (periods - lengths)[:, None]
    return Panel(
        frequency=Frequency.parse("1d"),
        series_columns=("store", "item"),
        keys=tuple((f"S{number % 3}", f"I{number:03d}") for number in sorted(range(series), key=lambda n: (n % 3, n))),
        cutoff=15_000,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        y=y[kept],
        known={"price": price[:, :periods][kept]},
        static={"dept": (np.arange(series) % 2).astype(np.float32)},
        categories={"dept": ("food", "toys")},
        future=Future(28, {"price": price[:, periods:]}),
    )


def release_once(project: Project, panel: Panel, *, now: datetime = NOW, candidate: str = BASELINE) -> Release:
    """Examine, fit and release a candidate, as a retraining does."""
    clock = ManualClock(now)
    tracker = open_tracker(project, clock=clock)
    store = open_store(project.store_url, fsync=False)
    try:
        lineage = collect_lineage(project)
        baseline = backtest_candidate(project, panel, BASELINE)
        found = examine(project, panel, DATASET, candidate, tracker=tracker, lineage=lineage, baseline=baseline)
        return build_release(
            project,
            clock,
            examination=found,
            fitted=fit_candidate(project, panel, candidate),
            panel=panel,
            dataset=DATASET,
            lineage=lineage,
            tracker=tracker,
            store=store,
        )
    finally:
        store.close()


@pytest.fixture
def release_of() -> Callable[..., Release]:
    """Examines, fits and releases a candidate."""
    return release_once


@pytest.fixture
def make_panel() -> Callable[..., Panel]:
    """Makes synthetic panels."""
    return sales


def project_in(root: Path, *overrides: str) -> Project:
    """A project without plots."""
    root.mkdir(exist_ok=True)
    tree = {
        "project": {"name": "demand"},
        "data": {
            "source": "sales.csv",
            "series": ["store", "item"],
            "time": "date",
            "target": "units",
            "known_ahead": ["price"],
            "static": ["dept"],
        },
        "forecast": {"horizon": 14},
        "validate": {"windows": 2},
        "train": {"candidates": ["seasonal_naive"], "threads": 1},
        "tracking": {"plots": False},
    }
    return Project(root=root, settings=parse_settings(tree, overrides=overrides), home=root / ".everloop")


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    """Makes projects, each in a folder of its own."""
    return lambda *overrides, name="shop floor": project_in(tmp_path / name, *overrides)
