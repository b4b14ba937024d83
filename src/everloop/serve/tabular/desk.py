"""The desk: takes requests for rows, asks the model alone or in batches, and stores each answer before it is given.

Requests that came in one turn of the event loop are asked together where the model was measured to gain by that; so
nobody waits for a timer. A slow model is asked in a thread, and what comes while it works makes the next batch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, ModelError, UnavailableError
from everloop.core.ids import new_id
from everloop.models.tabular.predictor import Rows
from everloop.serve.failures import internal_error
from everloop.serve.fallback import Answered, Attempt, Guard, Rest, check_finite
from everloop.serve.loading import Loaded
from everloop.serve.metrics import Metrics
from everloop.serve.recording import decode_request
from everloop.serve.serving import Choice
from everloop.serve.tabular.joining import cut_outputs, join_rows
from everloop.serve.tabular.served import ServedRows
from everloop.store.records import Prediction
from everloop.store.row_values import pack_rows

__all__ = ["Desk", "Job", "PredictionLog", "shadow_of"]

_log = logging.getLogger(__name__)

Outputs = Mapping[str, NDArray[Any]]


class PredictionLog(Protocol):
    """Where answers are stored."""

    def put(self, prediction: Prediction, done: Callable[[EverloopError | None], None] | None = None) -> None:
        """Store a prediction; ``done`` is called on the event loop when it is stored or cannot be."""


class Job:
    """One request on its way.

    Args:
        choice: who answers it.
        rows: what is asked.
        parameters: beside the rows.
        outputs: the names of the outputs wanted; empty for all.
        kind: the door it came through.
        request: what the store keeps of it, JSON.
        finish: called on the event loop, once, when the answer is stored or an error is known.

    Attributes:
        started: when it came, seconds of ``time.perf_counter``.
        error: why there is no answer.
        answered: the outputs and who gave them.
        prediction: what is stored; ``None`` as long as nothing is.
    """

    __slots__ = (
        "answered", "choice", "computed", "error", "finish", "kind", "outputs", "parameters", "prediction", "request",
        "rows", "started",
    )  # fmt: skip

    def __init__(
        self,
        choice: Choice,
        rows: Rows,
        *,
        kind: str,
        request: bytes,
        parameters: Mapping[str, Any],
        outputs: tuple[str, ...] = (),
        finish: Callable[[Job], None] | None = None,
    ) -> None:
        self.choice = choice
        self.rows = rows
        self.parameters = parameters
        self.outputs = outputs
        self.kind = kind
        self.request = request
        self.finish = finish or _unheard
        self.started = time.perf_counter()
        self.computed = 0.0
        self.error: EverloopError | None = None
        self.answered: Answered[Outputs] | None = None
        self.prediction: Prediction | None = None

    @property
    def reason(self) -> EverloopError:
        """Why there is no answer."""
        return self.error or internal_error()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the caller must know beside the numbers."""
        return (self.choice.note,) if self.choice.note else ()


class _Call:
    """One call of a model for one or several jobs."""

    __slots__ = ("begun", "chain", "is_short", "jobs", "outputs", "parameters", "rows")

    def __init__(self, jobs: list[Job], begun: float) -> None:
        first = jobs[0]
        self.jobs = jobs
        self.begun = begun
        self.rows = first.rows if len(jobs) == 1 else join_rows([job.rows for job in jobs])
        self.parameters = first.parameters
        self.outputs = first.outputs
        # nobody stands in for a batch: when it fails, each of its jobs is asked alone, and has its own line
        chain = first.choice.chain
        self.chain = chain if len(jobs) == 1 else chain[:1]
        served = first.choice.served
        self.is_short = isinstance(served, ServedRows) and served.pace.seconds(self.rows.n) <= _INLINE_SECONDS

    def compute(self, attempt: Attempt) -> Outputs:
        """The outputs of one of those who may answer.

        Raises:
            ModelError: it fails, or gives what is no number.
        """
        return _ask(attempt, self.rows, self.parameters, self.outputs)


