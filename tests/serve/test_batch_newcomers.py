"""New series beside a batch: the numbers of a single question, stored apart, from the release that made the batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import func, select

from everloop.core.clock import ManualClock
from everloop.core.errors import DataError, RequestError
from everloop.core.project import load_project
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.answers import compute_values
from everloop.serve.batch import newcomers
from everloop.serve.batch.making import Batch, make_batch
from everloop.serve.batch.newcomers import GrownRows, make_with_new
from everloop.serve.query import ForecastQuery
from everloop.serve.repeating import are_equal, repeat, stored_values
from everloop.serve.served import load_served, wanted_in
from everloop.store.facts import find_prediction
from everloop.store.schema import predictions

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
NEW = {"store_id": "S1", "item_id": "x", "static": {"dept": "small"}, "future": {"price": 1.5}}
PLAN = pl.DataFrame({"store_id": ["S1"], "item_id": ["x"], "dept": ["small"], "price": [1.5]})

Worlds = Callable[..., AbstractContextManager[Any]]


def grow(world: Any, model: Any = None) -> None:
    """Put a model in charge of a shop with departments."""
    code = (np.arange(world.panel.n_series) % 3 == 0).astype(np.float32)
    y = world.panel.y * np.where(np.repeat(code, world.panel.lengths) == 1, 10.0, 1.0).astype(np.float32)
    categories = {**world.panel.categories, "dept": ("small", "large")}
    world.panel = replace(world.panel, y=y, static={"dept": code}, categories=categories)
    world.champion(model or LightGBMForecaster(trees=20), name="lightgbm")


def make(world: Any, plan: pl.DataFrame = PLAN, **query: Any) -> tuple[Batch, Batch]:
    clock = ManualClock(NOW)
    return make_with_new(world.project, world.store, clock, ForecastQuery(**query), plan, path="plan.csv")


def kept(world: Any) -> int:
    with world.store.read() as tx:
        return int(tx.execute(select(func.count()).select_from(predictions)).scalar_one())


def test_the_numbers_are_those_of_one_question(world: Any) -> None:
    grow(world)
    batch, new = make(world, horizon=9, levels=(80.0,))
    champion = load_served(world.project, world.store, wanted_in(world.store, "champion"))
    one, _ = compute_values(world.project, champion, ForecastQuery((*champion.keys, NEW), 9, (80.0,)))
    assert (*batch.values.series, *new.values.series) == one.series
    np.testing.assert_array_equal(np.concatenate([batch.values.mean, new.values.mean]), one.mean)
    np.testing.assert_array_equal(np.concatenate([batch.values.upper[80.0], new.values.upper[80.0]]), one.upper[80.0])
    alone = make_batch(world.project, world.store, ManualClock(NOW), ForecastQuery(horizon=9, levels=(80.0,)))
    assert (alone.prediction_id, alone.is_stored) == (batch.prediction_id, True)
    assert are_equal(alone.values, batch.values)
    assert new.values.notes[0] == "1 series is new: forecast from what it has in common with others"


def test_what_is_planned_decides(world: Any) -> None:
    grow(world, LightGBMForecaster(trees=60))
    days = [f"2026-03-{day:02d}" for day in range(1, 15)]
    cheap_at_last = [3.0] * 7 + [2.0] * 7
    plan = pl.DataFrame(
        {"store_id": "S1", "item_id": name, "dept": dept, "date": day, "price": price}
        for name, dept in (("a", "small"), ("b", "large"))
        for day, price in zip(days, cheap_at_last, strict=True)
    )
    mean = make(world, plan)[1].values.mean
    assert mean[1].sum() > 3 * mean[0].sum()
    assert (mean[:, 7:].sum(axis=1) > 1.2 * mean[:, :7].sum(axis=1)).all(), "it is the same weekdays, at a lower price"


def test_each_is_stored_once_and_can_be_repeated(world: Any) -> None:
    grow(world)
    first, again = make(world), make(world)
    assert [each.is_stored for each in (*first, *again)] == [False, False, True, True]
    assert [each.prediction_id for each in first] == [each.prediction_id for each in again]
    assert are_equal(first[1].values, again[1].values)
    assert kept(world) == 2
    for each, kind in zip(first, ("batch", "batch_new"), strict=True):
        with world.store.read() as tx:
            prediction = find_prediction(tx, each.prediction_id)
        assert prediction.kind == kind
        assert are_equal(repeat(world.project, world.store, prediction), stored_values(prediction))


def test_an_engine_and_a_server_with_narrow_bounds_make_no_difference(make_world: Worlds, tmp_path: Path) -> None:
    made = []
    plan = pl.concat([PLAN, PLAN.with_columns(item_id=pl.lit("y"))])
    for name, more in (("here", ""), ("there", "max_series = 1\n[engine]\nworkers = 2\n")):
        (tmp_path / name).mkdir()
        with make_world(tmp_path / name, more) as world:
            grow(world, SeasonalNaiveForecaster())
            made.append(make(world, plan))
    for one, other in zip(*made, strict=True):
        assert one.prediction_id == other.prediction_id
        assert are_equal(one.values, other.values)


def test_both_are_of_one_release(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(world)

    def overtaken(*args: Any, **named: Any) -> Batch:
        world.champion(SeasonalNaiveForecaster())
        return make_batch(*args, **named)

    monkeypatch.setattr(newcomers, "make_batch", overtaken)
    batch, new = make(world)
    assert batch.release == new.release == wanted_in(world.store, "champion").release
    assert kept(world) == 2


def test_what_the_model_cannot_answer_is_not_stored(world: Any) -> None:
    grow(world)
    strict = load_project(world.project.root, overrides=("data.missing_ahead=error",), environ={})
    with pytest.raises(RequestError, match="price"):
        make(replace(world, project=strict), PLAN.drop("price"))
    with pytest.raises(RequestError, match="horizon"):
        make(world, horizon=15)
    with pytest.raises(DataError):
        make(world, PLAN.with_columns(item_id=pl.lit("item/1")))
    assert kept(world) == 0


def test_rows_are_one_table(world: Any) -> None:
    grow(world)
    batch, new = make(world, levels=(80.0, 95.0))
    lower, upper = ({80.0: ends[80.0]} for ends in (new.values.lower, new.values.upper))
    new = replace(new, values=replace(new.values, lower=lower, upper=upper))
    rows = GrownRows.joined(world.project, batch, new)
    whole = rows.plain()
    assert rows.height == whole.height == 7 * 14
    assert pl.concat(rows.blocks()).equals(whole)
    assert rows.plain(slice(5, 7)).equals(whole.slice(5 * 14))
    assert rows.plain(slice(0, 2)).equals(whole.slice(0, 2 * 14))
    assert whole["hi-95"].tail(14).is_null().all()
    told = pl.concat(rows.keyed_blocks())["prediction"]
    assert dict(told.value_counts().rows()) == rows.held == {batch.prediction_id: 84, new.prediction_id: 14}
