from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import load_text

from everloop.core.clock import ManualClock
from everloop.core.errors import ModelError, UnavailableError
from everloop.core.project import Project
from everloop.experiment.compare import rank_runs
from everloop.experiment.lineage import Lineage
from everloop.experiment.mlflow_tracker import Measurement
from everloop.experiment.tracking import open_tracker
from everloop.release.manifest import Dataset

NOW = datetime(2011, 12, 9, 3, tzinfo=UTC)
DATASET = Dataset(version=3, digest="d" * 64, rows=1920)
LINEAGE = Lineage(
    git_commit="c" * 40,
    git_dirty=True,
    git_diff="diff --git a/model.py b/model.py\n",
    untracked=(),
    packages=("everloop==0.1.0", "numpy==2.0.0"),
    lock_digest="1" * 64,
    settings_digest="e" * 64,
    python="3.11.0",
    platform="linux-x86_64",
    everloop="0.1.0",
    seed=7,
)


def test_a_run_holds_parameters_data_lineage_and_metrics_by_step(make_project: Callable[..., Project]) -> None:
    project = make_project()
    tracker = open_tracker(project, clock=ManualClock(NOW))
    run_id = tracker.start("ets", dataset=DATASET, lineage=LINEAGE, params={"candidate": "ets"}, tags={"mine": "yes"})
    tracker.log(run_id, [Measurement("horizon/wape", step / 10, step) for step in range(1, 15)])
    tracker.log(run_id, [Measurement("wape", 0.3), Measurement("mase", float("nan")), Measurement("x", float("inf"))])
    tracker.finish(run_id)

    # read by plain MLflow
    client = MlflowClient(tracking_uri=f"sqlite:///{project.home}/mlflow.db")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.start_time == int(NOW.timestamp() * 1000)
    assert run.data.params["candidate"] == "ets"
    assert run.data.params["forecast.horizon"] == "14"
    assert run.data.params["seed"] == "7"
    assert run.data.params["data.series"] == '["store", "item"]'
    assert run.data.metrics == {"horizon/wape": 1.4, "wape": 0.3}
    assert [each.step for each in client.get_metric_history(run_id, "horizon/wape")] == list(range(1, 15))
    assert run.data.tags["mlflow.source.git.commit"] == "c" * 40
    assert run.data.tags["everloop.git_dirty"] == "true"
    assert run.data.tags["mine"] == "yes"
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest, dataset.source_type) == ("demand", "d" * 36, "delta_table")
    assert json.loads(dataset.source) == {"path": str(project.table), "delta_table_version": 3}
    assert json.loads(dataset.profile)["digest"] == DATASET.digest
    assert load_text(f"{run.info.artifact_uri}/lineage/lock.txt") == LINEAGE.lock
    assert load_text(f"{run.info.artifact_uri}/lineage/diff.patch") == LINEAGE.git_diff
    assert json.loads(load_text(f"{run.info.artifact_uri}/lineage/settings.json"))["project"]["name"] == "demand"
    assert (project.home / "mlartifacts" / run_id / "artifacts" / "lineage").is_dir()


def test_a_failure_marks_the_run_and_is_raised(make_project: Callable[..., Project]) -> None:
    tracker = open_tracker(make_project())
    run_id = tracker.start("ets", dataset=DATASET, lineage=LINEAGE)
    with pytest.raises(ModelError), tracker.failing(run_id):
        raise ModelError("fit_failed", "it did not converge")
    run = tracker.client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["everloop.error"] == "fit_failed: it did not converge"
    assert "ModelError: it did not converge" in load_text(f"{run.info.artifact_uri}/error.txt")


def test_a_run_whose_process_died_is_closed(make_project: Callable[..., Project]) -> None:
    tracker = open_tracker(make_project())
    mine = tracker.start("mine", dataset=DATASET, lineage=LINEAGE)
    host = tracker.client.get_run(mine).data.tags["everloop.process"].partition(":")[0]
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, far = (
        tracker.start("x", dataset=DATASET, lineage=LINEAGE, tags={"everloop.process": process})
        for process in (f"{host}:{gone.pid}", "another-host:1")
    )
    assert tracker.close_abandoned() == 1
    status = {run.info.run_id: run.info.status for run in tracker.runs()}
    assert status == {mine: "RUNNING", dead: "KILLED", far: "RUNNING"}


