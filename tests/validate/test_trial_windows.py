"""Windows of trials by an engine's workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from everloop.core.clock import SystemClock
from everloop.core.engine.running import Engine
from everloop.core.errors import IntegrityError, ModelError
from everloop.core.project import Project
from everloop.data.ingest import ingest
from everloop.data.loading import load_panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.validate.trial_windows import EngineJudge, WindowJudge
from everloop.validate.tuning import Tuning, tune_candidate

SPACE = "tune.space={'toy:MeanOfWeeks'={weeks=[1,8]}}"
PRESENT = "train.options={'toy:MeanOfWeeks'={weeks=1}}"
TUNE = (SPACE, PRESENT, "tune.trials=5", "tune.windows=3", "tune.at_once=2", "forecast.horizon=7", "validate.windows=2")


def filled(make_kiosk: Callable[..., Project], *overrides: str, name: str = "project") -> Project:
    project = make_kiosk(*overrides, days=120, name=name)
    ingest(project, SystemClock())
    return project


def tuned(project: Project) -> Tuning:
    panel, dataset = load_panel(project, horizon=7)
    return tune_candidate(
        project,
        panel,
        dataset,
        "toy:MeanOfWeeks",
        tracker=open_tracker(project),
        lineage=collect_lineage(project),
        seconds=1e6,
    )


def without_times(tuning: Tuning) -> Any:
    trials = [asdict(each) | {"seconds": 0.0} for each in tuning.trials]
    return trials, tuning.held_back, tuning.reason


def test_a_tuning_by_workers_finds_what_one_process_finds(make_kiosk: Callable[..., Project]) -> None:
    here = tuned(filled(make_kiosk, *TUNE, name="here"))
    project = filled(make_kiosk, *TUNE, "engine.workers=2", name="there")
    assert without_times(tuned(project)) == without_times(here)
    assert here.held_back is not None
    kept = len(list((project.home / "pieces").glob("??/*")))
    judged = len({(str(each.options), window) for each in here.trials for window in range(len(each.values))})
    # the windows of the trials, maybe some that were judged ahead of their need, and two backtests of two windows
    assert kept >= judged + 4


def test_what_workers_judged_is_found_again(make_kiosk: Callable[..., Project]) -> None:
    project = filled(make_kiosk, *TUNE, "engine.workers=2")
    panel, dataset = load_panel(project, horizon=7)
    here = WindowJudge(project, panel, "toy:MeanOfWeeks")
    wanted = [({"weeks": weeks}, window) for weeks in (2, 5) for window in range(3)]
    with Engine(project.settings.engine, home=project.home) as engine:
        assert engine.width == 2
        judge = EngineJudge(project, panel, dataset.version, "toy:MeanOfWeeks", engine)
        found = judge.judge(wanted)
        assert found == here.judge(wanted)
        assert len(set(found)) == 6
        before = {path: path.stat().st_mtime_ns for path in (project.home / "pieces").glob("??/*")}
        assert len(before) == 6
        assert judge.judge(wanted) == found
    assert set((project.home / "pieces").glob("??/*")) == set(before)


def test_what_fails_in_a_worker_fails_as_it_does_here(make_kiosk: Callable[..., Project]) -> None:
    project = filled(make_kiosk, *TUNE, "engine.workers=2")
    (project.root / "broken.py").write_text(
        "from toy import MeanOfWeeks\n\n\nclass Broken(MeanOfWeeks):\n"
        "    def fit(self, panel, context):\n        raise ValueError('no')\n"
    )
    panel, dataset = load_panel(project, horizon=7)
    with Engine(project.settings.engine, home=project.home) as engine:
        (failure,) = EngineJudge(project, panel, dataset.version, "broken:Broken", engine).judge([({"weeks": 2}, 0)])
        assert isinstance(failure, ModelError)
        assert failure.code == "fit_failed"
        # what is nobody's fault but the data's ends the search
        panel.y[3] += 1
        judge = EngineJudge(project, panel, dataset.version, "toy:MeanOfWeeks", engine)
        with pytest.raises(IntegrityError):
            judge.judge([({"weeks": 2}, 0)])
