"""A small project with a forecaster of its own, quick enough to be walked through weeks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from everloop.core.project import Project, load_project

FIRST = date(2024, 1, 1)
DAYS = 200

SETTINGS = """
[project]
name = "kiosk"

[data]
source = "sales.csv"
series = ["shop", "item"]
time = "day"
target = "sold"
known_ahead = ["promo"]

[forecast]
horizon = 7
levels = [80]

[train]
candidates = ["seasonal_naive", "toy:MeanOfWeeks"]

[validate]
windows = 2

[validate.gates]
max_bias = 1.0
coverage_tolerance = 1.0

[release]
min_days = 7
max_days = 14

[tracking]
plots = false
"""

TOY = '''
"""The mean of the last four same weekdays."""

import numpy as np

from everloop.models.forecaster import Forecast
from everloop.models.pickled import PickledForecaster


class MeanOfWeeks(PickledForecaster):
    """Mean of the last ``weeks`` same weekdays."""

    def __init__(self, *, weeks: int = 4) -> None:
        self.weeks = weeks

    def fit(self, panel, context):
        self.memory = 7 * self.weeks
        return self.update(panel)

    def update(self, panel):
        made = type(self)(weeks=self.weeks)
        made.memory = 7 * self.weeks
        made.panel_ = panel.tail(made.memory)
        return made

    def forecast(self, request):
        last = self.panel_.last(self.memory).reshape(self.panel_.n_series, self.weeks, 7)
        mean = np.nan_to_num(np.nanmean(np.nan_to_num(last), axis=1)).astype(np.float64)
        mean = mean[:, np.arange(request.horizon) % 7]
        chosen = np.arange(len(mean)) if request.series is None else request.series
        mean = mean[chosen]
        return Forecast(
            series=chosen,
            cutoff=self.panel_.cutoff,
            mean=mean,
            lower={level: np.maximum(mean - 3, 0) for level in request.levels},
            upper={level: mean + 3 for level in request.levels},
        )
'''


def sales(days: int = DAYS, *, seed: int = 3) -> pl.DataFrame:
    """Poisson sales of six items with a weekly season."""
    rng = np.random.default_rng(seed)
    rows = []
    for shop in ("north", "south"):
        for item in ("tea", "buns", "50/50"):
            level = rng.uniform(8, 20)
            for offset in range(days):
                day = FIRST + timedelta(days=offset)
                mean = level * (1 + 0.5 * (day.weekday() >= 5))
                rows.append((shop, item, day.isoformat(), int(rng.poisson(mean)), int(day.day == 1)))
    return pl.DataFrame(rows, schema=["shop", "item", "day", "sold", "promo"], orient="row")


def kiosk_maker(folder: Path) -> Callable[..., Project]:
    """Makes projects below a folder, with ``days`` days of sales."""

    def make(*overrides: str, days: int = DAYS, name: str = "kiosk") -> Project:
        root = folder / name
        root.mkdir(exist_ok=True)
        (root / "everloop.toml").write_text(SETTINGS, encoding="utf-8")
        (root / "toy.py").write_text(TOY, encoding="utf-8")
        sales(days).write_csv(root / "sales.csv")
        return load_project(root, overrides=overrides, environ={})

    return make


def at(day: int, hour: int = 3) -> datetime:
    """The morning after ``day`` days of sales."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, hour, tzinfo=UTC) + timedelta(days=day)
