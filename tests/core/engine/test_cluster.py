"""Pieces on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pieces as jobs
from everloop.cli.main import main
from everloop.core.clock import SystemClock
from everloop.core.engine import cluster as by_ray
from everloop.core.engine.running import Engine, run_pieces
from everloop.core.errors import UnavailableError
from everloop.core.project import Project
from everloop.core.settings.engine import EngineSettings
from everloop.data.ingest import ingest
from everloop.data.loading import load_panel
from everloop.release.bundle import open_release
from everloop.validate.trial_windows import EngineJudge, WindowJudge
from everloop.validate.windows import Recipe, compute_ahead

ray = pytest.importorskip("ray")
# Ray leaves sockets and files of its own to the garbage collector
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with one core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # what the workers of this cluster import from, beside what is installed
        tests = str(Path(jobs.__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (tests, os.environ.get("PYTHONPATH")))))
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
            try:
                made.add_node(num_cpus=1)
                ray.init(address=made.address, log_to_driver=False)
                yield made
            finally:
                ray.shutdown()
                made.shutdown()


def test_backtests_on_two_nodes_are_those_of_this_machine(nodes: Any, make_kiosk: Callable[..., Project]) -> None:
    recipes = [Recipe("toy:MeanOfWeeks", {"weeks": 2}), Recipe("lightgbm", {"trees": 10})]
    found = []
    for name, kind in (("here", "local"), ("there", "ray")):
        project = make_kiosk(f"engine.kind={kind}", days=120, name=name)
        ingest(project, SystemClock())
        panel, dataset = load_panel(project, horizon=7)
        found.append([each.take() for part in compute_ahead(project, panel, dataset, recipes) for each in part])
    assert len(found[0]) == 4
    for here, there in zip(*found, strict=True):
        assert here[0].cutoff == there[0].cutoff
        assert here[0].mean.tobytes() == there[0].mean.tobytes()
        for ends in ("lower", "upper"):
            assert getattr(here[0], ends)[80.0].tobytes() == getattr(there[0], ends)[80.0].tobytes()


def test_a_trials_windows_on_two_nodes_are_those_of_this_machine(
    nodes: Any, make_kiosk: Callable[..., Project]
) -> None:
    project = make_kiosk("engine.kind=ray", "tune.windows=2", days=120)
    ingest(project, SystemClock())
    panel, dataset = load_panel(project, horizon=7)
    wanted = [({"weeks": weeks}, window) for weeks in (1, 3) for window in range(2)]
    with Engine(project.settings.engine, home=project.home) as engine:
        assert engine.width == 2
        there = EngineJudge(project, panel, dataset.version, "toy:MeanOfWeeks", engine).judge(wanted)
    assert there == WindowJudge(project, panel, "toy:MeanOfWeeks").judge(wanted)


def test_a_run_and_its_forecasts_on_two_nodes_are_those_of_this_machine(
    nodes: Any, make_kiosk: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    options = "train.options={partitioned={by='item',options={lightgbm={trees=10}}}}"
    found = []
    for name, kind in (("here", "local"), ("there", "ray")):
        project = make_kiosk(days=150, name=name)
        words = ["-p", str(project.root), "--set", options, "--set", "train.candidates=['partitioned']"]
        words += ["--set", f"engine.kind={kind}", "--json"]
        assert main(["run", *words]) == 0
        made = json.loads(capsys.readouterr().out)
        assert main(["forecast", "--out", str(project.root / "f.parquet"), *words]) == 0
        capsys.readouterr()
        digest = open_release(project.releases / made["release"]).manifest.model_digest
        found.append((digest, (project.root / "f.parquet").read_bytes()))
        computed = {path.parent.name for path in (project.home / "pieces").glob("*/*")}
        assert bool(computed) == (kind == "ray")
    assert found[0] == found[1]


def test_a_failure_on_a_node_is_an_outcome(nodes: Any, tmp_path: Path) -> None:
    outcomes = run_pieces(jobs.pieces(jobs.refuse, tmp_path, 2), EngineSettings(kind="ray"), home=tmp_path)
    assert outcomes[0].error is None
    assert outcomes[1].error is not None
    assert outcomes[1].error[1] == "odd"


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: Any) -> None:
        raise ConnectionError("ray client connection timeout")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", away)
    with pytest.raises(UnavailableError, match=r"10\.0\.0\.1:6379") as raised:
        run_pieces(
            jobs.pieces(jobs.draw, tmp_path, 1), EngineSettings(kind="ray", address="10.0.0.1:6379"), home=tmp_path
        )
    assert (raised.value.code, raised.value.path) == ("engine_unreachable", "engine.address")


def test_a_missing_ray_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UnavailableError) as raised:
        list(by_ray.RayWorkers(1, "").perform(jobs.pieces(jobs.draw, tmp_path, 1)))
    assert raised.value.code == "engine_ray_missing"
    assert "everloop[ray]" in raised.value.hint


def test_what_a_killed_node_had_is_computed_by_the_other(nodes: Any, tmp_path: Path) -> None:
    def begun() -> list[str]:
        return [each for each in jobs.calls(tmp_path) if each.startswith(("begun-2-", "begun-3-"))]

    def kill() -> None:
        deadline = time.monotonic() + 120
        while len(begun()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        (lost,) = nodes.worker_nodes
        nodes.remove_node(lost, allow_graceful=False)
        # its worker ends with it, but not at once
        workers = [int(each.rpartition("-")[2]) for each in begun()]
        while all(jobs.is_alive(worker) for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        (tmp_path / "gate").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = run_pieces(jobs.pieces(jobs.wait_for_gate, tmp_path, 6), EngineSettings(kind="ray"), home=tmp_path)
    killer.join()
    assert [each.take().tobytes() for each in outcomes] == [
        np.random.default_rng(number).standard_normal(1000).tobytes() for number in range(6)
    ]
    assert len(begun()) == 3  # one of the two was lost with its node
    assert [jobs.calls(tmp_path).count(f"draw-{number}") for number in (0, 1)] == [1, 1]