class Desk:
    """Answers jobs.

    Args:
        guard: asks the models, and the next ones where one fails.
        log: stores.
        metrics: counts.
        clock: the time that answers carry.
        max_batch: the most rows of a batch.
    """

    def __init__(self, guard: Guard, log: PredictionLog, metrics: Metrics, clock: Clock, *, max_batch: int) -> None:
        self._guard = guard
        self._prediction_log = log
        self._metrics = metrics
        self._now = clock.now
        self._max_batch = max_batch
        self._gathered: dict[Any, list[Job]] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._asked: set[Any] = set()

    def submit(self, job: Job) -> None:
        """Take a job; on the event loop. Nothing is raised: what goes wrong reaches ``job.finish``."""
        served = job.choice.served
        batch = self._batch_of(served)
        if batch <= 1 or job.rows.n >= batch or job.parameters or job.outputs:
            self._answer([job])
            return
        gathered = self._gathered.get(served)
        if gathered is not None:
            gathered.append(job)
            return
        self._gathered[served] = [job]
        if served not in self._asked:
            asyncio.get_running_loop().call_soon(self._flush, served)

    def _batch_of(self, served: Loaded) -> int:
        return min(served.pace.batch, self._max_batch) if isinstance(served, ServedRows) else 1

    def _flush(self, served: Loaded) -> None:
        """Ask for what was gathered, in as many batches as it makes."""
        most = self._batch_of(served)
        batch: list[Job] = []
        size = 0
        for job in self._gathered.pop(served, []):
            if batch and size + job.rows.n > most:
                self._answer(batch)
                batch, size = [], 0
            batch.append(job)
            size += job.rows.n
        if batch:
            self._answer(batch)

    def _answer(self, jobs: list[Job]) -> None:
        """Ask for jobs of one release together: at once where the model is quick, in a thread where it is not."""
        begun = time.perf_counter()
        observe = self._metrics.queue.observe
        for job in jobs:
            observe(begun - job.started)
        call = _Call(jobs, begun)
        rest: Rest | None = None
        if call.is_short:
            try:
                now = self._guard.answer_now(call.chain, call.compute)
            except Exception as error:
                self._failed(jobs, error)
                return
            if not isinstance(now, Rest):
                self._computed(call, now)
                return
            if len(jobs) > 1 and now.reason:
                self._one_by_one(jobs)
                return
            rest = now
        task = asyncio.get_running_loop().create_task(self._answer_later(call, rest))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _answer_later(self, call: _Call, rest: Rest | None) -> None:
        served = call.jobs[0].choice.served
        self._asked.add(served)
        try:
            answered = await self._guard.answer(call.chain, call.compute, rest, is_short=call.is_short)
        except Exception as error:
            self._failed(call.jobs, error)
        else:
            self._computed(call, answered)
        finally:
            self._asked.discard(served)
            if served in self._gathered:
                self._flush(served)

    def _one_by_one(self, jobs: list[Job]) -> None:
        """One bad request must not cost its neighbours their answers: each is asked alone."""
        for job in jobs:
            self._answer([job])

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        """Nobody could answer."""
        if len(jobs) > 1:
            self._one_by_one(jobs)
            return
        if not isinstance(error, EverloopError):
            _log.error("a model of rows failed", exc_info=error)
            error = internal_error()
        jobs[0].error = error
        jobs[0].finish(jobs[0])

    def _computed(self, call: _Call, answered: Answered[Outputs]) -> None:
        now = time.perf_counter()
        metrics, jobs, n = self._metrics, call.jobs, call.rows.n
        metrics.predict.observe(now - call.begun)
        metrics.batch.observe(n)
        metrics.rows.add(n)
        if len(jobs) == 1:
            self._keep(jobs[0], answered, now)
            return
        parts = cut_outputs(answered.value, [job.rows.n for job in jobs])
        for job, part in zip(jobs, parts, strict=True):
            self._keep(job, Answered(part, answered.attempt, answered.reason), now)

    def _keep(self, job: Job, answered: Answered[Outputs], computed: float) -> None:
        """Have the answer stored; ``finish`` follows when it is."""
        job.answered = answered
        job.computed = computed
        choice, now = job.choice, self._now()
        served = answered.attempt.served
        prediction = job.prediction = Prediction(
            new_id(now),
            now,
            served.release.digest,
            "",
            choice.role if answered.attempt.role == "chosen" else answered.attempt.role,
            job.kind,
            None,
            now,
            now,
            job.request,
            pack_rows(answered.value),
            choice.unit,
            choice.experiment,
        )

        def done(error: EverloopError | None) -> None:
            job.error = error
            self._metrics.store.observe(time.perf_counter() - computed)
            job.finish(job)

        try:
            self._prediction_log.put(prediction, done)
        except UnavailableError as error:
            done(error)


def _unheard(job: Job) -> None:
    """Nobody waits for this job."""


def shadow_of(job: Job, served: Loaded, *, twin: str) -> Prediction:
    """What another release says to a job, as the record to store; in any thread.

    Raises:
        ModelError: it takes no rows, or fails.
        RequestError: the rows do not fit it.
    """
    if not isinstance(served, ServedRows):
        raise ModelError("shadow_kind", "the challenger gives forecasts, it takes no rows")
    rows, parameters = job.rows, job.parameters
    champion = job.choice.served
    if isinstance(champion, ServedRows) and champion.signature != served.signature:
        call = decode_request(job.request, "invocations" if job.kind == "invocations" else "infer", served.decoder)
        rows, parameters = call.rows, call.parameters
    outputs = served.predictor.predict(rows, parameters, job.outputs)
    check_finite(outputs)
    assert job.prediction is not None
    at = job.prediction.at
    return msgspec.structs.replace(
        job.prediction,
        id=new_id(at),
        release=served.release.digest,
        role="shadow",
        twin=twin,
        response=pack_rows(outputs),
    )


_INLINE_SECONDS = 0.01


def _ask(attempt: Attempt, rows: Rows, parameters: Mapping[str, Any], outputs: tuple[str, ...]) -> Outputs:
    served = attempt.served
    if not isinstance(served, ServedRows):
        raise ModelError("no_baseline", "nothing stands in for this model of rows")
    predicted = served.predictor.predict(rows, parameters, outputs)
    check_finite(predicted)
    return predicted
