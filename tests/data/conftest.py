"""A small project and sales that the tests of the data stage share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.project import Project, parse_settings

NOW = datetime(2024, 6, 1, 6, tzinfo=UTC)
MakeProject = Callable[..., Project]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """A project of shops and items; keyword arguments are keys of ``data``, ``contract`` those of its contract."""

    def make(contract: dict[str, Any] | None = None, name: str = "p", **data: Any) -> Project:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        chosen = {
            "source": "sales.csv",
            "series": ["shop", "item"],
            "time": "date",
            "target": "units",
            "known_ahead": ["price", "event"],
            "static": ["kind"],
            **data,
        }
        settings = parse_settings(
            {"project": {"name": "test"}, "data": {**chosen, "contract": contract or {}}, "forecast": {"horizon": 7}}
        )
        return Project(root=root, settings=settings, home=root / ".everloop")

    return make


def make_sales(days: int = 60, *, first: datetime = datetime(2024, 3, 1, tzinfo=UTC), seed: int = 5) -> pl.DataFrame:
    """Sales of two shops and three items; one item begins late, and a few days are missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for shop in ("a", "b/1"):
        for item, begin in (("x", 0), ("y", 0), ("z", days // 3)):
            for day in range(begin, days):
                if rng.random() < 0.05:
                    continue
                event = ("none", "fair", "Ostern")[int(rng.integers(3))]
                price = round(float(rng.uniform(1, 5)), 2)
                at = (first + timedelta(days=day)).date()
                rows.append((shop, item, at, float(rng.poisson(6)), price, event, "food" if item != "z" else "toys"))
    names = ["shop", "item", "date", "units", "price", "event", "kind"]
    return pl.DataFrame(rows, schema=names, orient="row")


@pytest.fixture(scope="session")
def sales() -> Callable[..., pl.DataFrame]:
    """A function that makes sales; see :func:`make_sales`."""
    return make_sales
