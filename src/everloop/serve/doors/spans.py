"""Requests as OpenTelemetry spans, by the extra ``everloop[otel]``.

A span is made when its request has been answered, with the ids that the answer told already. So a request pays for
one small record, and the sending is the affair of OpenTelemetry's own thread.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from everloop import __version__
from everloop.core.errors import UnavailableError
from everloop.core.settings.whole import Settings
from everloop.serve.doors.journal import RequestLine
from everloop.serve.doors.tracing import Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor

__all__ = ["Spans", "open_spans"]


class Spans:
    """Turns requests into spans.

    Args:
        processor: what takes finished spans.
        resource: what the spans are of; OpenTelemetry's default by default.
        share: of the requests that come without a trace, the share that is recorded. For the others the caller's
            flag decides.
    """

    def __init__(self, processor: SpanProcessor, *, resource: Resource | None = None, share: float = 1.0) -> None:
        # OpenTelemetry is an extra, and takes a tenth of a second to import: only servers that trace pay for it
        from opentelemetry import trace as api
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._api = api
        self._span = ReadableSpan
        self._processor = processor
        self._resource = Resource.create() if resource is None else resource
        self._scope = InstrumentationScope("everloop", __version__)
        self._bound = round(share * 2**64)
        self._sampled = api.TraceFlags(api.TraceFlags.SAMPLED)
        self._failed = api.Status(api.StatusCode.ERROR)
        self._fine = api.Status(api.StatusCode.UNSET)

    def is_wanted(self, trace: Trace) -> bool:
        """Whether a request's span is recorded: as its caller says, else by its trace id, alike on every server."""
        if trace.is_sampled is not None:
            return trace.is_sampled
        return int(trace.trace_id[16:], 16) < self._bound

    def record(self, trace: Trace, line: RequestLine) -> None:
        """Hand a finished request over; what is not wanted is dropped."""
        if not self.is_wanted(trace):
            return
        api = self._api
        number, started = int(trace.trace_id, 16), round(line.at * 1e6) * 1000
        state = api.TraceState.from_header([trace.state]) if trace.state else None
        context = api.SpanContext(number, int(trace.span_id, 16), False, self._sampled, state)
        parent = None
        if trace.parent_id:
            parent = api.SpanContext(number, int(trace.parent_id, 16), True, self._sampled, state)
        span = self._span(
            name=f"{line.method} {line.route}",
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=_attributes(trace, line),
            kind=api.SpanKind.SERVER,
            status=self._failed if line.status >= 500 else self._fine,
            start_time=started,
            end_time=started + round(line.seconds * 1e9),
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)

    def close(self) -> None:
        """Send what waits, and stop."""
        self._processor.shutdown()


def open_spans(settings: Settings) -> Spans | None:
    """What sends spans to the collector of the settings; ``None`` where ``access.tracing`` is off.

    The collector is ``access.tracing_endpoint``, else what OpenTelemetry's own variables name
    (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_EXPORTER_OTLP_HEADERS``, ...). The service's name is the project's, unless
    ``OTEL_SERVICE_NAME`` says another.

    Raises:
        UnavailableError: OpenTelemetry is not installed (``tracing_missing``).
    """
    access = settings.access
    if access.tracing == "off":
        return None
    try:
        # an extra, see above
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "tracing_missing",
            f"access.tracing is {access.tracing!r}, but {error.name!r} is not installed",
            hint="pip install 'everloop[otel]'",
            path="access.tracing",
        ) from error
    attributes: dict[str, Any] = {"service.version": __version__}
    if "OTEL_SERVICE_NAME" not in os.environ:
        attributes["service.name"] = settings.project.name
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=access.tracing_endpoint or None))
    return Spans(processor, resource=Resource.create(attributes), share=access.trace_share)


def _attributes(trace: Trace, line: RequestLine) -> dict[str, Any]:
    """The span's attributes: OpenTelemetry's names for HTTP servers, and ours."""
    found: dict[str, Any] = {
        "http.request.method": line.method,
        "http.route": line.route,
        "http.response.status_code": line.status,
        "everloop.request_id": trace.request_id,
    }
    if line.error:
        found["error.type"] = line.error
    if line.prediction:
        found["everloop.prediction_id"] = line.prediction
    if line.release:
        found["everloop.release"] = line.release
    if line.caller:
        found["everloop.key_id"] = line.caller
    return found
