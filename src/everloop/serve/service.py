"""The service behind all protocols: who answers, bounds, and the path from a query to a stored answer."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from everloop.core.clock import Clock
from everloop.core.errors import NotFoundError, UnavailableError
from everloop.core.ids import new_id
from everloop.core.project import Project
from everloop.models.tabular.predictor import Rows
from everloop.serve.admission import Admission, Visit
from everloop.serve.answers import About, Answer, Answerer, no_champion
from everloop.serve.bodies import JSON, read_body
from everloop.serve.doors.rules import Exposure, check_exposure
from everloop.serve.fallback import Answered, Attempt, Guard
from everloop.serve.host import Host
from everloop.serve.loading import Loaded
from everloop.serve.log.log import PredictionLog
from everloop.serve.metrics import Metrics
from everloop.serve.query import ForecastQuery
from everloop.serve.rows import RowQuery
from everloop.serve.served import Served
from everloop.serve.serving import Choice
from everloop.serve.shadow import Shadow
from everloop.serve.snapshot import SnapshotMaker
from everloop.serve.tabular.desk import Desk, Job
from everloop.serve.tabular.served import ServedRows
from everloop.serve.threads import AbandoningPool
from everloop.store.engine import Store
from everloop.store.records import Prediction, Role
from everloop.store.wanted import count_keys

__all__ = ["Service", "exposure_of", "forecaster_of", "rows_of"]

T = TypeVar("T")

_SHORT_SERIES = 16
_THREADS = 4


class Service:
    """Everything that the endpoints share.

    Args:
        project: the project.
        store: its store, opened with the durability that ``log.fsync`` asks for.
        clock: the time that answers carry.
        metrics: where to count.
        exposure: who may come without a key; by default as the settings say for ``serve.host``.
    """

    def __init__(
        self,
        project: Project,
        store: Store,
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        exposure: Exposure | None = None,
    ) -> None:
        self.project = project
        self.store = store
        self.clock = clock
        self.settings = settings = project.settings.serve
        self.metrics = metrics or Metrics()
        self.exposure = exposure or exposure_of(project, store)
        self.admission = Admission(project, store, self.exposure)
        self.snapshots = SnapshotMaker(project, most=settings.snapshot_series)
        self.host = Host(project, store, clock, _Watcher(self))
        self.answerer = Answerer(project, store, clock)
        self.log = PredictionLog(project, store, clock, watcher=self.metrics)
        self.shadow = Shadow(self.host, self.answerer, self.log, self.metrics, snapshots=self.snapshots)
        self._pool = pool = AbandoningPool(_THREADS, most_waiting=settings.max_waiting, on_exhausted=self._exhausted)
        self.guard = Guard(seconds=settings.model_timeout_seconds, pool=pool, watcher=self.metrics)
        self.desk = Desk(self.guard, self.log, self.metrics, clock, max_batch=settings.max_batch)
        self.in_flight = 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="everloop-work")

    def start(self) -> None:
        """Load what is in charge, and start to log and to follow; on the event loop."""
        self.log.start(asyncio.get_running_loop())
        self.shadow.start()
        self.snapshots.start()
        self.admission.start()
        self.host.start()

    def stop(self) -> None:
        """Stop following, and store what waits."""
        self.host.stop()
        self.snapshots.close()
        self.shadow.close()
        self.log.close()
        self.admission.stop()
        self._pool.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def champion(self) -> Loaded:
        """Who is in charge.

        Raises:
            UnavailableError: nobody is.
        """
        served = self.host.serving.champion
        if served is None:
            raise no_champion()
        return served

    def choose(self, visit: Visit, *, unit: str | None = None) -> Choice:
        """Who answers a request whose unit is known or does not matter.

        Raises:
            UnavailableError: nobody is in charge.
            NotFoundError: the caller names a release that is not served.
        """
        serving = self.host.serving
        drawn = visit.unit or unit
        request_id = ""
        if serving.split is not None and drawn is None:
            request_id = visit.request_id or new_id(self.clock.now())
        return serving.choose(unit=drawn, request_id=request_id, named=visit.named)

    def choose_forecast(self, visit: Visit, query: ForecastQuery) -> Choice:
        """Who answers a query for forecasts.

        Raises:
            UnavailableError: nobody is in charge.
            NotFoundError: the caller names a release that is not served, or this project serves rows.
        """
        serving = self.host.serving
        champion = serving.champion
        unit = None
        if serving.split is not None and isinstance(champion, Served):
            unit = serving.split.series_unit(champion.panel.series_columns, query.series)
        choice = self.choose(visit, unit=unit)
        forecaster_of(choice)
        return choice

    def choose_rows(self, visit: Visit, rows: Rows, served: ServedRows) -> Choice:
        """Who answers rows.

        Args:
            visit: who asks.
            rows: what is asked.
            served: the release by whose signature the rows were read.

        Raises:
            UnavailableError: nobody is in charge.
            NotFoundError: the caller names a release that is not served.
        """
        split = self.host.serving.split
        unit = None
        if split is not None and visit.unit is None:
            unit = served.unit_of(rows, split.unit)
        return self.choose(visit, unit=unit)

    def unit_of_columns(self, columns: Mapping[str, Sequence[Any]]) -> str | None:
        """What a request of rows that belong to series is drawn by, where there is a split."""
        serving = self.host.serving
        if serving.split is None or not isinstance(serving.champion, Served):
            return None
        return serving.split.row_unit(columns, serving.champion.panel.series_columns)

    async def forecast(self, query: ForecastQuery, *, kind: str, choice: Choice) -> Answer:
        """The answer to a query, stored; then the challenger's, in the background.

        Raises:
            RequestError: the query does not fit.
            NotFoundError: the release gives no forecasts.
            UnavailableError: the store does not answer, too many wait, or the model hangs.
            ModelError: the model fails, and nobody stands in for it.
        """

        def compute(attempt: Attempt) -> tuple[Answer, Prediction]:
            served = attempt.served
            if not isinstance(served, Served):
                raise NotFoundError("no_forecasts", "this release gives no forecasts", hint="see /openapi.json")
            snapshot = self.snapshots.of(served)
            return self.answerer.compute(query, served, _about(choice, attempt, kind), snapshot=snapshot)

        count = len(forecaster_of(choice).keys) if query.series is None else len(query.series)
        answered = await self.guard.answer(choice.chain, compute, is_short=count <= _SHORT_SERIES)
        answer, prediction = answered.value
        await self.keep(prediction)
        if prediction.role == "champion":
            self.shadow.cast(query, kind=kind, twin=answer.prediction_id)
        return _marked(answer, answered, choice)

    async def score(self, query: RowQuery, *, choice: Choice) -> tuple[dict[str, list[Any]], Prediction, str]:
        """Forecasts for rows, by column, and the stored record; the last is why another than the chosen answered.

        Raises:
            RequestError: the rows do not fit.
            NotFoundError: the release gives no forecasts.
            UnavailableError: the store does not answer, too many wait, or the model hangs.
            ModelError: the model fails, and nobody stands in for it.
        """

        def compute(attempt: Attempt) -> tuple[dict[str, list[Any]], Prediction]:
            served = attempt.served
            if not isinstance(served, Served):
                raise NotFoundError("no_forecasts", "this release gives no forecasts", hint="see /openapi.json")
            return self.answerer.score(query, served, _about(choice, attempt, "invocations"))

        answered = await self.guard.answer(choice.chain, compute, is_short=query.rows <= _SHORT_SERIES)
        scored, prediction = answered.value
        await self.keep(prediction)
        if prediction.role == "champion":
            self.shadow.cast(query, kind="invocations", twin=prediction.id)
        return scored, prediction, answered.reason

    async def predict(self, job: Job) -> Job:
        """A model's outputs for rows, stored.

        Raises:
            RequestError: the rows do not fit.
            UnavailableError: the store does not answer, too many wait, or the model hangs.
            ModelError: the model fails, and nobody stands in for it.
        """
        waiter: asyncio.Future[Job] = asyncio.get_running_loop().create_future()

        def finish(job: Job) -> None:
            if not waiter.done():
                waiter.set_result(job)

        job.finish = finish
        self.desk.submit(job)
        await waiter
        if job.error is not None:
            raise job.error
        self.shadow_rows(job)
        return job

    def shadow_rows(self, job: Job) -> None:
        """Have the challenger answer a job too, if there is one; never waits, never raises."""
        prediction = job.prediction
        if prediction is not None and prediction.role == "champion" and self.host.serving.challenger is not None:
            self.shadow.cast(job, kind=job.kind, twin=prediction.id)

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

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do longer work without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def read_body(
        self, request: Request, *, kinds: re.Pattern[str] = JSON, is_type_needed: bool = False
    ) -> bytes:
        """A request's body, within the bounds of the settings; see :func:`everloop.serve.bodies.read_body`.

        Raises:
            RequestError: it is too large, of another type, or nested too deeply.
        """
        body = await read_body(request, most=self.settings.max_body_bytes, kinds=kinds, is_type_needed=is_type_needed)
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if JSON.fullmatch(kind) and "inference-header-content-length" not in request.headers:
            self.admission.check_body(body)
        return body

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

    def _exhausted(self) -> None:
        """Too many threads hang in a model: drain and end, where a supervisor starts another worker then."""
        if self.metrics.is_shared:
            os.kill(os.getpid(), signal.SIGTERM)


class _Watcher:
    """Tells the metrics what the host does, and has snapshots made of what it loads."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._metrics = service.metrics

    def swapped(self, role: Role, served: Loaded | None) -> None:
        """Another release or state answers for a role."""
        self._metrics.swapped(role, served)
        serving = self._service.host.serving
        loaded = [serving.champion, *serving.arms.values()]
        self._service.snapshots.want(list(dict.fromkeys(each for each in loaded if isinstance(each, Served))))

    def swap_failed(self, role: Role) -> None:
        """A release or state could not be loaded."""
        self._metrics.swap_failed(role)

    def breaker(self, role: str, *, is_open: bool) -> None:
        """A role's circuit breaker opened or closed."""
        self._metrics.breaker(role, is_open=is_open)

    def poll_failed(self) -> None:
        """The store did not answer."""
        self._metrics.poll_failed()


