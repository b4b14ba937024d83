from __future__ import annotations

import gzip
import http.server
import random
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagators.textmap import Getter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from everloop.core.errors import UnavailableError
from everloop.core.settings.whole import Settings
from everloop.serve.doors.journal import RequestLine
from everloop.serve.doors.spans import Spans, open_spans
from everloop.serve.doors.tracing import begin_trace

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LINE = RequestLine(1_790_000_000.25, "/v1/forecast", "POST", 200, 0.0125, prediction="p1", release="r1", caller="k1")


def headers(**values: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()]


def test_a_trace_is_continued_by_a_new_span() -> None:
    trace = begin_trace(headers(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=a,other@x=b"))
    assert (trace.trace_id, trace.parent_id, trace.is_sampled) == (TRACE, PARENT, True)
    assert trace.state == "vendor=a,other@x=b"
    assert trace.span_id not in (PARENT, "0" * 16)
    lines = trace.answer_headers().decode().split("\r\n")
    assert f"traceresponse: 00-{TRACE}-{trace.span_id}-01" in lines
    assert begin_trace(headers(traceparent=f"00-{TRACE}-{PARENT}-02")).is_sampled is False


@pytest.mark.parametrize(
    "value",
    [
        f"00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-00",
        f"cc-{TRACE}-{PARENT}-01",
        f"cc-{TRACE}-{PARENT}-01-what-the-future-says",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-1",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}x-01",
        "",
        "garbage",
    ],
)
def test_what_is_valid_is_as_opentelemetry_sees_it(value: str) -> None:
    class First(Getter[dict[str, str]]):
        def get(self, carrier: dict[str, str], key: str) -> list[str] | None:
            return [carrier[key]] if key in carrier else None

        def keys(self, carrier: dict[str, str]) -> list[str]:
            return list(carrier)

    context = TraceContextTextMapPropagator().extract({"traceparent": value}, getter=First())
    expected = get_current_span(context).get_span_context()
    trace = begin_trace(headers(traceparent=value))
    assert bool(trace.parent_id) == expected.is_valid
    if expected.is_valid:
        assert int(trace.trace_id, 16) == expected.trace_id
        assert int(trace.parent_id, 16) == expected.span_id
        assert trace.is_sampled == expected.trace_flags.sampled


def test_a_bad_or_doubled_trace_counts_as_none() -> None:
    two = headers(traceparent=f"00-{TRACE}-{PARENT}-01") * 2
    for given_headers in (two, headers(tracestate="a=b"), []):
        trace = begin_trace(given_headers)
        assert (trace.parent_id, trace.is_sampled, trace.state) == ("", None, "")
        assert len(trace.trace_id) == 32
        assert b"traceresponse" not in trace.answer_headers()


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [
        ("a=1,b=2", True),
        ("a=1, b=2 ,", True),
        ("tenant@vendor=x/y", True),
        ("a=1,a=2", False),
        ("A=1", False),
        ("a", False),
        ("a=b=c", False),
        (",".join(f"k{number}=v" for number in range(33)), False),
        ("a=" + "x" * 257, False),
        ("a=é", False),
    ],
)
def test_a_state_is_passed_on_whole_or_not(state: str, is_kept: bool) -> None:
    trace = begin_trace(headers(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate=state))
    assert trace.state == (state if is_kept else "")


def test_a_request_id_is_the_callers_where_it_is_sane() -> None:
    assert begin_trace(headers(x_request_id="shop-17:abc/1.2=")).request_id == "shop-17:abc/1.2="
    for value in ("", "a b", "a\r\nset-cookie: x", "<script>", "x" * 129, "é"):
        trace = begin_trace(headers(x_request_id=value))
        assert trace.request_id == trace.trace_id
    assert begin_trace(headers(x_request_id="a") * 2).request_id != "a"


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=200))
def test_no_header_breaks_out_of_the_answer(parent: bytes, state: bytes, request_id: bytes) -> None:
    trace = begin_trace([(b"traceparent", parent), (b"tracestate", state), (b"x-request-id", request_id)])
    assert trace.answer_headers().count(b"\r\n") == 1 + bool(trace.parent_id)
    assert trace.answer_headers().isascii()


