"""A model of rows is watched over months, though its answers of the first weeks may be gone by then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from adopting import adopt, project_at, saved
from everloop.cli.monitor_rows import show_rows
from everloop.core.project import Project
from everloop.monitor.row_live import look_at_rows
from everloop.store.engine import Store, open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.row_outcomes import RowOutcome, add_row_outcomes
from everloop.store.row_values import pack_rows
from everloop.store.schema import predictions

FIRST = datetime(2026, 3, 1, 9, tzinfo=UTC)
World = tuple[Project, Store, str]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    project = project_at(tmp_path / "shop", "tracking.plots=false")
    store = open_store(project.store_url, fsync=False)
    release = adopt(project, store, saved(tmp_path / "model"))
    yield project, store, release.digest
    store.close()


def answer_days(store: Store, release: str, first: int, last: int, *, size: float = 1.0) -> None:
    """Answers of twenty rows a day with their truth, which lies ``size`` deviations off."""
    for day in range(first, last):
        rng = np.random.default_rng(day)
        at = FIRST + timedelta(days=day)
        truth = rng.normal(100, 20, 20)
        said = pack_rows({"prediction": truth + size * rng.standard_normal(20)})
        row = Prediction(f"p{day}", at, release, "", "champion", "infer", None, at, at, b"{}", said, None, None)
        told = [
            RowOutcome(at + timedelta(hours=2), row.id, place, float(value), None, None, "test")
            for place, value in enumerate(truth)
        ]
        with store.write() as tx:
            add_predictions(tx, [row])
            add_row_outcomes(tx, told)


def test_it_is_held_to_its_first_weeks_after_their_answers_are_gone(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    project, store, release = world
    answer_days(store, release, 0, 50)
    now = FIRST + timedelta(days=50)
    before = look_at_rows(project, store, release=release, now=now)
    assert before.outputs[0].scores.n == 28 * 20
    assert [each.verdict for each in before.watches] == ["within", "within"]
    assert before.watches[0].days == 50 - 28
    with store.write() as tx:
        tx.execute(predictions.delete().where(predictions.c.at < now - timedelta(days=28)))
    again = look_at_rows(project, store, release=release, now=now)
    assert [each.to_dict() for each in again.watches] == [each.to_dict() for each in before.watches]

    answer_days(store, release, 50, 80, size=3.0)
    worse = look_at_rows(project, store, release=release, now=FIRST + timedelta(days=80))
    assert worse.watches[0].verdict == "above"
    show_rows(project, store, release=release, now=FIRST + timedelta(days=80), as_json=False)
    assert "above" in capsys.readouterr().out
    show_rows(project, store, release=release, now=FIRST + timedelta(days=80), as_json=True)
    assert json.loads(capsys.readouterr().out)["ranges"][0]["verdict"] == "above"


def test_without_truth_it_says_so(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    project, store, release = world
    show_rows(project, store, release=release, now=FIRST, as_json=False)
    assert "no outcome has met an answer yet" in capsys.readouterr().err
