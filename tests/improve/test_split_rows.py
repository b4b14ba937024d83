"""A split of a model of rows is judged by what its units' rows came to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from everloop.core.ids import new_id
from everloop.core.project import Project
from everloop.improve.split import adopt_split, judge_split, split_of
from everloop.release.rollout import begin_rollout
from everloop.serve.traffic import Split
from everloop.stats.split.comparison import SplitDecision
from everloop.store.deployments import deploy
from everloop.store.engine import open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.row_outcomes import ONLY_ROW, RowOutcome, add_row_outcomes
from everloop.store.row_values import pack_rows
from everloop.store.splits import split_in_force, start_split
from everloop.store.trials import open_trial

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
A, B = "a" * 64, "b" * 64
USERS = 120
DAYS = 12


def decided(project: Project, *, factor: float, labels: bool) -> SplitDecision:
    """Twelve days of users who ask once a day, half of them answered by a challenger."""
    rng = np.random.default_rng(3)
    store = open_store(project.store_url, fsync=False)
    with store.write() as tx:
        deploy(tx, "champion", A, at=NOW, reason="first")
        deploy(tx, "challenger", B, at=NOW, reason="by hand")
        begin_rollout(tx, project.settings.release, B, at=NOW, reason="by hand", actor="test")
        split = start_split(tx, {A: 0.5, B: 0.5}, unit="user", at=NOW, reason="", actor="test", salt="s")
    adopt_split(project, store, at=NOW, actor="test")
    drawn, said, told = Split.compile(split), [], []
    for day in range(DAYS):
        at = NOW + timedelta(days=day, hours=1)
        for number in range(USERS):
            unit = f"user {number}"
            by = drawn.assign(unit)
            error = rng.normal() * (1 + number % 5) * (factor if by == B else 1.0)
            wrong = rng.random() < 0.4 * (factor if by == B else 1.0)
            output = np.array(["no" if wrong else "yes"]) if labels else np.array([10.0 + error])
            role = "challenger" if by == B else "champion"
            about = (by, "", role, "infer", None, at, at, b"{}", pack_rows({"prediction": output}), unit, split.label)
            said.append(Prediction(new_id(at), at, *about))
            truth = (None, "yes") if labels else (10.0, None)
            told.append(RowOutcome(at + timedelta(hours=9), said[-1].id, ONLY_ROW, *truth, None, "test"))
    with store.write() as tx:
        add_predictions(tx, said)
        add_row_outcomes(tx, told)
    with store.read() as tx:
        trial, found = open_trial(tx), split_in_force(tx)
    assert trial is not None
    assert found is not None
    assert split_of(store, trial) == found
    decision = judge_split(project, store, trial, found, now=NOW + timedelta(days=DAYS + 1))
    store.close()
    return decision


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize(("factor", "verdict"), [(0.5, "promote"), (1.0, "go on")])
def test_errors_of_rows_decide(make_kiosk: Callable[..., Project], factor: float, verdict: str, labels: bool) -> None:
    task = "classification" if labels else "regression"
    project = make_kiosk("release.rollout=ab", f"project.task={task}", "release.max_days=28", days=30)
    decision = decided(project, factor=factor, labels=labels)
    assert decision.verdict == verdict, decision.reason
    effect = decision.overall.effect
    assert effect is not None
    assert abs(effect - (1 - factor)) < 0.15
    assert decision.overall.cluster == "user"
