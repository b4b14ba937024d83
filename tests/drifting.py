"""A world that can be made to change: a kiosk with a price and a sky, and a release that was trained before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from everloop.core.clock import ManualClock
from everloop.core.project import Project, load_project
from everloop.loop.context import LoopContext
from everloop.loop.replay import known_at
from everloop.loop.tick import tick
from everloop.monitor.drift.report import DriftReport
from everloop.monitor.drift.watching import look_for_drift
from everloop.store.engine import Store, open_store
from kiosk import FIRST, SETTINGS, TOY, sales

TRAINED = 120
"""Days of sales that the release was trained on."""


def observed(frame: pl.DataFrame, *, seed: int = 5) -> pl.DataFrame:
    """Sales with a price of each row, the sky of each day and shop, and a note that is sometimes missing."""
    rng = np.random.default_rng(seed)
    price = np.round(np.exp(rng.normal(1.0, 0.2, frame.height)), 2)
    sky = rng.choice(["sun", "rain", "cloud"], frame.height, p=[0.5, 0.3, 0.2])
    score = np.where(rng.random(frame.height) < 0.1, np.nan, rng.normal(0, 1, frame.height))
    return frame.with_columns(
        pl.Series("price", price), pl.Series("sky", sky), pl.Series("score", score).fill_nan(None)
    )


@dataclass
class World:
    """A project with its store, whose sales can be looked at as of any day."""

    project: Project
    store: Store
    clock: ManualClock

    def tick(self, day: int) -> None:
        """Take a step of the loop on the morning after ``day`` days."""
        self.clock.set(morning(day))
        report = tick(LoopContext(self.project, self.store, self.clock, "test", data_until=known_at))
        assert report.failures == []

    def look(self, day: int) -> DriftReport:
        """Look for drift as of a morning."""
        return look_for_drift(self.project, self.store, now=morning(day))


def morning(day: int) -> datetime:
    """The morning after ``day`` days of sales."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, 3, tzinfo=UTC) + timedelta(days=day)


def from_day(day: int) -> pl.Expr:
    """Which rows come on that day (the first is 0) or later."""
    return pl.col("day") >= (FIRST + timedelta(days=day)).isoformat()


Change = Callable[[pl.DataFrame], pl.DataFrame]


def make_world(
    root: Path,
    change: Change = lambda frame: frame,
    *overrides: str,
    days: int = 240,
    trained: int = TRAINED,
    until: int = 0,
) -> World:
    """A world in a folder: sales of some days, changed as wanted, and a release trained on the first of them.

    Args:
        root: the folder.
        change: what happens to the sales.
        overrides: settings.
        days: how many days the source holds.
        trained: on how many of them the release is trained.
        until: up to which day the table is filled, 0 for no further.
    """
    root.mkdir()
    text = SETTINGS.replace('known_ahead = ["promo"]', 'known_ahead = ["promo"]\nobserved = ["price", "sky", "score"]')
    (root / "everloop.toml").write_text(text, encoding="utf-8")
    (root / "toy.py").write_text(TOY, encoding="utf-8")
    change(observed(sales(days))).write_csv(root / "sales.csv")
    # who wants the loop to look for drift says so; else tests look themselves
    quiet = ('retrain.schedule=""', "retrain.on=[]", "monitor.drift=false")
    project = load_project(root, overrides=(*quiet, *overrides), environ={})
    world = World(project, open_store(project.store_url, fsync=False), ManualClock(morning(trained)))
    world.tick(trained)
    if until:
        world.tick(until)
    return world
