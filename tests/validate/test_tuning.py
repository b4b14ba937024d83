"""Tuning: what the search may see, and the check of its winner on windows that it has not seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.artifacts import load_text
from scipy import stats

from everloop.core.errors import ModelError, UsageError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.study import held_study
from everloop.experiment.tracking import open_tracker
from everloop.experiment.tuned import keep_tuned, with_tuned
from everloop.release.manifest import Dataset
from everloop.store.engine import open_store
from everloop.validate.backtest import Backtest, BacktestPlan, Fold, cutoffs
from everloop.validate.examination import Reference
from everloop.validate.held_back import _held_back, check_winner
from everloop.validate.scores import score_backtest
from everloop.validate.trial_windows import WindowJudge
from everloop.validate.tuning import Tuning, is_tunable, plan_study, tunable, tune_candidate
from shop import sales

DATASET = Dataset(version=1, digest="d" * 64, rows=1920)
SPACE = "tune.space={seasonal_naive={season=[1,14]}}"
PRESENT = "train.options={seasonal_naive={season=3}}"


def tuned(project: Project, panel: Panel, candidate: str = "seasonal_naive", **more: Any) -> Tuning:
    tracker = more.pop("tracker", None) or open_tracker(project)
    lineage = collect_lineage(project)
    seconds = more.pop("seconds", 1e6)
    return tune_candidate(project, panel, DATASET, candidate, tracker=tracker, lineage=lineage, seconds=seconds)


def test_better_options_are_found_checked_and_recorded(make_project: Callable[..., Project]) -> None:
    project = make_project(SPACE, PRESENT, "tune.trials=12", "tune.windows=2")
    tracker = open_tracker(project)
    found = tuned(project, sales(), tracker=tracker)
    assert found.present == {"season": 3}
    assert found.kept in ({"season": 7}, {"season": 14})
    assert found.held_back is not None
    assert found.held_back.lower is not None
    assert found.held_back.lower > 0
    assert found.reason == "surely better on the windows held back"

    run = tracker.client.get_run(found.run_id)
    below = tracker.runs(f"tags.`mlflow.parentRunId` = '{found.run_id}'")
    assert len(below) == len(found.trials) == 12
    first = next(each for each in below if each.data.tags["everloop.trial"] == "0")
    assert first.data.params["tune.season"] == "3"
    assert first.data.metrics["wape"] == found.trials[0].value
    assert len(tracker.client.get_metric_history(first.info.run_id, "window/wape")) == 2
    assert run.data.tags["everloop.tuning"] == "kept"
    assert run.data.metrics["held_back/effect"] == found.held_back.effect
    record = json.loads(load_text(f"{run.info.artifact_uri}/evidence/tuning.json"))
    assert record["trials"][0]["options"] == {"season": 3}

    again = tuned(project, sales(), tracker=tracker)
    assert (again.new, again.trials, again.held_back) == (0, found.trials, found.held_back)


def test_what_lies_in_the_windows_held_back_changes_nothing_of_the_search(make_project: Callable[..., Project]) -> None:
    project, panel = make_project(SPACE, PRESENT, "tune.windows=2"), sales()
    held = cutoffs(panel, BacktestPlan.of(project.settings))[0]
    changed = replace(panel, y=np.where(panel.index_of_rows() > held, 99.0, panel.y).astype(np.float32))
    mine, other = (WindowJudge(project, each, "seasonal_naive") for each in (panel, changed))
    for window in range(2):
        assert mine.metric({"season": 7}, window) == other.metric({"season": 7}, window)
    before = replace(panel, y=np.where(panel.index_of_rows() == held, 99.0, panel.y).astype(np.float32))
    assert mine.metric({"season": 7}, 1) != WindowJudge(project, before, "seasonal_naive").metric({"season": 7}, 1)


FITS_THE_PAST = """
import numpy as np

from everloop.models.forecaster import Forecast
from everloop.models.pickled import PickledForecaster
from everloop.models.search import Choice


