"""The engine on real sales: the same bits by processes and by a Ray cluster of two nodes, also where one is killed.

One store of M5, or made sales where there is none. Each way computes the backtests of three candidates, two groups'
models and nothing that another way has finished. Seconds tell what a way costs on this machine, where two nodes share
the cores that one process has anyway: more machines are what Ray is for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from everloop.core.digest import digest_json
from everloop.core.project import Project, load_project
from everloop.data.loading import load_panel
from everloop.experiment.training import fit_candidate
from everloop.validate.backtest import Fold
from everloop.validate.windows import Recipe, compute_ahead
from forecasting.batch_project import everloop
from forecasting.m5_project import load_sales, write_project
from measuring.claims import claim_of

__all__ = ["measure"]

_DAYS = 1913
_GROUPED = "train.options={partitioned={by='cat_id',options={lightgbm={trees=60}}}}"
_RECIPES = (
    Recipe("seasonal_naive", {}),
    Recipe("statistical"),
    Recipe("lightgbm", {"trees": 60}),
)


def measure(*, quick: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Seconds by way of computing, and whether all bits are those of one process.

    Args:
        quick: the plain candidate alone.
    """
    folder = Path(os.environ.get("EVERLOOP_DATA", "")) / "m5"
    if not (folder / "calendar.csv").is_file():
        return [{"skipped": "EVERLOOP_DATA names no folder with M5"}], []
    with tempfile.TemporaryDirectory(prefix="everloop-engine-") as scratch:
        root = Path(scratch) / "project"
        write_project(load_sales(folder, stores=("CA_1",)), root, _DAYS)
        everloop(root, "ingest")
        rows = [_row(root, *way, quick=quick) for way in _ways()]
    first = rows[0]["bits"]
    claims = [
        claim_of(
            f"engine-{number}",
            f"results by {row['by']} that are not those of one process, bit for bit",
            "",
            0,
            float(row["bits"] != first),
            (float(row["bits"] != first),) * 2,
            is_most=True,
        )
        for number, row in enumerate(rows[1:], start=1)
    ]
    (killed,) = (row for row in rows if "killed" in row["by"])
    lost = float(killed["nodes_killed"] != 1)
    claims.append(
        claim_of("engine-killed", "runs that the kill came too late for", "", 0, lost, (lost, lost), is_most=True)
    )
    return rows, claims


def _ways() -> list[tuple[str, tuple[str, ...], Callable[[Path], Any]]]:
    """How pieces are computed: the settings, and what must be there meanwhile."""
    return [
        ("one process", ("engine.workers=1",), lambda _: nullcontext([])),
        ("two processes", ("engine.workers=2",), lambda _: nullcontext([])),
        ("Ray, two nodes", ("engine.kind=ray",), lambda shelf: _cluster(shelf, is_killed=False)),
        ("Ray, one of two nodes killed", ("engine.kind=ray",), lambda shelf: _cluster(shelf, is_killed=True)),
    ]


def _row(
    root: Path, name: str, overrides: tuple[str, ...], around: Callable[[Path], Any], *, quick: bool
) -> dict[str, Any]:
    project = load_project(root, overrides=(*overrides, _GROUPED))
    shelf = project.home / "pieces"
    shutil.rmtree(shelf, ignore_errors=True)
    with around(shelf) as killed:
        started = time.monotonic()
        bits = _bits(project, _RECIPES[:1] if quick else _RECIPES)
        seconds = time.monotonic() - started
    pieces = len(list(shelf.glob("??/*")))
    return {
        "by": name,
        "seconds": round(seconds, 1),
        "pieces_kept": pieces,
        "nodes_killed": len(killed),
        "bits": bits[:16],
    }


def _bits(project: Project, recipes: tuple[Recipe, ...]) -> str:
    """The digest of all backtests' forecasts, and of the models of the groups."""
    settings = project.settings
    panel, dataset = load_panel(project, history=settings.train.history, horizon=settings.forecast.horizon)
    outcomes = compute_ahead(project, panel, dataset, recipes)
    folds = [fold for pieces in outcomes for piece in pieces for fold in piece.take()]
    grouped = fit_candidate(project, panel, "partitioned", dataset=dataset)
    return digest_json([[_content(fold) for fold in folds], grouped.model_digest])


def _content(fold: Fold) -> list[Any]:
    """All but the timings, as JSON values."""
    found = []
    for each in fields(fold):
        value = getattr(fold, each.name)
        if isinstance(value, np.ndarray):
            found.append([str(value.dtype), list(value.shape), value.tobytes().hex()])
        elif isinstance(value, dict):
            found.append({f"{level:g}": array.tobytes().hex() for level, array in value.items()})
        elif not each.name.endswith("_seconds"):
            found.append([value] if isinstance(value, int) else list(value))
    return found


@contextmanager
def _cluster(shelf: Path, *, is_killed: bool) -> Iterator[list[str]]:
    """A Ray cluster of two nodes of one core each; one may be killed once a piece is finished."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray
    from ray.cluster_utils import Cluster

    killed: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        try:
            nodes.add_node(num_cpus=1)
            ray.init(address=nodes.address, log_to_driver=False)
            over = threading.Event()
            killer = threading.Thread(target=_kill_one, args=(nodes, shelf, killed, over))
            if is_killed:
                killer.start()
            try:
                yield killed
            finally:
                over.set()
                if is_killed:
                    killer.join()
        finally:
            ray.shutdown()
            nodes.shutdown()


def _kill_one(nodes: Any, shelf: Path, killed: list[str], over: threading.Event) -> None:
    while not list(shelf.glob("??/[!.]*")):
        if over.wait(0.05):
            return
    (lost,) = nodes.worker_nodes
    nodes.remove_node(lost, allow_graceful=False)
    killed.append(lost.unique_id)
