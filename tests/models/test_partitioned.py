"""A model for each group of series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everloop.core.errors import ModelError
from everloop.data.panel import Panel
from everloop.models.asking import ask
from everloop.models.catalog import make_forecaster
from everloop.models.examples import example_panels
from everloop.models.explaining import gain_shares, shuffled
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.panel_groups import group_texts, of_series
from everloop.models.partitioned import PartitionedForecaster

HORIZON = 6
CONTEXT = FitContext(HORIZON)
REQUEST = ForecastRequest(HORIZON, (80.0,))
OPTIONS: dict[str, dict[str, Any]] = {"lightgbm": {"trees": 10}}
BY_GROUP: dict[str, Any] = {"by": "group", "models": {"toys": "seasonal_naive"}, "options": OPTIONS}


def shop() -> Panel:
    """Five items: 0, 1 and 4 are food, 2 and 3 toys."""
    return example_panels()["daily shop"]


def only(panel: Panel, *numbers: int) -> Panel:
    return of_series(panel, np.array(numbers))


def grouped(panel: Panel, *codes: float) -> Panel:
    """The panel with other groups, of which one more is known."""
    texts = (*panel.categories["group"], "garden")
    return replace(panel, static={"group": np.array(codes, np.float32)}, categories=panel.categories | {"group": texts})


def test_each_series_is_answered_by_the_model_of_its_group_alone() -> None:
    panel = shop()
    answer = ask(PartitionedForecaster(**BY_GROUP).fit(panel, CONTEXT), REQUEST)
    for name, rows in (("lightgbm", (0, 1, 4)), ("seasonal_naive", (2, 3))):
        alone = ask(make_forecaster(name, OPTIONS.get(name)).fit(only(panel, *rows), CONTEXT), REQUEST)
        np.testing.assert_array_equal(answer.mean[list(rows)], alone.mean)
        np.testing.assert_array_equal(answer.upper[80.0][list(rows)], alone.upper[80.0])
    assert answer.notes == ()


def test_a_what_if_goes_to_the_model_of_the_series_asked() -> None:
    panel = shop()
    model = PartitionedForecaster("group", options=OPTIONS).fit(panel, CONTEXT)
    price = np.full((2, HORIZON), np.nan, dtype=np.float32)
    price[1] = 0.5
    asked = ask(model, replace(REQUEST, series=np.array([4, 3]), future={"price": price}))
    toys = make_forecaster("lightgbm", OPTIONS["lightgbm"]).fit(only(panel, 2, 3), CONTEXT)
    alone = ask(toys, replace(REQUEST, series=np.array([1]), future={"price": price[1:]}))
    np.testing.assert_array_equal(asked.mean[1], alone.mean[0])
    np.testing.assert_array_equal(asked.mean[0], ask(model, REQUEST).mean[4])


def test_small_groups_share_a_model_that_also_answers_for_groups_nobody_knew() -> None:
    panel = grouped(shop(), 0, 0, 0, 1, 2)
    model = PartitionedForecaster("group", "seasonal_naive", least_series=2).fit(panel, CONTEXT)
    assert [part.values for part in model.parts_] == [("food",), ("garden", "toys")]
    learned = model.learned()
    assert learned["garden, toys"] == {"groups": ["garden", "toys"], "forecaster": "seasonal_naive", "series": 2}
    stranger = grouped(shop(), 0, 0, 0, 1, np.nan)
    answer = ask(model.update(stranger), REQUEST)
    assert "that of garden, toys answers" in answer.notes[0]
    shared = make_forecaster("seasonal_naive").fit(only(panel, 3, 4), CONTEXT).update(only(stranger, 3, 4))
    np.testing.assert_array_equal(answer.mean[[3, 4]], ask(shared, REQUEST).mean)
    of_known = ask(model.update(stranger), replace(REQUEST, series=np.array([0])))
    assert of_known.notes == ()


def test_without_small_groups_the_largest_stands_in_for_a_new_one() -> None:
    model = PartitionedForecaster("group", "seasonal_naive").fit(shop(), CONTEXT)
    answer = ask(model.update(grouped(shop(), 0, 0, 1, 1, 2)), REQUEST)
    assert "that of food answers" in answer.notes[0]


def test_a_group_without_any_value_joins_the_largest() -> None:
    panel = shop()
    y = panel.y.copy()
    y[panel.offsets[4] : panel.offsets[5]] = np.nan
    panel = replace(grouped(panel, 0, 0, 1, 1, 2), y=y)
    model = PartitionedForecaster("group", options=OPTIONS).fit(panel, CONTEXT)
    assert [part.values for part in model.parts_] == [("food", "garden"), ("toys",)]
    assert np.isfinite(ask(model, REQUEST).mean).all()


def test_groups_that_are_gone_keep_their_models() -> None:
    panel = shop()
    model = PartitionedForecaster(**BY_GROUP).fit(panel, CONTEXT)
    food = only(panel, 0, 1, 4)
    kept = model.update(food)
    np.testing.assert_array_equal(ask(kept, REQUEST).mean, ask(model, REQUEST).mean[[0, 1, 4]])
    np.testing.assert_array_equal(ask(kept.update(panel), REQUEST).mean, ask(model, REQUEST).mean)


def test_groups_are_told_by_numbers_and_by_series_columns_too() -> None:
    panel = replace(shop(), static={"size": np.array([1, 0.1, 1, np.nan, 1234567], np.float32)})
    assert group_texts(panel, "size").tolist() == ["1", "0.1", "1", "", "1234567"]
    assert group_texts(panel, "item").tolist() == [f"item {number}" for number in range(5)]


def test_data_without_the_column_are_an_error() -> None:
    model = PartitionedForecaster("group", "seasonal_naive").fit(shop(), CONTEXT)
    with pytest.raises(ModelError, match="'group' is no static or series column") as caught:
        model.update(replace(shop(), static={}))
    assert caught.value.code == "group_column"


def test_it_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    model = PartitionedForecaster(**BY_GROUP).fit(shop(), CONTEXT)
    model.save(tmp_path)
    again = PartitionedForecaster.load(tmp_path)
    assert again.parameters() == model.parameters()
    assert again.learned() == model.learned()
    assert ask(again, REQUEST).mean.tobytes() == ask(model, REQUEST).mean.tobytes()
    (tmp_path / "part-1" / "booster.txt").unlink()
    with pytest.raises(ModelError):
        PartitionedForecaster.load(tmp_path)


def test_its_trees_can_be_explained() -> None:
    model = PartitionedForecaster(**BY_GROUP).fit(shop(), CONTEXT)
    shares = gain_shares(model)
    answer = ask(shuffled(model, list(shares), seed=1), REQUEST)
    plain = ask(model, REQUEST)
    assert (answer.mean[[0, 1, 4]] != plain.mean[[0, 1, 4]]).any()
    np.testing.assert_array_equal(answer.mean[[2, 3]], plain.mean[[2, 3]])
    without = PartitionedForecaster(**BY_GROUP, without=["price"]).fit(shop(), CONTEXT)
    assert gain_shares(without).get("known_price", 0.0) == 0.0
    assert any("price" in name for name in shares)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"by": "grup"}, "'grup' is no static or series column"),
        ({}, "no column is named"),
        ({"by": "price"}, "'price' is no static"),
        ({"by": "group", "model": "partitioned"}, "no model of a group"),
        ({"by": "group", "model": "mine:Own"}, "'mine:Own' is not built in"),
        ({"by": "group", "options": {"ets": {}}}, "ets, which models no group"),
        ({"by": "group", "models": {"fod": "ets"}}, "there is no group 'fod'"),
    ],
)
def test_what_makes_no_partition_is_an_error(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as caught:
        PartitionedForecaster(**options).fit(shop(), CONTEXT)
    assert caught.value.code == "partitioned_options"
