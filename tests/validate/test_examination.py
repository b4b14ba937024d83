from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Self

import pytest
from mlflow.artifacts import list_artifacts, load_text

from everloop.core.errors import ModelError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.compare import rank_runs
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.release.manifest import Dataset
from everloop.validate.examination import BASELINE, Examination, Shared, backtest_candidate, examine, forecast_table

DATASET = Dataset(version=1, digest="d" * 64, rows=1920)


def examined(project: Project, panel: Panel, candidate: str, **more: Any) -> Examination:
    tracker = more.pop("tracker", None) or open_tracker(project)
    baseline = backtest_candidate(project, panel, BASELINE)
    lineage = collect_lineage(project)
    shared = Shared(project, panel, DATASET, tracker, lineage, baseline, more.pop("champion", None))
    return examine(candidate, shared, **more)


def test_the_run_holds_what_the_examination_says(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project = make_project("tracking.plots=true", "validate.slices=['dept']", "train.options={lightgbm={trees=20}}")
    tracker = open_tracker(project)
    found = examined(project, make_panel(), "lightgbm", tracker=tracker)
    run = tracker.client.get_run(found.run_id)
    metrics = run.data.metrics

    assert run.info.status == "FINISHED"
    assert found.options["trees"] == 20
    assert metrics["wape"] == found.value == found.evaluation.scores.overall["wape"].value
    assert metrics["baseline/wape"] == found.evaluation.baseline.overall["wape"].value
    assert metrics["skill/wape"] == pytest.approx(1 - metrics["wape"] / metrics["baseline/wape"])
    steps = tracker.client.get_metric_history(found.run_id, "horizon/wape")
    assert [each.step for each in steps] == list(range(1, 15))
    assert steps[3].value == found.evaluation.scores.by_step[3]["wape"].value
    assert len(tracker.client.get_metric_history(found.run_id, "fold/coverage_95")) == 2
    assert run.data.tags["everloop.gates"] == "passed"
    plots = {each.path for each in list_artifacts(run_id=found.run_id, artifact_path="plots", tracking_uri=tracker.uri)}
    assert plots == {"plots/backtest.png", "plots/error_by_step.png", "plots/coverage.png"}
    gates = json.loads(load_text(f"{run.info.artifact_uri}/evidence/gates.json"))
    assert [gate["code"] for gate in gates] == [gate.code for gate in found.gates]
    kept = json.loads(load_text(f"{run.info.artifact_uri}/evidence/metrics.json"))
    assert set(kept["by_slice"]["dept"]) == {"food", "toys"}
    assert [each.run_id for each in rank_runs(tracker)] == [found.run_id]


def test_the_baseline_against_itself(make_project: Callable[..., Project], make_panel: Callable[..., Panel]) -> None:
    found = examined(make_project(), make_panel(), BASELINE)
    assert found.evaluation.skill["wape"] == 0.0
    assert found.passed


def test_a_champion_on_the_same_windows_stops_a_worse_one(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project, panel = make_project("validate.gates.min_skill=-9"), make_panel()
    champion = backtest_candidate(project, panel, "lightgbm", options={"trees": 40})
    found = examined(project, panel, BASELINE, champion=champion)
    assert not found.passed
    assert [gate.name for gate in found.gates if gate.blocks] == ["not_worse_than_champion"]


def test_the_same_examination_twice_says_the_same(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    project = make_project("train.options={lightgbm={trees=20}}")
    one, two = (examined(project, make_panel(), "lightgbm") for _ in range(2))
    assert one.run_id != two.run_id
    assert one.summary() == two.summary()


def test_a_candidate_that_fails_leaves_a_failed_run(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel], monkeypatch: pytest.MonkeyPatch
) -> None:
    from everloop.models.lightgbm import LightGBMForecaster

    def fit(self: Self, panel: Panel, context: Any) -> Self:
        raise RuntimeError("out of trees")

    monkeypatch.setattr(LightGBMForecaster, "fit", fit)
    project = make_project()
    tracker = open_tracker(project)
    with pytest.raises(ModelError, match="lightgbm cannot be fitted: RuntimeError: out of trees"):
        examined(project, make_panel(), "lightgbm", tracker=tracker)
    (run,) = tracker.runs()
    assert run.info.status == "FAILED"
    assert "out of trees" in run.data.tags["everloop.error"]
    assert rank_runs(tracker) == []


def test_the_table_of_forecasts_is_the_backtest(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel]
) -> None:
    panel = make_panel(late=140)
    found = examined(make_project(), panel, BASELINE)
    columns = forecast_table(found, panel)
    assert {len(values) for values in columns.values()} == {(11 + 12) * 14}
    first = found.backtest.folds[1]
    row = 11 * 14 + 2 * 14 + 3  # second window, third series, fourth step
    assert columns["fold"][row] == 1
    assert columns["series"][row] == "/".join(panel.keys[2])
    assert columns["step"][row] == 4
    assert columns["time"][row] == panel.frequency.times(first.cutoff + 4)
    assert columns["forecast"][row] == pytest.approx(first.mean[2, 3], rel=1e-6)
    assert columns["actual"][row] == first.actual[2, 3]
    assert columns["lo-80"][row] == pytest.approx(first.lower[80.0][2, 3], rel=1e-6)
