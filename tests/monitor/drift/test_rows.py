"""Models of rows are held to their first eight weeks: what they are asked, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from adopting import adopt, project_at, saved
from everloop.core.project import Project
from everloop.loop.row_inputs import inputs_of
from everloop.monitor.drift.report import DriftReport
from everloop.monitor.drift.rows import PREDICTION, look_for_row_drift
from everloop.store.engine import Store, open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.row_values import pack_rows
from everloop.store.schema import predictions

World = tuple[Project, Store, str]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    project = project_at(tmp_path / "shop", "tracking.plots=false")
    store = open_store(project.store_url, fsync=False)
    release = adopt(project, store, saved(tmp_path / "model"))
    yield project, store, release.digest
    store.close()


FIRST = datetime(2026, 3, 1, 9, tzinfo=UTC)


def answer_days(
    store: Store, release: str, first: int, last: int, *, dearer: float = 1.0, higher: float = 0.0, keep: bool = True
) -> None:
    """Forty rows a day in two requests, of which the second one's inputs are never kept."""
    for day in range(first, last):
        rng = np.random.default_rng(day)
        at = FIRST + timedelta(days=day)
        price = np.exp(rng.normal(3, 0.3, 20)) * dearer
        rows = [[float(each), float(rng.normal()), None if rng.random() < 0.2 else 1.0] for each in price]
        body = json.dumps({"dataframe_split": {"columns": ["price", "stock", "age"], "data": rows}}).encode()
        said = [pack_rows({"prediction": rng.normal(100 + higher, 20, 20)}) for _ in range(2)]
        asked = [body if keep else b"", b""]
        with store.write() as tx:
            add_predictions(
                tx,
                [
                    Prediction(
                        f"p{day}-{n}", at, release, "", "champion", "invocations", None, at, at, asked[n], said[n]
                    )
                    for n in range(2)
                ],
            )


def look(world: World, day: int) -> DriftReport:
    project, store, release = world
    now = FIRST + timedelta(days=day)
    return look_for_row_drift(project, store, now=now, release=release, inputs=inputs_of(project, release))


def test_a_dearer_input_and_higher_answers_are_named(world: World) -> None:
    _, store, release = world
    answer_days(store, release, 0, 80)
    answer_days(store, release, 80, 110, dearer=1.4)
    assert look(world, 80).evidence.verdict == "no drift"
    report = look(world, 110)
    assert [each.column for each in report.drifting] == ["price"]
    price = report.columns[0].alarms[0]
    assert price.expected == pytest.approx(20, rel=0.08)
    assert price.lately == pytest.approx(28, rel=0.08)
    assert report.since is not None
    assert abs((report.since - (FIRST + timedelta(days=80)).date()).days) <= 4
    answer_days(store, release, 110, 130, dearer=1.4, higher=30)
    assert {each.column for each in look(world, 130).drifting} == {"price", PREDICTION}


def test_inputs_that_were_not_kept_are_no_missing_values(world: World) -> None:
    _, store, release = world
    answer_days(store, release, 0, 70)
    answer_days(store, release, 70, 90, keep=False)
    report = look(world, 90)
    assert report.evidence.verdict == "no drift"
    assert {each.column for each in report.columns} == {"price", "stock", "age", PREDICTION}


def test_the_first_eight_weeks_are_learnt_from(world: World) -> None:
    _, store, release = world
    answer_days(store, release, 0, 50)
    report = look(world, 50)
    assert report.evidence.verdict == "cannot tell"
    assert "50 of the first 56 days" in report.evidence.reason


def test_answers_may_be_deleted_once_their_day_is_summed_up(world: World) -> None:
    _, store, release = world
    answer_days(store, release, 0, 100)
    before = [look(world, day).to_dict() for day in (70, 99)]
    with store.write() as tx:
        tx.execute(predictions.delete().where(predictions.c.at < FIRST + timedelta(days=90)))
    assert [look(world, day).to_dict() for day in (70, 99)] == before
