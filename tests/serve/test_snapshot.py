"""Snapshots: the numbers that the model gives, before it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.answers import compute_values
from everloop.serve.query import ForecastQuery, resolve
from everloop.serve.served import load_served, wanted_in
from everloop.serve.snapshot import take_snapshot


class Noting(SeasonalNaiveForecaster):
    """Has something to say of one series only, and only when asked for it alone or with others."""

    def forecast(self, request: Any) -> Any:
        from dataclasses import replace

        answer = super().forecast(request)
        asked = range(6) if request.series is None else list(request.series)
        return replace(answer, notes=("strange",)) if 3 in asked else answer


class Drifting(SeasonalNaiveForecaster):
    """Breaks the law that a batch gives what single series give."""

    def forecast(self, request: Any) -> Any:
        from dataclasses import replace

        answer = super().forecast(request)
        return replace(answer, mean=answer.mean + (len(answer.mean) > 1) * 1e-9)


@pytest.mark.parametrize("model", [SeasonalNaiveForecaster, Noting, Drifting])
def test_every_series_is_as_the_model_gives_it_alone(world, model: type) -> None:  # type: ignore[no-untyped-def]
    world.champion(model())
    served = load_served(world.project, world.store, wanted_in(world.store, "champion"))
    snapshot = take_snapshot(world.project, served)
    for key in served.keys:
        query = ForecastQuery((key,))
        alone, _ = compute_values(world.project, served, query)
        ahead, _ = compute_values(world.project, served, query, snapshot=snapshot)
        assert ahead.equals(alone)
        entry = snapshot.entry(key)
        assert entry is not None
        assert entry.response == alone.pack()


def test_only_the_base_scenario_of_one_series_is_answered(world) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    served = load_served(world.project, world.store, wanted_in(world.store, "champion"))
    snapshot = take_snapshot(world.project, served)
    one, two = served.keys[:2]

    def known(query: ForecastQuery) -> bool:
        return snapshot.values(resolve(query, served, horizon=14, levels=[80, 95])) is not None

    assert known(ForecastQuery((one,)))
    assert known(ForecastQuery((one,), 14, (80.0, 95.0)))
    assert not known(ForecastQuery((one,), 3))
    assert not known(ForecastQuery((one,), None, (80.0,)))
    assert not known(ForecastQuery((one,), future={"price": 2.0}))
    assert not known(ForecastQuery((one, two)))
    assert not known(ForecastQuery())
    assert snapshot.entry("nobody") is None


def test_the_hot_way_answers_as_the_application_does(world, serving: Callable[..., Any], until) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    with serving(world) as running, running.client() as client:
        target = "/v1/forecast/S0/item%2F1"

        def stages() -> str:
            return str(client.get("/metrics").text)

        slow = client.get(target + "?horizon=14").json()  # a query is never taken by the hot way
        until(lambda: client.get(target).status_code == 200 and 'seconds_count{stage="predict"} 0.0' not in stages())
        fast = client.get(target)
        body = fast.json()
        assert fast.headers["x-everloop-prediction"] == body["prediction_id"]
        assert {name: value for name, value in body.items() if name != "prediction_id"} == {
            name: value for name, value in slow.items() if name != "prediction_id"
        }
        stored = client.get(f"/v1/predictions/{body['prediction_id']}").json()
        assert stored["forecasts"] == body["forecasts"]
        assert client.get("/v1/forecast/nobody").status_code == 404
        assert client.head(target).status_code == 200
        numbers = np.array(body["forecasts"][0]["forecast"])
        assert np.isfinite(numbers).all()
        raw = httpx.get(running.url + target, headers={"x-everloop-release": "champion"})
        assert raw.json()["release"] == body["release"]
