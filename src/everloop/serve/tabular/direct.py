"""The hot way: a V2 inference request from its bytes to the bytes of its answer, without a task or a framework."""

from __future__ import annotations

import time

from everloop.serve.admission import Visit
from everloop.serve.direct import DirectRoute, Passage
from everloop.serve.recording import encode_request
from everloop.serve.tabular.desk import Job
from everloop.serve.tabular.served import ServedRows
from everloop.serve.v2.infer import InferCall, decode_infer, encode_infer, parse_header_length

__all__ = ["DirectInfer"]


class DirectInfer(DirectRoute):
    """``POST /v2/models/{model}/infer`` for models of rows."""

    def take(self, passage: Passage, visit: Visit) -> None:
        """Decode, validate, and hand over to the desk."""
        service = self.service
        body = passage.exchange.body
        serving = service.host.serving
        # with a split the rows themselves may say who answers, so that they are decoded first
        is_drawn = serving.split is not None and visit.named is None and serving.champion is not None
        choice = None if is_drawn else service.choose(visit)
        served = serving.champion if choice is None else choice.served
        if not isinstance(served, ServedRows):
            self.pass_on(passage)
            return
        length = visit.headers.get(b"inference-header-content-length")
        header_length = None if length is None else parse_header_length(length.decode("latin-1"))
        call = decode_infer(body, served.decoder, header_length)
        if choice is None:
            choice = service.choose_rows(visit, call.rows, served)
            drawn = choice.served
            if drawn is not served and isinstance(drawn, ServedRows) and drawn.signature != served.signature:
                call = decode_infer(body, drawn.decoder, header_length)
        request = bytes(body) if header_length is None else encode_request(call.rows, call.parameters, call.outputs)
        job = Job(
            choice,
            call.rows,
            kind="infer",
            request=request,
            parameters=call.parameters,
            outputs=call.outputs,
            finish=lambda job: self._finish(passage, job, call),
        )
        job.started = passage.started
        service.metrics.validate.observe(time.perf_counter() - passage.started)
        service.desk.submit(job)

    def _finish(self, passage: Passage, job: Job, call: InferCall) -> None:
        if job.error is not None or job.answered is None or job.prediction is None:
            self.fail(passage, job.reason)
            return
        answered, prediction = job.answered, job.prediction
        headers, body = encode_infer(
            call, answered.value, self.service.project.name, prediction.release, prediction.id, notes=job.notes
        )
        if answered.reason:
            headers += b"x-everloop-fallback: %b\r\n" % answered.reason.encode()
        self.give(passage, headers, prediction, body)
        self.service.shadow_rows(job)
