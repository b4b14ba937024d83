from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from everloop.core.errors import UnavailableError
from everloop.serve.log import PredictionLog
from everloop.store.engine import Store
from everloop.store.facts import Prediction

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Commits:
    def __init__(self) -> None:
        self.rows: list[int] = []
        self.failed = 0

    def committed(self, rows: int, seconds: float) -> None:
        self.rows.append(rows)

    def commit_failed(self, rows: int) -> None:
        self.failed += rows


def prediction(number: int) -> Prediction:
    return Prediction(f"p{number}", NOW, "r", "", "champion", "forecast", None, NOW, NOW, b"{}", b"\x00")


def count(store: Store) -> int:
    with store.read() as tx:
        return int(tx.exec_driver_sql("SELECT count(*) FROM predictions").scalar() or 0)


def test_waiting_predictions_share_a_commit(world) -> None:  # type: ignore[no-untyped-def]
    commits = Commits()
    log = PredictionLog(world.store, most=1000, watcher=commits)

    async def run() -> None:
        tasks = [asyncio.create_task(log.store(prediction(number))) for number in range(200)]
        await asyncio.sleep(0)
        log.start()  # all 200 wait by now
        await asyncio.gather(*tasks)
        assert count(world.store) == 200

    asyncio.run(run())
    log.close()
    assert commits.rows == [200]


def test_nobody_is_let_go_before_the_commit(world) -> None:  # type: ignore[no-untyped-def]
    log = PredictionLog(world.store, most=1000, watcher=Commits())
    log.start()

    async def one(number: int) -> None:
        await log.store(prediction(number))
        with world.store.read() as tx:
            assert tx.exec_driver_sql(f"SELECT 1 FROM predictions WHERE id = 'p{number}'").scalar() == 1

    async def run() -> None:
        await asyncio.gather(*(one(number) for number in range(50)))

    asyncio.run(run())
    log.close()


def test_a_store_failure_reaches_every_waiter_and_the_next_commit_works(world) -> None:  # type: ignore[no-untyped-def]
    commits = Commits()
    log = PredictionLog(world.store, most=1000, watcher=commits)
    log.start()

    async def run() -> None:
        with world.store.write() as tx:
            tx.exec_driver_sql("ALTER TABLE predictions RENAME TO away")
        results = await asyncio.gather(*(log.store(prediction(each)) for each in range(5)), return_exceptions=True)
        assert [type(each) for each in results] == [UnavailableError] * 5
        with world.store.write() as tx:
            tx.exec_driver_sql("ALTER TABLE away RENAME TO predictions")
        await log.store(prediction(9))

    asyncio.run(run())
    log.close()
    assert commits.failed == 5
    assert count(world.store) == 1


def test_a_surprise_does_not_end_the_thread(world, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    log = PredictionLog(world.store, most=1000, watcher=Commits())
    log.start()

    def fail() -> None:
        raise RuntimeError("a driver's own error")

    async def run() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(world.store, "write", fail)
            with pytest.raises(UnavailableError) as caught:
                await log.store(prediction(1))
        assert caught.value.code == "store_unavailable"
        await log.store(prediction(2))

    asyncio.run(run())
    log.close()
    assert count(world.store) == 1


def test_a_full_queue_refuses(world) -> None:  # type: ignore[no-untyped-def]
    log = PredictionLog(world.store, most=2, watcher=Commits())
    log.put(prediction(1))
    log.put(prediction(2))
    with pytest.raises(UnavailableError) as caught:
        log.put(prediction(3))
    assert caught.value.code == "overloaded"
    log.start()
    log.close()
    assert count(world.store) == 2


def test_closing_stores_what_waits(world) -> None:  # type: ignore[no-untyped-def]
    log = PredictionLog(world.store, most=10_000, watcher=Commits())
    log.start()
    threads = [
        threading.Thread(target=lambda base=base: [log.put(prediction(base + each)) for each in range(100)])
        for base in range(0, 1000, 100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert count(world.store) == 1000
    with pytest.raises(UnavailableError):
        log.put(prediction(5000))
