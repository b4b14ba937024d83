"""A replay walks through the past by the real code, and sees nothing of the future."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from everloop.core.errors import UsageError
from everloop.core.project import Project
from everloop.loop.replay import Replay, ReplayPlan, open_replay, replay
from everloop.store.schema import predictions
from kiosk import FIRST


def walk(project: Project, *, first: int, days: int) -> Replay:
    start = FIRST + timedelta(days=first)
    plan = ReplayPlan(start, start + timedelta(days=days - 1))
    run = open_replay(project, plan)
    for _ in replay(run, plan):
        pass
    return run


def answers(run: Replay) -> list[tuple[str, bytes]]:
    with run.store.read() as tx:
        rows = tx.execute(predictions.select().order_by(predictions.c.at, predictions.c.role)).all()
    return [(row.role, row.response) for row in rows]


def test_weeks_of_the_loop(make_kiosk: Callable[..., Project]) -> None:
    project = make_kiosk()
    run = walk(project, first=98, days=30)
    kinds = [event.kind for event in run.decisions]
    assert [stage for report in run.reports for stage in report.failures] == []
    assert kinds[:2] == ["released", "promoted"]
    assert "challenged" in kinds
    assert kinds.count("kept") + kinds.count("promoted") >= 2, "a trial was decided"
    live = run.reports[-1].live
    assert live is not None
    assert live.accuracy.wape is not None
    assert live.accuracy.wape == pytest.approx(live.accuracy.expected_wape, rel=0.3)
    assert not (project.home / "everloop.db").exists(), "a replay changes nothing outside its own world"
    run.store.close()


def test_the_future_does_not_enter(make_kiosk: Callable[..., Project]) -> None:
    honest = make_kiosk(name="honest")
    planted = make_kiosk(name="planted")
    known = FIRST + timedelta(days=103)
    source = planted.root / "sales.csv"
    rows = pl.read_csv(source)
    later = pl.col("day").str.to_date() >= known
    rows.with_columns(pl.when(later).then(pl.col("sold") * 50 + 7).otherwise(pl.col("sold")).alias("sold")).write_csv(
        source
    )
    runs = [walk(project, first=98, days=6) for project in (honest, planted)]
    first, second = (answers(run) for run in runs)
    assert len(first) == 6
    assert first == second
    for run in runs:
        run.store.close()


def test_the_same_replay_twice_decides_the_same(make_kiosk: Callable[..., Project]) -> None:
    project = make_kiosk()
    told = []
    for _ in range(2):
        run = walk(project, first=98, days=9)
        told.append([(event.at, event.kind, event.message.split(":")[0][-20:]) for event in run.decisions])
        told.append([response for _, response in answers(run)])
        run.store.close()
    assert told[1] == told[3]
    assert [each[:2] for each in told[0]] == [each[:2] for each in told[2]]


def test_a_replay_that_ends_before_it_begins_is_refused(make_kiosk: Callable[..., Project]) -> None:
    with pytest.raises(UsageError, match="cannot end"):
        ReplayPlan(date(2024, 2, 1), date(2024, 1, 1))


def test_the_world_of_a_replay_is_its_own(make_kiosk: Callable[..., Project], tmp_path: Path) -> None:
    project = make_kiosk()
    shared = replace(project, settings=project.settings.model_copy())
    plan = ReplayPlan(FIRST + timedelta(days=98), FIRST + timedelta(days=98))
    run = open_replay(shared, plan, home=tmp_path / "world")
    assert run.project.store_url.endswith("/world/everloop.db")
    assert run.project.tracking_uri.endswith("/world/mlflow.db")
    run.store.close()
