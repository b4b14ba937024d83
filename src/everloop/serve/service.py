"""The service behind all protocols: bounds, timeouts, and the path from a query to a stored answer."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from everloop.core.clock import Clock
from everloop.core.errors import UnavailableError
from everloop.core.project import Project
from everloop.serve.answers import Answer, Answerer, no_champion
from everloop.serve.host import Host
from everloop.serve.log.log import PredictionLog
from everloop.serve.metrics import Metrics
from everloop.serve.query import ForecastQuery
from everloop.serve.served import Served
from everloop.serve.shadow import Shadow
from everloop.store.engine import Store
from everloop.store.facts import Prediction

__all__ = ["Service"]

T = TypeVar("T")

_INLINE_SERIES = 16
_INLINE_SECONDS = 0.01
_THREADS = 4


class Service:
    """Everything that the endpoints share.

    Args:
        project: the project.
        store: its store, opened with the durability that ``log.fsync`` asks for.
        clock: the time that answers carry.
        metrics: where to count.
    """

    def __init__(self, project: Project, store: Store, clock: Clock, *, metrics: Metrics | None = None) -> None:
        self.project = project
        self.store = store
        self.clock = clock
        self.settings = project.settings.serve
        self.metrics = metrics or Metrics()
        self.host = Host(project, store, clock, self.metrics)
        self.answerer = Answerer(project, store, clock)
        self.log = PredictionLog(project, store, clock, watcher=self.metrics)
        self.shadow = Shadow(self.host, self.answerer, self.log, self.metrics)
        self.in_flight = 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="everloop-work")

    def start(self) -> None:
        """Load what is in charge, and start to log and to follow."""
        self.log.start(asyncio.get_running_loop())
        self.shadow.start()
        self.host.start()

    def stop(self) -> None:
        """Stop following, and store what waits."""
        self.host.stop()
        self.shadow.close()
        self.log.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def champion(self) -> Served:
        """Who answers now.

        Raises:
            UnavailableError: nobody is in charge.
        """
        served = self.host.serving.champion
        if served is None:
            raise no_champion()
        return served

    async def forecast(self, query: ForecastQuery, *, kind: str, served: Served | None = None) -> Answer:
        """The champion's answer to a query, stored; then the challenger's, in the background.

        Raises:
            RequestError: the query does not fit.
            UnavailableError: nobody is in charge, the store does not answer, or too many wait.
            ModelError: the model fails.
        """
        chosen = served or self.champion()
        count = len(chosen.keys) if query.series is None else len(query.series)
        work = functools.partial(self.answerer.compute, query, chosen, kind=kind)
        answer, prediction = await self.place(work, served=chosen, count=count)
        await self.keep(prediction)
        self.shadow.cast(query, kind=kind, twin=answer.prediction_id)
        return answer

    async def keep(self, prediction: Prediction) -> None:
        """Store a prediction before it is given.

        Raises:
            UnavailableError: the store does not answer, or too many wait.
        """
        self.metrics.waiting.add(1)
        try:
            await self.log.store(prediction)
        finally:
            self.metrics.waiting.add(-1)

    async def place(self, work: Callable[[], T], *, served: Served, count: int) -> T:
        """Compute for ``count`` series or rows, on the event loop where that is short.

        A thread's wake-up would cost more than a short forecast frees; a model that was slow when it was loaded
        never holds the loop up.
        """
        is_short = count <= _INLINE_SERIES and served.series_seconds <= _INLINE_SECONDS
        return work() if is_short else await self.in_thread(work)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do longer work without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def check_load(self) -> None:
        """Refuse a request early.

        Raises:
            UnavailableError: more requests than ``serve.max_waiting`` are being answered.
        """
        if self.in_flight > self.settings.max_waiting:
            raise UnavailableError(
                "overloaded",
                f"{self.in_flight} requests are being answered already",
                hint="try again in a moment; serve.max_waiting and serve.workers set the bounds",
            )
