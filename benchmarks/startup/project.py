"""The project that the benchmark serves: a LightGBM release over synthetic daily sales."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from everloop.core.digest import digest_file, digest_tree
from everloop.core.frequency import Frequency
from everloop.core.objects import name_object
from everloop.core.project import Project, load_project
from everloop.data.panel import Panel
from everloop.models.forecaster import FitContext
from everloop.models.lightgbm import LightGBMForecaster
from everloop.release.bundle import model_digest
from everloop.release.manifest import MANIFEST_FILE, Columns, Dataset, Field, Manifest, Provenance
from everloop.store.deployments import ReleaseRow, add_release, deploy
from everloop.store.engine import open_store

__all__ = ["HORIZON", "SERIES", "make_project"]

SERIES = "S000/I0"
HORIZON = 28
_NOW = datetime(2026, 3, 1, tzinfo=UTC)
_SETTINGS = """
[project]
name = "demand"
[data]
source = "data/*.csv"
series = ["store_id", "item_id"]
time = "date"
target = "units"
[serve]
port = 0
"""


def make_project(folder: Path, *, stores: int = 40, items: int = 5, days: int = 400) -> Project:
    """A project in ``folder`` whose champion is a LightGBM of default size."""
    (folder / "everloop.toml").write_text(_SETTINGS, encoding="utf-8")
    project = load_project(folder, environ={})
    panel = _panel(stores, items, days)
    model = LightGBMForecaster().fit(panel, FitContext(HORIZON, (80.0, 95.0), threads=2))
    making = project.releases / "making"
    (making / "model").mkdir(parents=True)
    model.save(making / "model")
    manifest = Manifest(
        project="demand",
        candidate="lightgbm",
        model_class=name_object(type(model)),
        options=model.parameters(),
        model_digest=model_digest(making / "model"),
        files=digest_tree(making),
        created_at=_NOW.isoformat(),
        run_id="benchmark",
        dataset=Dataset(1, "0" * 64, len(panel.y)),
        columns=Columns(("store_id", "item_id"), "date", "units", "1d"),
        inputs=(Field("store_id", "string", True), Field("item_id", "string", True)),
        cutoff=_NOW.isoformat(),
        horizon=HORIZON,
        levels=(80.0, 95.0),
        provenance=Provenance("", False, "", "", 7, "", "", ""),
        metrics={},
        gates=(),
    )
    (making / MANIFEST_FILE).write_bytes(manifest.to_bytes())
    digest = digest_file(making / MANIFEST_FILE)
    making.rename(project.releases / digest)
    store = open_store(project.store_url)
    with store.write() as tx:
        row = (digest, manifest.model_digest, "lightgbm", "benchmark", 1, "0" * 64, _NOW, _NOW, {}, [])
        add_release(tx, ReleaseRow(*row))
        deploy(tx, "champion", digest, at=_NOW, reason="benchmark")
    store.close()
    return project


def _panel(stores: int, items: int, days: int) -> Panel:
    random = np.random.default_rng(7)
    keys = tuple((f"S{store:03}", f"I{item}") for store in range(stores) for item in range(items))
    n = len(keys)
    week = 10 + 5 * np.sin(np.arange(days) * 2 * np.pi / 7)
    y = random.poisson(week[None, :] * random.uniform(0.2, 3.0, size=(n, 1))).astype(np.float32)
    frequency = Frequency.parse("1d")
    return Panel(
        frequency=frequency,
        series_columns=("store_id", "item_id"),
        keys=keys,
        cutoff=frequency.index_of(datetime(2026, 2, 28, tzinfo=UTC)),
        offsets=np.arange(n + 1, dtype=np.int64) * days,
        y=y.ravel(),
    )
