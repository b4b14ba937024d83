"""Series that a release has never seen: described, answered, marked, stored and repeated."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from everloop.core.errors import RequestError
from everloop.data.panel import Future, Panel
from everloop.models.asking import ask
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import Forecaster, ForecastRequest
from everloop.serve.answers import compute_values
from everloop.serve.query import ForecastQuery
from everloop.serve.repeating import are_equal, repeat, stored_values
from everloop.serve.served import Served, load_served, wanted_in
from everloop.serve.snapshot import take_snapshot
from everloop.store.facts import find_prediction

KNOWN = "S0/item%2F1"
NEW = {"store_id": "S1", "item_id": "x", "static": {"dept": "small"}}
PRICE = {"price": 1.5}


def with_departments(panel: Panel) -> Panel:
    """Every third item is of a department that sells ten times as much; events are the stores' own."""
    n = panel.n_series
    code = (np.arange(n) % 3 == 0).astype(np.float32)
    y = panel.y * np.where(np.repeat(code, panel.lengths) == 1, 10.0, 1.0).astype(np.float32)
    events = panel.future.columns["event"].copy()
    for store in ("S0", "S1"):
        rows = [number for number, key in enumerate(panel.keys) if key[0] == store]
        events[rows] = events[rows[0]]
    return replace(
        panel,
        y=y,
        static={"dept": code},
        categories={**panel.categories, "dept": ("small", "large")},
        future=Future(panel.future.steps, {**panel.future.columns, "event": events}),
    )


def models() -> dict[str, Forecaster]:
    trees = {"trees": 60}
    return {
        "lightgbm": make_forecaster("lightgbm", trees),
        "statistical": make_forecaster("statistical"),
        "ensemble": make_forecaster("ensemble", {"options": {"lightgbm": trees}}),
        "partitioned": make_forecaster("partitioned", {"by": "dept", "options": {"lightgbm": trees}}),
        "seasonal_naive": make_forecaster("seasonal_naive"),
    }


@pytest.fixture
def served(world: Any) -> Callable[[str], Served]:
    """The champion of a kind, loaded."""

    def load(name: str) -> Served:
        world.panel = with_departments(world.panel)
        world.champion(models()[name], name=name)
        return load_served(world.project, world.store, wanted_in(world.store, "champion"))

    return load


@pytest.mark.parametrize("name", list(models()))
def test_every_model_answers_and_the_known_keep_their_bits(world: Any, served: Any, name: str) -> None:
    champion = served(name)
    query = ForecastQuery((KNOWN, NEW, "S1/item%2F0"), future=PRICE)
    values, record = compute_values(world.project, champion, query)
    assert values.series == (KNOWN, "S1/x", "S1/item%2F0")
    assert np.isfinite(values.mean).all()
    alone, _ = compute_values(world.project, champion, ForecastQuery((KNOWN, "S1/item%2F0"), future=PRICE))
    np.testing.assert_array_equal(values.mean[[0, 2]], alone.mean)
    for level in values.lower:
        np.testing.assert_array_equal(values.upper[level][[0, 2]], alone.upper[level])
    assert values.notes[0] == "1 series is new: forecast from what it has in common with others"
    again, _ = compute_values(world.project, champion, ForecastQuery.from_record(json.loads(json.dumps(record))))
    assert are_equal(values, again)


@pytest.mark.parametrize("name", ["lightgbm", "statistical", "partitioned"])
def test_what_it_shares_decides(world: Any, served: Any, name: str) -> None:
    champion = served(name)
    other = {**NEW, "item_id": "y", "static": {"dept": "large"}}
    values, _ = compute_values(world.project, champion, ForecastQuery((other, NEW), future=PRICE))
    assert values.series == ("S1/y", "S1/x")
    assert values.mean[0].mean() > 3 * values.mean[1].mean()