def test_no_two_requests_share_their_ids() -> None:
    traces = [begin_trace([]) for _ in range(1000)]
    assert len({trace.trace_id for trace in traces}) == len({trace.span_id for trace in traces}) == 1000


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def spans_of(exporter: InMemorySpanExporter, share: float = 1.0) -> Spans:
    return Spans(SimpleSpanProcessor(exporter), share=share)


def test_a_request_is_a_span_with_the_ids_that_were_told(exporter: InMemorySpanExporter) -> None:
    trace = begin_trace(headers(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=b", x_request_id="q1"))
    spans_of(exporter).record(trace, LINE)
    (span,) = exporter.get_finished_spans()
    assert span.name == "POST /v1/forecast"
    assert span.kind is SpanKind.SERVER
    assert span.context is not None
    assert span.parent is not None
    assert (span.context.trace_id, span.context.span_id) == (int(TRACE, 16), int(trace.span_id, 16))
    assert (span.parent.span_id, span.parent.is_remote) == (int(PARENT, 16), True)
    assert span.context.trace_state.to_header() == "a=b"
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/v1/forecast",
        "http.response.status_code": 200,
        "everloop.request_id": "q1",
        "everloop.prediction_id": "p1",
        "everloop.release": "r1",
        "everloop.key_id": "k1",
    }
    assert span.start_time == 1_790_000_000_250_000_000
    assert span.end_time == span.start_time + 12_500_000
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(("status", "code"), [(404, StatusCode.UNSET), (503, StatusCode.ERROR)])
def test_a_failure_is_told_as_one_of_the_server_or_the_caller(
    exporter: InMemorySpanExporter, status: int, code: StatusCode
) -> None:
    spans_of(exporter).record(begin_trace([]), RequestLine(1.0, "/x", "GET", status, 0.1, error="why"))
    (span,) = exporter.get_finished_spans()
    assert span.parent is None
    assert span.status.status_code is code
    assert (span.attributes or {})["error.type"] == "why"


def test_the_caller_decides_what_is_recorded_else_the_share(exporter: InMemorySpanExporter) -> None:
    spans = spans_of(exporter, share=0.0)
    spans.record(begin_trace(headers(traceparent=f"00-{TRACE}-{PARENT}-00")), LINE)
    spans.record(begin_trace([]), LINE)
    assert exporter.get_finished_spans() == ()
    spans.record(begin_trace(headers(traceparent=f"00-{TRACE}-{PARENT}-01")), LINE)
    assert len(exporter.get_finished_spans()) == 1
    half = spans_of(exporter, share=0.5)
    wanted = sum(half.is_wanted(begin_trace([])) for _ in range(2000))
    assert 850 < wanted < 1150  # six standard deviations


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what an OTLP exporter sends."""

    received: list[ExportTraceServiceRequest]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.received.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    received: list[ExportTraceServiceRequest] = []
    handler = type("Handler", (Collector,), {"received": received})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
        server.shutdown()
        thread.join()


def test_spans_reach_a_collector(
    collector: tuple[str, list[ExportTraceServiceRequest]],
    access: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    url, received = collector
    spans = open_spans(access(tracing="otlp", tracing_endpoint=url))
    assert spans is not None
    trace = begin_trace([])
    spans.record(trace, LINE)
    spans.close()
    (request,) = received
    resource = {each.key: each.value.string_value for each in request.resource_spans[0].resource.attributes}
    assert resource["service.name"] == "shop"
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.span_id.hex()) == ("POST /v1/forecast", trace.trace_id, trace.span_id)


def test_tracing_is_off_unless_asked_for_and_says_what_is_missing(
    access: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_spans(access()) is None
    monkeypatch.setitem(sys.modules, OTLPSpanExporter.__module__, None)
    with pytest.raises(UnavailableError) as caught:
        open_spans(access(tracing="otlp"))
    assert caught.value.code == "tracing_missing"
    assert "everloop[otel]" in caught.value.hint


def test_ids_do_not_depend_on_the_seed_of_a_model() -> None:
    random.seed(7)
    first = begin_trace([]).trace_id
    random.seed(7)
    assert begin_trace([]).trace_id != first
