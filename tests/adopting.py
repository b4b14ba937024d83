"""Small models of rows trained elsewhere, and a project that adopts them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from everloop.core.clock import ManualClock
from everloop.core.project import Project, parse_settings
from everloop.release.adopt import Partition, adopt_model
from everloop.release.bundle import Release
from everloop.store.engine import Store
from models.tabular.oracle import numbers, save

CLOCK = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))


def project_at(root: Path, *overrides: str, task: str = "regression") -> Project:
    """A project of a model of rows: no data, no training."""
    root.mkdir(exist_ok=True)
    tree = {"project": {"name": "shop", "task": task}}
    return Project(root=root, settings=parse_settings(tree, overrides=overrides), home=root / ".everloop")


def frame(n: int = 200, seed: int = 0) -> pd.DataFrame:
    """Three columns of numbers, some missing."""
    return pd.DataFrame(numbers(n, 3, seed=seed), columns=["price", "stock", "age"])


def trained(seed: int = 0) -> lightgbm.LGBMRegressor:
    """A small model."""
    rows = frame(seed=seed)
    return lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbosity=-1).fit(rows, rows["price"].fillna(0))


def saved(folder: Path, seed: int = 0, **options: Any) -> Path:
    """The same, as MLflow saves its booster."""
    return save("lightgbm", trained(seed).booster_, folder, frame(seed=seed), np.zeros(200), **options)


def adopt(project: Project, store: Store, source: str | Path | Partition, **options: Any) -> Release:
    """Adopt a model as somebody called ``test``."""
    wanted = str(source) if isinstance(source, Path) else source
    return adopt_model(project, store, CLOCK, wanted, actor="test", **options)
