"""Studies: what is drawn, what is kept, and going on after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from everloop.core.errors import ConflictError, ModelError, UnavailableError
from everloop.core.project import Project
from everloop.experiment.study import Ended, Live, Study, StudyPlan, held_study
from everloop.experiment.study_storage import _prepare
from everloop.experiment.tuning import Budget, Searched, Wanted, search
from everloop.models.search import Choice, Real, Whole
from shop import project_in

SPACE = {"depth": Whole(1, 40), "kind": Choice(("a", "b")), "rate": Real(0.01, 1.0, log=True)}
PLAN = StudyPlan("bowl", SPACE, {"depth": 30, "kind": "a", "rate": 0.9}, 3, "content", seed=11)


def bowl(options: Mapping[str, Any], window: int) -> float:
    """Least at depth 12, rate 0.1 and kind b; later windows are harder."""
    miss = (options["depth"] - 12) ** 2 / 100 + abs(options["rate"] - 0.1) + 0.3 * (options["kind"] == "a")
    return float(1 + window + miss)


class Runs:
    """Takes down what became of each trial."""

    def __init__(self) -> None:
        self.states: list[str] = []

    def begin(self, trial: Live) -> str:
        return str(trial.number)

    def end(self, run_id: str, trial: Live, metric: str, state: str) -> None:
        self.states.append(state)


class OneByOne:
    """Judges by a function; takes down the windows that it is asked for together."""

    def __init__(self, metric: Callable[[Mapping[str, Any], int], float], width: int) -> None:
        self.metric = metric
        self.width = width
        self.asked: list[list[tuple[str, int]]] = []

    def judge(self, wanted: Sequence[Wanted]) -> list[float | ModelError]:
        self.asked.append([(str(options), window) for options, window in wanted])
        found: list[float | ModelError] = []
        for options, window in wanted:
            try:
                found.append(self.metric(options, window))
            except ModelError as error:
                found.append(error)
        return found


def run(
    study: Study, metric: Callable[[Mapping[str, Any], int], float] = bowl, trials: int = 11, **more: Any
) -> Searched:
    budget = Budget(trials, more.pop("ends_at", 1e9), more.pop("kept_windows", 0), more.pop("at_once", 1))
    judge = more.pop("judge", None) or OneByOne(metric, more.pop("width", 1))
    return search(study, judge, budget, runs=more.pop("runs", Runs()), metric="wape", **more)


def told(trials: tuple[Ended, ...] | list[Ended]) -> list[tuple[Any, ...]]:
    """What matters of trials: not their numbers and times."""
    return [(each.options, each.state, each.values, each.value) for each in trials]


def test_a_search_finds_better_options_and_begins_with_the_present_ones(make_project: Callable[..., Project]) -> None:
    with held_study(make_project(), PLAN) as study:
        found = run(study, trials=20)
        best = study.best()
    assert found.trials[0].options == PLAN.present
    assert best is not None
    assert best.value == pytest.approx(sum(bowl(best.options, window) for window in range(3)) / 3)
    assert best.value < found.trials[0].value * 0.75
    assert any(each.state == "pruned" and len(each.values) < 3 for each in found.trials)


def test_searched_in_parts_it_draws_what_one_search_would_have_drawn(make_project: Callable[..., Project]) -> None:
    with held_study(make_project(name="whole"), PLAN) as study:
        whole = run(study).trials
    project = make_project(name="parts")
    for trials in (2, 9, 11):
        with held_study(project, PLAN) as study:
            parts = run(study, trials=trials).trials
    assert told(parts) == told(whole)
    with held_study(make_project(name="other"), replace(PLAN, seed=12)) as study:
        assert told(run(study).trials) != told(whole)


def test_windows_judged_at_once_change_nothing_of_a_search(make_project: Callable[..., Project]) -> None:
    found, asked = [], []
    for width in (1, 2, 5):
        judge = OneByOne(bowl, width)
        with held_study(make_project(name=f"width-{width}"), PLAN) as study:
            found.append(told(run(study, judge=judge).trials))
        asked.append(judge.asked)
    assert found[0] == found[1] == found[2]
    assert max(map(len, asked[0])) == 1
    assert [len(each) for each in asked[2]] == [3] * 11  # all windows of each trial, also of those given up


def test_trials_begun_together_are_the_same_in_parts_and_however_many_windows_are_judged_at_once(
    make_project: Callable[..., Project],
) -> None:
    judge = OneByOne(bowl, 1)
    with held_study(make_project(name="whole"), PLAN) as study:
        whole = run(study, judge=judge, trials=14, at_once=4).trials
    # the present options come alone, then four by four
    assert [len(each) for each in judge.asked[:7]] == [1, 1, 1, 4, 4, 4, 4]
    assert len({str(each.options) for each in whole}) == 14
    with held_study(make_project(name="wide"), PLAN) as study:
        assert told(run(study, trials=14, at_once=4, width=8).trials) == told(whole)
    project = make_project(name="parts")
    for trials in (1, 5, 13, 14):
        with held_study(project, PLAN) as study:
            parts = run(study, trials=trials, at_once=4).trials
    assert told(parts[:13]) == told(whole[:13])
    assert min(each.value for each in whole if each.value) < 0.75 * (whole[0].value or 0)


def test_a_finished_study_tries_nothing_more(make_project: Callable[..., Project]) -> None:
    project = make_project()
    with held_study(project, PLAN) as study:
        run(study, trials=5)
    with held_study(project, PLAN) as study:
        again = run(study, trials=5)
    assert (again.new, again.why, len(again.trials)) == (0, "trials", 5)


def test_time_is_kept_within_a_trial_and_the_next_search_goes_on_from_its_window(
    make_project: Callable[..., Project],
) -> None:
    project, now, seen = make_project(), [0.0], []

    def judge(options: Mapping[str, Any], window: int) -> float:
        seen.append((str(options), window))
        now[0] += 10.0
        return bowl(options, window)

    # three windows for the present options, then two more fit into 57 seconds
    with held_study(project, PLAN) as study:
        runs = Runs()
        first = run(study, judge, ends_at=57.0, runs=runs, clock=lambda: now[0])
    assert (now[0], first.why, len(first.trials)) == (50.0, "time", 1)
    assert runs.states == ["complete", "cut off"]
    # with windows kept for the check after it, the search ends sooner
    with held_study(make_project(name="kept"), PLAN) as study:
        now[0] = 0.0
        run(study, judge, ends_at=57.0, kept_windows=2, clock=lambda: now[0])
    assert now[0] == 30.0
    with held_study(project, PLAN) as study:
        second = run(study, judge, trials=2)
    assert len(second.trials) == 2
    mine = [each for each in seen if each[0] == str(second.trials[1].options)]
    assert sorted(window for _, window in mine[:2]) == [0, 1]
    assert len(mine) == len(set(mine))


def test_a_candidate_that_fails_for_some_options_costs_these_trials_alone(make_project: Callable[..., Project]) -> None:
    def judge(options: Mapping[str, Any], window: int) -> float:
        if options["kind"] == "b":
            raise ModelError("toy", "kind b cannot be fitted")
        return bowl(options, window)

    with held_study(make_project(), PLAN) as study:
        found = run(study, judge, trials=9)
        best = study.best()
    failed = [each for each in found.trials if each.state == "failed"]
    assert failed
    assert failed[0].error == "toy: kind b cannot be fitted"
    assert len({str(each.options) for each in failed}) > 1
    assert best is not None
    assert best.options["kind"] == "a"

    def always(options: Mapping[str, Any], window: int) -> float:
        raise ModelError("toy", "nothing can be fitted")

    with held_study(make_project(name="hopeless"), PLAN) as study, pytest.raises(ModelError, match="nothing can"):
        run(study, always)


def test_two_searches_of_one_project_keep_apart(make_project: Callable[..., Project]) -> None:
    project = make_project()
    with held_study(project, PLAN), pytest.raises(ConflictError) as caught, held_study(project, PLAN):
        pass
    assert caught.value.code == "tune_busy"
    with held_study(project, PLAN):
        pass


@pytest.mark.parametrize("pruner", ["hyperband", "none"])
def test_other_pruners(make_project: Callable[..., Project], pruner: Any) -> None:
    with held_study(make_project(), replace(PLAN, pruner=pruner)) as study:
        found = run(study, trials=12)
    assert any(each.state == "pruned" for each in found.trials) == (pruner != "none")


CHILD = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_study import PLAN, Runs, bowl, run
from shop import project_in
from everloop.experiment.study import held_study

seen = 0

def judge(options, window):
    global seen
    seen += 1
    if seen > int(sys.argv[3]):
        print("waiting", flush=True)
        signal.pause()
    return bowl(options, window)

with held_study(project_in(Path(sys.argv[2])), PLAN) as study:
    run(study, judge)
"""