class Learner(PickledForecaster):
    memory = 28

    def __init__(self, trick=False):
        self.trick = trick

    @classmethod
    def search_space(cls):
        return {"trick": Choice((False, True))}

    def fit(self, panel, context):
        self.panel_ = panel.tail(28)
        return self

    def update(self, panel):
        return type(self)(self.trick).fit(panel, None)

    def forecast(self, request):
        mean = np.nanmean(self.panel_.last(28).astype(np.float64), axis=1)
        # without the trick it is 20 % too high; the trick sets that right up to a day, and then does worse
        factor = 1.2 if not self.trick else 1.0 if self.panel_.cutoff < DAY else 1.5
        mean = np.repeat(factor * mean[:, None], request.horizon, axis=1)
        ends = [{level: mean + shift for level in request.levels} for shift in (-3, 3)]
        return Forecast(np.arange(len(mean)), self.panel_.cutoff, mean, *ends)
"""


def test_options_that_only_fit_the_windows_searched_are_not_kept(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, panel = make_project("tune.trials=4", "tune.windows=2"), sales()
    held = cutoffs(panel, BacktestPlan.of(project.settings))[0]
    text = FITS_THE_PAST.replace("DAY", str(held))
    (project.root / "fits_the_past.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(project.root))
    found = tuned(project, panel, "fits_the_past:Learner")
    best = min(found.trials, key=lambda each: each.value or np.inf)
    assert best.options == {"trick": True}
    assert found.kept is None
    assert found.held_back is not None
    assert found.held_back.options == {"trick": True}
    assert found.reason == "they do no better than the present ones on the windows held back"


def test_time_that_is_over_at_once_leaves_nothing_half_done(make_project: Callable[..., Project]) -> None:
    found = tuned(make_project(SPACE, PRESENT), sales(), seconds=0.0)
    assert (found.trials, found.kept, found.why) == ((), None, "time")
    assert "--minutes" in found.reason


def test_a_winner_for_whose_check_no_time_is_left_is_checked_by_the_next_call(
    make_project: Callable[..., Project],
) -> None:
    project, panel = make_project(SPACE, PRESENT, "tune.trials=6", "tune.windows=2", "tune.margin=0.03"), sales()
    found = tuned(project, panel)
    # another margin is another question of the same study
    other = make_project(SPACE, PRESENT, "tune.trials=6", "tune.windows=2", "tune.margin=0.04")
    with held_study(other, plan_study(other, DATASET, "seasonal_naive")) as study:
        assert check_winner(other, panel, study, seconds=0.0) is None
        assert check_winner(project, panel, study, seconds=0.0) == found.held_back
        assert check_winner(other, panel, study) is not None
    assert "the same command goes on" in replace(found, held_back=None).reason


def test_a_short_history_names_the_setting(make_project: Callable[..., Project]) -> None:
    with pytest.raises(ModelError, match="windows before the 2 held back") as caught:
        WindowJudge(make_project(SPACE, "tune.windows=20"), sales(), "seasonal_naive")
    assert (caught.value.code, caught.value.path) == ("history_short", "tune.windows")


def test_what_can_be_tuned(make_project: Callable[..., Project]) -> None:
    project = make_project("train.candidates=['seasonal_naive', 'lightgbm']")
    assert tunable(project) == ["lightgbm"]
    assert [is_tunable(project, each) for each in ("lightgbm", "ets", "no_such")] == [True, False, False]
    with pytest.raises(UsageError) as caught:
        plan_study(project, DATASET, "seasonal_naive")
    assert caught.value.code == "tune_nothing"


def test_a_study_is_of_these_data_settings_and_options(make_project: Callable[..., Project]) -> None:
    plain = plan_study(make_project(SPACE, PRESENT), DATASET, "seasonal_naive")
    assert plain.name == plan_study(make_project(SPACE, PRESENT, "tune.trials=9"), DATASET, "seasonal_naive").name
    others = [
        plan_study(make_project(SPACE, "train.options={seasonal_naive={season=4}}"), DATASET, "seasonal_naive"),
        plan_study(make_project(SPACE, PRESENT, "validate.metric=rmsse"), DATASET, "seasonal_naive"),
        plan_study(make_project(SPACE, PRESENT, "forecast.horizon=7"), DATASET, "seasonal_naive"),
        plan_study(make_project(SPACE, PRESENT, "project.seed=8"), DATASET, "seasonal_naive"),
        plan_study(make_project(SPACE, PRESENT), replace_digest("e"), "seasonal_naive"),
    ]
    assert len({each.name for each in [plain, *others]}) == 6
    wide = plan_study(make_project(SPACE, "train.options={seasonal_naive={season=28}}"), DATASET, "seasonal_naive")
    assert wide.space["season"].holds(28)


def replace_digest(letter: str) -> Dataset:
    return Dataset(version=2, digest=letter * 64, rows=1920)


def test_trainings_use_what_was_kept_until_the_settings_are_changed(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(PRESENT, "tune.use=true")
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    try:
        assert with_tuned(project, store) == project
        with store.write() as tx:
            keep_tuned(tx, project, "seasonal_naive", {"season": 7}, study="s", at=datetime(2024, 1, 1, tzinfo=UTC))
        assert with_tuned(project, store).settings.train.options == {"seasonal_naive": {"season": 7}}
        idle = make_project(PRESENT)
        assert with_tuned(idle, store) == idle
        changed = make_project("train.options={seasonal_naive={season=4}}", "tune.use=true")
        assert with_tuned(changed, store).settings.train.options == {"seasonal_naive": {"season": 4}}
    finally:
        store.close()


def backtests(rng: np.random.Generator, panel: Panel, worse: float) -> tuple[Reference, Reference]:
    """The present options', and others' whose errors are larger by a share, both noisy."""
    n, horizon, windows = panel.n_series, 14, 2
    folds: tuple[list[Fold], list[Fold]] = ([], [])
    for window in range(windows):
        actual = rng.gamma(2.0, 10.0, (n, horizon))
        error = rng.normal(0, 8, (n, horizon))
        own = 0.8 * error + 0.6 * rng.normal(0, 8, (n, horizon))
        for place, miss in enumerate((error, own * (1 + worse))):
            cutoff = panel.cutoff - (windows - window) * horizon
            scale = np.ones(n)
            positions = np.arange(n)
            folds[place].append(Fold(cutoff, positions, actual, actual + miss, {}, {}, scale, scale, 0.0, 0.0))
    plan = BacktestPlan(windows, horizon, horizon)
    made = [Backtest(plan, (), tuple(each)) for each in folds]
    first, second = (Reference("toy", {}, each, score_backtest(each, panel)) for each in made)
    return first, second


def test_worse_options_are_kept_as_rarely_as_is_said_and_better_ones_mostly(
    make_project: Callable[..., Project],
) -> None:
    project, panel = make_project("tune.margin=0.02"), sales(40)
    rng = np.random.default_rng(17)

    def share(worse: float, times: int, alpha: float) -> tuple[int, int]:
        kept = [_held_back(project, panel, *backtests(rng, panel, worse), {}, alpha).kept for _ in range(times)]
        return sum(kept), times

    # at the very margin, where it is hardest
    wrong, times = share(0.02, 400, 0.1)
    assert stats.binomtest(wrong, times, 0.1, alternative="greater").pvalue > 0.01
    right, times = share(-0.1, 60, 0.1)
    assert right / times > 0.8


def test_each_further_winner_is_held_to_a_smaller_error(make_project: Callable[..., Project]) -> None:
    project = make_project(SPACE, PRESENT, "tune.trials=3", "tune.windows=2", "tune.alpha=0.06")
    alphas = []
    for trials in (2, 3, 5, 8, 14):
        grown = project.settings.model_copy(
            update={"tune": project.settings.tune.model_copy(update={"trials": trials})}
        )
        found = tuned(replace(project, settings=grown), sales())
        if found.held_back is not None:
            alphas.append(round(found.held_back.alpha, 6))
    distinct = list(dict.fromkeys(alphas))
    assert distinct == [0.03, 0.01, 0.005][: len(distinct)]
    assert len(distinct) >= 2