def test_it_is_as_if_the_panel_held_it(world: Any, served: Any) -> None:
    """The trees give what they give for a series that begins with the next period, its store's events included."""
    champion = served("lightgbm")
    panel = champion.panel
    place = next(number for number, key in enumerate(panel.keys) if key[0] == "S1")
    event = panel.future.columns["event"][place : place + 1]
    price = np.full_like(event, 1.5)
    grown = replace(
        panel,
        keys=(("S1", "x"),),
        offsets=np.array([0, 1]),
        y=np.array([np.nan], dtype=np.float32),
        known={"price": price[0, :1], "event": event[0, :1]},
        static={"dept": np.zeros(1, dtype=np.float32)},
        future=Future(panel.future.steps, {"price": price, "event": event}),
        marks=None,
    )
    expected = ask(champion.model.update(grown), ForecastRequest(14)).mean
    values, _ = compute_values(world.project, champion, ForecastQuery((NEW,), future=PRICE))
    np.testing.assert_array_equal(values.mean, expected)


def test_a_server_stores_it_and_it_can_be_repeated(world: Any, serving: Callable[..., Any]) -> None:
    world.panel = with_departments(world.panel)
    world.champion(models()["lightgbm"], name="lightgbm")
    with serving(world) as running, running.client() as client:
        new = {"series": "S1/x", "static": {"dept": "small"}, "future": {"price": [1.5] * 14}}
        body = client.post("/v1/forecast", json={"series": [KNOWN, new]}).json()
        assert [each["series"] for each in body["forecasts"]] == [KNOWN, "S1/x"]
        assert any("new" in note for note in body["notes"])
        refused = client.post("/v1/forecast", json={"series": ["S1/x"]})
        assert 400 <= refused.status_code < 500
        assert "'static'" in refused.json()["error"]["hint"]
    with world.store.read() as tx:
        prediction = find_prediction(tx, body["prediction_id"])
    assert are_equal(repeat(world.project, world.store, prediction), stored_values(prediction))


def test_a_snapshot_does_not_answer_for_it(world: Any, served: Any) -> None:
    champion = served("lightgbm")
    snapshot = take_snapshot(world.project, champion)
    values, _ = compute_values(world.project, champion, ForecastQuery((NEW,)), snapshot=snapshot)
    assert values.series == ("S1/x",)


@pytest.mark.parametrize(
    ("series", "code", "path"),
    [
        ({**NEW, "static": {}}, "static_column", "series[0].static.dept"),
        ({**NEW, "static": {"dept": "small", "color": 1}}, "static_column", "series[0].static.color"),
        ({**NEW, "static": {"dept": "smal"}}, "static_value", "series[0].static.dept"),
        ({**NEW, "static": "small"}, "static_shape", "series[0].static"),
        ({**NEW, "item_id": "item/1"}, "series_known", "series[0].static"),
        ({"series": "S1", "static": {"dept": None}}, "series_column", "series[0].series"),
    ],
)
def test_what_does_not_fit_is_told(world: Any, served: Any, series: Any, code: str, path: str) -> None:
    champion = served("seasonal_naive")
    with pytest.raises(RequestError) as raised:
        compute_values(world.project, champion, ForecastQuery((series,)))
    assert (raised.value.code, raised.value.path) == (code, path)


def test_twice_the_same_is_told_and_null_is_allowed(world: Any, served: Any) -> None:
    champion = served("lightgbm")
    unknown = {**NEW, "static": {"dept": None}}
    values, _ = compute_values(world.project, champion, ForecastQuery((unknown,), future=PRICE))
    assert np.isfinite(values.mean).all()
    with pytest.raises(RequestError, match="described twice"):
        compute_values(world.project, champion, ForecastQuery((unknown, unknown)))


def test_a_model_that_takes_up_no_new_series_says_so(world: Any, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    champion = served("seasonal_naive")

    def refuse(panel: Panel) -> Forecaster:
        raise KeyError("x")

    monkeypatch.setattr(champion.model, "update", refuse)
    with pytest.raises(RequestError, match="takes up no new series: KeyError"):
        compute_values(world.project, champion, ForecastQuery((NEW,)))