def test_a_second_home_begins_from_a_copy_and_they_do_not_mix(make_project: Callable[..., Project]) -> None:
    first, second = make_project(name="one"), make_project(name="two")
    one = open_tracker(first)
    started = time.perf_counter()
    two = open_tracker(second)
    assert time.perf_counter() - started < 0.6  # MLflow's migrations alone take a second
    run_id = one.start("ets", dataset=DATASET, lineage=LINEAGE)
    one.finish(run_id)
    assert [run.info.run_id for run in one.runs()] == [run_id]
    assert two.runs() == []
    schemas = [
        sorted(sqlite3.connect(project.home / "mlflow.db").execute("SELECT name, sql FROM sqlite_master").fetchall())
        for project in (first, second)
    ]
    assert schemas[0] == schemas[1]


def test_opening_twice_finds_the_same_experiment(make_project: Callable[..., Project]) -> None:
    project = make_project()
    assert open_tracker(project).experiment == open_tracker(project).experiment


def test_a_run_costs_little(make_project: Callable[..., Project]) -> None:
    tracker = open_tracker(make_project())
    started = time.process_time()
    run_id = tracker.start("ets", dataset=DATASET, lineage=LINEAGE)
    tracker.log(run_id, [Measurement(f"horizon/m{name}", 0.5, step) for name in range(8) for step in range(28)])
    tracker.log_files(run_id, {"evidence/gates.json": "[]", "evidence/metrics.json": "{}"})
    tracker.finish(run_id)
    assert time.process_time() - started < 1.0  # about 0.15 s alone


def test_a_server_that_is_away_is_an_error_of_ours(make_project: Callable[..., Project]) -> None:
    project = make_project("tracking.uri=http://ann:secret@127.0.0.1:9")
    with pytest.raises(UnavailableError) as caught:
        open_tracker(project)
    assert caught.value.code == "tracking_unavailable"
    assert "127.0.0.1:9" in caught.value.message.split(" does not answer")[0]
    assert "secret" not in caught.value.message.split(" does not answer")[0]


def test_importing_the_door_imports_no_mlflow() -> None:
    modules = [
        "everloop.experiment.tracking",
        "everloop.experiment.compare",
        "everloop.validate.examination",
        "everloop.release.build",
        "everloop.release.promotion",
    ]
    script = f"import sys, {', '.join(modules)}\n"
    script += "heavy = {'mlflow', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)\nprint(heavy)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_nothing_is_written_to_stdout_and_no_telemetry_is_sent(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from everloop.experiment.mlflow_client import connect\n"
        f"connect('sqlite:///{tmp_path}/mlflow.db').search_experiments()\n"
        "from mlflow.telemetry import get_telemetry_client\n"
        "assert get_telemetry_client() is None\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_runs_are_ranked_and_those_of_other_data_come_after(make_project: Callable[..., Project]) -> None:
    clock = ManualClock(NOW)
    tracker = open_tracker(make_project(), clock=clock)

    def run(candidate: str, wape: float, comparable: str) -> str:
        tags = {"everloop.candidate": candidate, "everloop.comparable": comparable}
        run_id = tracker.start(candidate, dataset=DATASET, lineage=LINEAGE, tags=tags)
        tracker.log(run_id, [Measurement("wape", wape), Measurement("skill/wape", 1 - wape)])
        tracker.finish(run_id)
        clock.set(clock.now().replace(minute=clock.now().minute + 1))
        return run_id

    other, bad, good = run("ets", 0.1, "older data"), run("ets", 0.5, "now"), run("lightgbm", 0.3, "now")
    failed = tracker.start("x", dataset=DATASET, lineage=LINEAGE, tags={"everloop.comparable": "now"})
    tracker.finish(failed, status="FAILED")
    ranked = rank_runs(tracker)
    assert [each.run_id for each in ranked] == [good, bad, other]
    assert [each.is_comparable for each in ranked] == [True, True, False]
    assert ranked[0].skill == pytest.approx(0.7)
    assert ranked[0].candidate == "lightgbm"
    assert len(rank_runs(tracker, limit=1)) == 1
    assert rank_runs(tracker, metric="mase") == []
