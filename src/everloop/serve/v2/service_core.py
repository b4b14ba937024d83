"""The service as the protocol's transports see it: forecasters and models of rows behind one question."""

from __future__ import annotations

from typing import Any

from everloop.core.errors import ModelError, NotFoundError
from everloop.serve.admission import Ending, Visit
from everloop.serve.answers import no_champion
from everloop.serve.loading import Loaded
from everloop.serve.recording import encode_request
from everloop.serve.served import Served
from everloop.serve.service import Service, rows_of
from everloop.serve.serving import Choice
from everloop.serve.tabular.desk import Job
from everloop.serve.tabular.served import ServedRows
from everloop.serve.v2.core import ModelMetadata, Question, Reply
from everloop.serve.v2.forecasts import check_wanted, forecast_inputs, forecast_outputs, outputs_of, query_of
from everloop.serve.v2.infer import InferCall, chosen_outputs
from everloop.store.records import Scope

__all__ = ["ServiceCore"]


class ServiceCore:
    """Answers questions by the service; an :class:`everloop.serve.v2.core.InferenceCore`.

    Args:
        service: what answers.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def name(self) -> str:
        """The project's name."""
        return self._service.project.name

    def begin(self) -> None:
        """A call of a transport without routes of its own begins."""
        self._service.in_flight += 1
        self._service.metrics.in_flight.add(1.0)

    def admit(self, headers: list[tuple[bytes, bytes]], scope: Scope | None, address: str) -> Visit:
        """Let a caller in.

        Raises:
            EverloopError: it may not come in, or too many calls are being answered.
        """
        if scope is not None:
            self._service.check_load()
        return self._service.admission.admit(headers, scope, address)

    def end(
        self, visit: Visit | None, route: str, status: int, seconds: float, *, prediction: str = "", error: str = ""
    ) -> None:
        """A call ended."""
        service, metrics = self._service, self._service.metrics
        service.in_flight -= 1
        metrics.in_flight.add(-1.0)
        metrics.requests(route, "gRPC", status).add()
        metrics.latency(route).observe(seconds)
        if status == 500:
            metrics.failures.add()
        if visit is not None:
            service.admission.leave(visit, Ending(status, seconds, route, "gRPC", prediction, error=error))

    def is_ready(self) -> bool:
        """Whether a release is in charge."""
        return self._service.host.serving.champion is not None

    def metadata(self, model: str, version: str | None) -> ModelMetadata:
        """What a model takes and gives.

        Raises:
            NotFoundError: the model or the version is not served.
            UnavailableError: nobody is in charge.
        """
        served = self._find(model, version)
        champion = self._service.host.serving.champion
        digests = [each.release.digest for each in (champion,) if each is not None]
        versions = tuple(dict.fromkeys([*digests, *sorted(self._service.host.serving.arms)]))
        manifest = served.release.manifest
        if isinstance(served, Served):
            parameters = {
                "horizon": manifest.horizon,
                "levels": manifest.levels,
                "series_columns": manifest.columns.series,
                "candidate": manifest.candidate,
                "cutoff": served.cutoff.isoformat(),
            }
            inputs, outputs = forecast_inputs(served), forecast_outputs(manifest.levels)
        else:
            parameters = _about_rows(served)
            inputs, outputs = served.decoder.inputs(), served.decoder.outputs()
        return ModelMetadata(self.name, versions, inputs, outputs, parameters, served.release.digest)

    async def infer(self, question: Question, visit: Visit) -> Reply:
        """Answer, after the answer is stored.

        Raises:
            EverloopError: the request does not fit, or cannot be answered.
        """
        served = self._find(question.model, question.version)
        choice = None
        if question.version is not None:
            choice = self._service.host.serving.choose(named=served.release.digest)
        if isinstance(served, Served):
            return await self._forecast(question, served, choice, visit)
        return await self._predict(question, choice, visit)

    async def _forecast(self, question: Question, served: Served, choice: Choice | None, visit: Visit) -> Reply:
        service = self._service
        query = query_of(question.tensors, question.wishes.parameters, served)
        levels = query.levels if query.levels is not None else service.project.settings.forecast.levels
        check_wanted(question.wishes, levels)
        answer = await service.forecast(query, kind="infer", choice=choice or service.choose_forecast(visit, query))
        told = {"prediction_id": answer.prediction_id, "state": answer.state, "notes": list(answer.notes)}
        outputs = outputs_of(answer, question.wishes)
        return Reply(outputs, self.name, answer.release, answer.prediction_id, told, answer.fallback)

    async def _predict(self, question: Question, choice: Choice | None, visit: Visit) -> Reply:
        service = self._service
        chosen = choice or service.choose(visit)
        served = rows_of(chosen)
        call = call_of(question, served)
        if choice is None and chosen.experiment is not None and visit.unit is None:
            chosen = service.choose_rows(visit, call.rows, served)
            drawn = rows_of(chosen)
            if drawn.signature != served.signature:
                call = call_of(question, drawn)
        job = await service.predict(
            Job(
                chosen,
                call.rows,
                kind="infer",
                request=question.body or encode_request(call.rows, call.parameters, call.outputs),
                parameters=call.parameters,
                outputs=call.outputs,
                finish=_ignore,
            )
        )
        answered, prediction = job.answered, job.prediction
        if answered is None or prediction is None:
            raise ModelError("no_answer", "the model gave no answer", hint="the server's log tells why")
        told: dict[str, Any] = {"prediction_id": prediction.id}
        if job.notes:
            told["notes"] = list(job.notes)
        outputs = chosen_outputs(call.outputs, answered.value)
        return Reply(outputs, self.name, prediction.release, prediction.id, told, answered.reason)

    def _find(self, model: str, version: str | None) -> Loaded:
        """The release that a path or call names.

        Raises:
            NotFoundError: the model or the version is another.
            UnavailableError: nobody is in charge.
        """
        if model != self.name:
            raise NotFoundError(
                "model_unknown",
                f"there is no model {model[:80]!r}",
                hint=f"this server serves {self.name!r}",
                path="model",
            )
        serving = self._service.host.serving
        if serving.champion is None:
            raise no_champion()
        if version is None:
            return serving.champion
        served = serving.arms.get(version)
        if served is None:
            raise NotFoundError(
                "version_unknown",
                f"version {version[:80]!r} is not served",
                hint=f"the champion is {serving.champion.release.digest}",
                path="version",
            )
        return served


def call_of(question: Question, served: ServedRows) -> InferCall:
    """A question as a call of a model of rows.

    Raises:
        RequestError: it does not fit the signature.
    """
    decoder, wishes = served.decoder, question.wishes
    decoder.check_outputs(wishes)
    rows = decoder.from_tensors(question.tensors)
    parameters = decoder.parameters.read(wishes.parameters, "parameters")
    return InferCall(None, rows, parameters, wishes.outputs, wishes.is_binary, wishes.binary)


def _about_rows(served: ServedRows) -> dict[str, Any]:
    """What a caller may want to know of a model of rows beside its tensors."""
    signature = served.signature
    return {
        "task": served.release.manifest.task,
        "flavor": served.release.manifest.flavor,
        "columns": {each.name: each.type for each in signature.columns},
        "optional": [each.name for each in signature.columns if not each.required],
        "parameters": {each.name: {"type": each.type, "default": each.default} for each in signature.parameters},
        "classes": {each.name: each.classes for each in signature.outputs if each.classes},
    }


def _ignore(job: Job) -> None:
    """What :meth:`Service.predict` puts another in place of."""
