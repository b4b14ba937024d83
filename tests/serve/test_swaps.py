"""Releases and weights change under load, and no request fails, none is lost, and each is answered by one of them."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.store.schema import predictions
from everloop.store.splits import change_split, end_split, split_in_force, start_split

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
SWAPS = 1_000 if os.environ.get("EVERLOOP_SOAK") else 50
CLIENTS = 4
PATHS = ["/v1/forecast/S0/item%2F1", "/v1/forecast/S1/item%2F2?horizon=3", "/v1/forecast/S0/item%2F0?levels=50"]


class Load:
    """Clients that ask without a pause until they are told to stop."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(CLIENTS)]
        self.releases: Counter[str] = Counter()
        self.failures: list[str] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _ask(self, number: int) -> None:
        with self._running.client() as client:
            while not self._stop.is_set():
                try:
                    response = client.get(PATHS[number % len(PATHS)], headers={"x-everloop-unit": f"user {number}"})
                    failure = "" if response.status_code == 200 else f"{response.status_code}: {response.text}"
                    release = response.headers.get("x-everloop-release", "")
                except Exception as error:
                    # whatever a client sees instead of an answer is what this test is about
                    failure, release = f"{type(error).__name__}: {error}", ""
                number += 1
                with self._lock:
                    if failure:
                        self.failures.append(failure)
                    else:
                        self.releases[release] += 1


def test_swaps_under_load_fail_no_request(
    world: Any, serving: Callable[..., AbstractContextManager[Any]], until: Callable[..., Any]
) -> None:
    # of three, the one that comes next is never loaded yet: only the champion and the one before it are
    releases = [world.champion(), *(world.add(SeasonalNaiveForecaster(season=season)) for season in (14, 21))]
    with serving(world) as running, running.client() as client, Load(running) as load:

        def is_answered_by(release: str) -> Callable[[], bool]:
            # a named release is in charge of nothing, so the plain request tells who is
            return lambda: client.get(PATHS[0]).headers["x-everloop-release"] == release

        for number in range(SWAPS):
            release = releases[(number + 1) % 3]
            world.deploy("champion", release)
            until(is_answered_by(release))
    assert load.failures == []
    assert set(load.releases) == set(releases)
    assert min(load.releases.values()) > SWAPS
    with world.store.read() as tx:
        stored = tx.execute(select(func.count()).select_from(predictions)).scalar()
    assert stored >= sum(load.releases.values())


def test_weights_that_change_under_load_fail_no_request(
    world: Any, serving: Callable[..., AbstractContextManager[Any]], until: Callable[..., Any]
) -> None:
    one, two = world.champion(), world.add(SeasonalNaiveForecaster(season=14))
    changes = SWAPS // 5
    with serving(world) as running, running.client() as client, Load(running) as load:
        for number in range(changes):
            with world.store.write() as tx:
                if number % 4 == 3:
                    end_split(tx, at=NOW, reason="enough", actor="test")
                elif split_in_force(tx) is None:
                    start_split(tx, {one: 0.0, two: 1.0}, unit="header", at=NOW, reason="all", actor="test")
                else:
                    share = (number % 4) / 4
                    change_split(tx, {one: share, two: 1 - share}, at=NOW, reason="less", actor="test")
                split = split_in_force(tx)
                label = None if split is None else split.label

            def is_in_force(label: str | None = label) -> bool:
                answer = client.get(PATHS[0], headers={"x-everloop-unit": "x"})
                with world.store.read() as tx:
                    row = tx.execute(
                        select(predictions.c.experiment).where(
                            predictions.c.id == answer.headers["x-everloop-prediction"]
                        )
                    ).one()
                return bool(row.experiment == label)

            until(is_in_force)
    assert load.failures == []
    assert set(load.releases) == {one, two}
