"""A release that holds a model for each store: served, batched, repeated and advanced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everloop.core.clock import ManualClock
from everloop.data.panel import Panel
from everloop.models.asking import ask
from everloop.models.catalog import make_forecaster
from everloop.models.forecaster import FitContext, ForecastRequest
from everloop.models.panel_groups import of_series
from everloop.models.partitioned import PartitionedForecaster
from everloop.serve.answers import compute_values
from everloop.serve.batch.making import make_batch
from everloop.serve.query import ForecastQuery
from everloop.serve.repeating import are_equal, repeat, stored_values
from everloop.serve.served import load_served, wanted_in
from everloop.serve.snapshot import take_snapshot
from everloop.store.facts import find_prediction

FORECASTERS = {"S0": "lightgbm", "S1": "seasonal_naive"}
OPTIONS: dict[str, dict[str, Any]] = {"lightgbm": {"trees": 20}}
NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
CONTEXT = FitContext(14, (80.0, 95.0))
REQUEST = ForecastRequest(14, (80.0, 95.0))
PRICE = {"price": 1.0}


def by_store() -> PartitionedForecaster:
    return PartitionedForecaster("store_id", models=FORECASTERS, options=OPTIONS)


def store_of(panel: Panel, store: str) -> tuple[NDArray[np.int64], Panel]:
    """The numbers of a store's series, and a panel of these alone."""
    rows = np.array([number for number, key in enumerate(panel.keys) if key[0] == store])
    return rows, of_series(panel, rows)


def alone(panel: Panel, store: str, request: ForecastRequest = REQUEST) -> NDArray[np.float64]:
    """What the forecaster of a store gives that was fitted to nothing else."""
    name = FORECASTERS[store]
    model = make_forecaster(name, OPTIONS.get(name)).fit(store_of(panel, store)[1], CONTEXT)
    return ask(model, request).mean


def test_the_server_asks_the_model_of_each_series_group(world, serving: Callable[..., Any]) -> None:  # type: ignore[no-untyped-def]
    world.champion(by_store(), name="partitioned")
    future = {"price": np.full((3, 14), 1.0, np.float32)}
    with serving(world) as running, running.client() as client:
        ids = []
        for store in FORECASTERS:
            expected = alone(world.panel, store)
            cheap = alone(world.panel, store, replace(REQUEST, future=future))
            for item in range(3):
                body = client.get(f"/v1/forecast/{store}/item%2F{item}").json()
                assert body["forecasts"][0]["forecast"] == expected[item].tolist()
                series = {"store_id": store, "item_id": f"item/{item}"}
                what_if = client.post("/v1/forecast", json={"series": [series], "future": PRICE}).json()
                assert what_if["forecasts"][0]["forecast"] == cheap[item].tolist()
                ids += [body["prediction_id"], what_if["prediction_id"]]
        both = client.post("/v1/forecast", json={"series": ["S1/item%2F2", "S0/item%2F0"]}).json()
        assert both["forecasts"][0]["forecast"] == alone(world.panel, "S1")[2].tolist()
        assert both["forecasts"][1]["forecast"] == alone(world.panel, "S0")[0].tolist()
        ids.append(both["prediction_id"])
    for identifier in ids:
        with world.store.read() as tx:
            prediction = find_prediction(tx, identifier)
        assert are_equal(repeat(world.project, world.store, prediction), stored_values(prediction))


def test_snapshot_and_batch_hold_what_each_model_gives_alone(world) -> None:  # type: ignore[no-untyped-def]
    world.champion(by_store(), name="partitioned")
    served = load_served(world.project, world.store, wanted_in(world.store, "champion"))
    snapshot = take_snapshot(world.project, served)
    batch = make_batch(world.project, world.store, ManualClock(NOW), ForecastQuery())
    for store in FORECASTERS:
        rows, _ = store_of(world.panel, store)
        expected = alone(world.panel, store)
        np.testing.assert_array_equal(snapshot.mean[rows], expected)
        np.testing.assert_array_equal(batch.values.mean[rows], expected)


def test_a_store_that_opened_since_is_answered_with_a_note(world) -> None:  # type: ignore[no-untyped-def]
    model = by_store()
    old = world.panel
    world.panel = of_series(old, np.arange(4))
    digest = world.champion(model, name="partitioned")
    keys = (*old.keys[:4], ("S2", "item/0"), ("S2", "item/1"))
    world.panel = replace(old, keys=keys)
    world.advance(digest, model)
    served = load_served(world.project, world.store, wanted_in(world.store, "champion"))
    values, _ = compute_values(world.project, served, ForecastQuery(("S2/item%2F1",)))
    assert np.isfinite(values.mean).all()
    assert values.notes == ("some series belong to a group of 'store_id' without a model; that of S0 answers",)
    known, _ = compute_values(world.project, served, ForecastQuery(("S0/item%2F1",)))
    assert known.notes == ()
