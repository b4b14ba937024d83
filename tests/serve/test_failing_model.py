"""A champion that raises, gives no numbers or hangs, behind the real server: the caller gets a marked answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import httpx
import numpy as np
import pytest

from workers import children

FAULTY = '''
"""Does as it is told by the horizon: warming up asks 14 steps."""

import time

from everloop.models.seasonal_naive import SeasonalNaiveForecaster


class Moody(SeasonalNaiveForecaster):
    def forecast(self, request):
        if request.horizon == 1:
            raise ZeroDivisionError("not one step")
        found = super().forecast(request)
        if request.horizon == 2:
            found.mean[:] = float("nan")
        if request.horizon == 3:
            time.sleep(2)
        if request.horizon == 4:
            time.sleep(3600)
        return found
'''


@pytest.fixture
def moody(world: Any) -> Iterator[str]:
    """The digest of a champion with moods."""
    (world.project.root / "moody.py").write_text(FAULTY)
    sys.path.insert(0, str(world.project.root))
    import moody as module  # type: ignore[import-not-found]

    yield world.champion(module.Moody())
    sys.path.remove(str(world.project.root))
    sys.modules.pop("moody", None)


def ask(client: httpx.Client, horizon: int) -> httpx.Response:
    return client.get("/v1/forecast/S0/item%2F1", params={"horizon": horizon})


def test_a_worker_whose_calls_hang_for_ever_is_replaced(
    world: Any, moody: str, serving: Callable[..., AbstractContextManager[Any]], until: Callable[..., object]
) -> None:
    flags = ("--workers", "2", "--set", "serve.model_timeout_seconds=0.2", "--set", "serve.breaker_seconds=0.05",
             "--set", "serve.snapshot_series=0")  # fmt: skip
    with serving(world, *flags) as running:
        first = set(children(running.process.pid))
        assert len(first) == 2

        def hang(_: int) -> int:
            with running.client() as client:  # a connection of its own, so that any worker may take it
                try:
                    return ask(client, 4).status_code
                except httpx.TransportError:
                    return 0  # the kernel had given the connection to a worker that was ending

        seen: set[int] = set()

        def all_are_new() -> bool:
            with ThreadPoolExecutor(4) as pool:
                seen.update(pool.map(hang, range(4)))
            now = set(children(running.process.pid))
            return len(now) == 2 and not now & first

        until(all_are_new, seconds=60)
        assert seen <= {0, 200, 503}
        assert 200 in seen  # the baseline's answer; 503 is one that the drained worker could not give any more

        def is_well() -> bool:
            with running.client() as client:
                try:
                    return "x-everloop-fallback" not in ask(client, 5).headers
                except httpx.TransportError:
                    return False

        # the new ones hung too, a little; their breakers close when they are asked what the model can answer
        until(is_well)
        assert "ended with 0; starting another" in running.log.read_text()


def test_the_baseline_answers_for_a_champion_that_fails(
    world: Any, moody: str, serving: Callable[..., AbstractContextManager[Any]]
) -> None:
    flags = ("--set", "serve.model_timeout_seconds=0.2", "--set", "serve.breaker_failures=4", "--set",
             "serve.snapshot_series=0")  # fmt: skip
    history = world.panel.last(7)[world.panel.keys.index(("S0", "item/1"))]
    with serving(world, *flags) as running, running.client() as client:
        good = ask(client, 5)
        assert good.status_code == 200
        assert "x-everloop-fallback" not in good.headers
        for horizon, reason in [(1, "model_error"), (2, "not_finite"), (3, "model_timeout")]:
            answer = ask(client, horizon)
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-everloop-fallback"] == reason
            assert answer.headers["x-everloop-release"] == moody
            assert any(reason in note for note in answer.json()["notes"])
            np.testing.assert_array_equal(answer.json()["forecasts"][0]["forecast"], history[:horizon])
            stored = client.get(f"/v1/predictions/{answer.json()['prediction_id']}").json()
            assert stored["role"] == "baseline"
        assert ask(client, 999).status_code == 422  # the caller's fault
        for _ in range(4):
            ask(client, 1)
        assert ask(client, 5).headers["x-everloop-fallback"] == "breaker_open"
        metrics = client.get("/metrics").text
    assert 'everloop_fallbacks_total{reason="model_timeout"} 1.0' in metrics
    assert 'everloop_breaker_open{role="champion"} 1.0' in metrics