def test_killed_with_kill_9_it_goes_on_with_the_trial_that_died(tmp_path: Path) -> None:
    with held_study(project_in(tmp_path / "whole"), PLAN) as study:
        whole = run(study).trials
    home = tmp_path / "killed"
    for windows in (1, 8):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(home), str(windows)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"waiting\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    calls = []

    def judge(options: Mapping[str, Any], window: int) -> float:
        calls.append((str(options), window))
        return bowl(options, window)

    with held_study(project_in(home), PLAN) as study:
        rest = run(study, judge)
    assert told(rest.trials) == told(whole)
    # the windows that were on the disk when it died are not computed again: 1 of the first process, 8 of the second
    windows = sum(len(each.values) for each in whole)
    assert len(calls) == windows - 9


def test_what_died_is_asked_for_anew_whatever_would_be_drawn_next(make_project: Callable[..., Project]) -> None:
    project = make_project()
    with held_study(project, PLAN) as study:
        run(study, trials=2)
        died = study.begin().options
    for _ in range(2):  # opened twice, it is asked for once
        with held_study(project, PLAN):
            pass
    storage = optuna.storages.RDBStorage(f"sqlite:///{project.home / 'tuning.db'}")
    try:
        trials = optuna.load_study(study_name=PLAN.name, storage=storage).trials
    finally:
        storage.remove_session()
        storage.engine.dispose()
    assert [each.state.name for each in trials[2:]] == ["FAIL", "WAITING"]
    assert trials[3].system_attrs["fixed_params"] == died


def test_a_reader_of_the_file_hinders_nothing_and_a_file_that_is_no_database_is_told(
    make_project: Callable[..., Project],
) -> None:
    project = make_project()
    project.home.mkdir()
    path = project.home / "tuning.db"
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("CREATE TABLE mine (x)")
        reader.execute("INSERT INTO mine VALUES (1)")
        reader.commit()
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM mine").fetchall()
        _prepare(path)
        reader.execute("SELECT * FROM mine").fetchall()
    path.write_bytes(b"no database" * 500)
    with pytest.raises(UnavailableError) as caught, held_study(project, PLAN):
        pass
    assert (caught.value.code, caught.value.path) == ("tune_store", str(path))


def test_a_study_lies_in_the_stores_own_database_where_that_is_postgresql(
    make_project: Callable[..., Project], postgres_url: str
) -> None:
    project = make_project(f"store.url={postgres_url}")
    with held_study(project, PLAN) as study:
        found = run(study, trials=4).trials
        with pytest.raises(ConflictError), held_study(project, PLAN):
            pass
    with held_study(project, PLAN) as study:
        assert told(study.ended()) == told(found)
    assert not (project.home / "tuning.db").exists()