def exposure_of(project: Project, store: Store, host: str | None = None) -> Exposure:
    """Who may come without a key when the server listens on ``host``, ``serve.host`` by default.

    Raises:
        SettingsError: the server would be open to a network without a key.
    """
    with store.look() as look:
        has_keys = count_keys(look) > 0
    return check_exposure(project.settings, host or project.settings.serve.host, has_keys)


def forecaster_of(choice: Choice) -> Served:
    """The forecaster that was chosen.

    Raises:
        NotFoundError: it is a model of rows.
    """
    if not isinstance(choice.served, Served):
        raise NotFoundError(
            "no_forecasts", "this project's model takes rows, it gives no forecasts", hint="see /openapi.json"
        )
    return choice.served


def rows_of(choice: Choice) -> ServedRows:
    """The model of rows that was chosen.

    Raises:
        NotFoundError: it is a forecaster.
    """
    if not isinstance(choice.served, ServedRows):
        raise NotFoundError(
            "no_rows", "this project's model gives forecasts, it takes no rows", hint="see /openapi.json"
        )
    return choice.served


def _about(choice: Choice, attempt: Attempt, kind: str) -> About:
    role = choice.role if attempt.role == "chosen" else attempt.role
    return About(kind, role, unit=choice.unit, experiment=choice.experiment)


def _marked(answer: Answer, answered: Answered[Any], choice: Choice) -> Answer:
    """The answer with what the caller must know of how it came about."""
    reason = answered.reason or choice.reason
    if not reason and not choice.note:
        return answer
    notes = [choice.note] if choice.note else []
    if reason:
        who = "the baseline" if answered.attempt.role == "baseline" else "another release"
        notes.append(f"{who} answered in place of the one chosen: {reason}")
    return msgspec.structs.replace(answer, notes=(*answer.notes, *notes), fallback=reason)
