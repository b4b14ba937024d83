"""A synthetic shop: its panel and its project, without data in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everloop.core.frequency import Frequency
from everloop.core.project import Project, parse_settings
from everloop.data.panel import Future, Panel


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
