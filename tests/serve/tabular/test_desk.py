"""The desk: batches give what single rows give, and one bad request costs nobody else an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from everloop.core.clock import SystemClock
from everloop.core.errors import EverloopError, UnavailableError
from everloop.models.tabular.predictor import Rows
from everloop.serve.breaker import Breaker
from everloop.serve.fallback import Attempt, Guard, Health
from everloop.serve.metrics import Metrics
from everloop.serve.serving import Choice
from everloop.serve.tabular.desk import Desk, Job
from everloop.serve.tabular.served import Pace, ServedRows
from everloop.serve.threads import AbandoningPool
from everloop.serve.v2.signature import compile_signature
from everloop.store.facts import Prediction
from everloop.store.row_values import unpack_rows
from serve.tabular.toys import SIGNATURE, Doubler


class Kept:
    """A log in memory."""

    def __init__(self, error: EverloopError | None = None) -> None:
        self.rows: list[Prediction] = []
        self.error = error

    def put(self, prediction: Prediction, done: Callable[[EverloopError | None], None] | None = None) -> None:
        self.rows.append(prediction)
        if done is not None:
            asyncio.get_running_loop().call_soon(done, self.error)


class Stage:
    """A desk before a model."""

    def __init__(self, model: Doubler, *, batch: int, seconds: float = 1e-4, log: Kept | None = None) -> None:
        release: Any = SimpleNamespace(digest="d" * 64, manifest=SimpleNamespace(flavor="lightgbm"))
        pace = Pace(seconds, batch, seconds / batch, "")
        self.model = model
        self.served = ServedRows(release, model, SIGNATURE, compile_signature(SIGNATURE), pace)
        self.health = Health.of(self.served, "champion", Breaker(failures=1000, seconds=1.0))
        self.log = log or Kept()
        metrics = Metrics()
        self.pool = AbandoningPool(2)
        guard = Guard(seconds=5.0, pool=self.pool, watcher=metrics)
        self.desk = Desk(guard, self.log, metrics, SystemClock(), max_batch=256)

    def job(self, *first: float) -> tuple[Job, asyncio.Future[Job]]:
        waiter: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        chain = (Attempt("chosen", self.health, self.served),)
        rows = Rows(len(first), np.array([[value, 0.0] for value in first]))
        choice = Choice(self.served, chain)
        return Job(choice, rows, kind="infer", request=b"{}", parameters={}, finish=waiter.set_result), waiter

    async def ask(self, *requests: tuple[float, ...]) -> list[Job]:
        waiters = []
        for first in requests:
            job, waiter = self.job(*first)
            self.desk.submit(job)
            waiters.append(waiter)
        jobs = await asyncio.gather(*waiters)
        self.pool.close()
        return jobs


def answers(jobs: list[Job]) -> list[list[float] | str]:
    return [job.answered.value["prediction"].tolist() if job.answered else job.reason.code for job in jobs]


@pytest.mark.parametrize("seconds", [1e-4, 1.0], ids=["on the event loop", "in a thread"])
def test_what_comes_together_is_asked_together(seconds: float) -> None:
    stage = Stage(Doubler(), batch=16, seconds=seconds)
    requests = [(float(100 + number), 0.5) for number in range(20)]
    jobs = asyncio.run(stage.ask(*requests))
    assert answers(jobs) == [[2.0 * first, 1.0] for first, _ in requests]
    assert sum(stage.model.calls) == 40
    assert max(stage.model.calls) == 16
    assert len(stage.model.calls) < 20
    stored = [unpack_rows(row.response)["prediction"].tolist() for row in stage.log.rows]
    assert sorted(stored) == sorted(answers(jobs))


def test_a_model_without_gain_is_asked_row_by_row() -> None:
    stage = Stage(Doubler(), batch=1)
    asyncio.run(stage.ask(*[(float(number),) for number in range(5)]))
    assert stage.model.calls == [1] * 5


@pytest.mark.parametrize("seconds", [1e-4, 1.0], ids=["on the event loop", "in a thread"])
@pytest.mark.parametrize(("bad", "code"), [(13.0, "internal"), (99.0, "output_value")])
def test_a_bad_request_costs_its_neighbours_nothing(seconds: float, bad: float, code: str) -> None:
    stage = Stage(Doubler(), batch=16, seconds=seconds)
    jobs = asyncio.run(stage.ask((1.0,), (bad,), (3.0,)))
    assert answers(jobs) == [[2.0], code, [6.0]]
    assert len(stage.log.rows) == 2


def test_an_answer_that_is_not_stored_is_not_given() -> None:
    stage = Stage(Doubler(), batch=1, log=Kept(UnavailableError("log_full", "no room")))
    (job,) = asyncio.run(stage.ask((1.0,)))
    assert job.reason.code == "log_full"
