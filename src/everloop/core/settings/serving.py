"""The server, its doors and its prediction log."""

from __future__ import annotations

from typing import Literal

from everloop.core.settings.section import Section, key, table

__all__ = ["AccessSettings", "LogSettings", "ServeSettings", "SwapCompareSettings"]


class SwapCompareSettings(Section):
    """How a new release is compared with the old one on recorded requests before it takes over."""

    requests: int = key(20, unit="requests", help="How many recorded requests both answer; 0 compares nothing.", ge=0)
    max_slowdown: float = key(
        20.0,
        unit="times",
        help="A release that takes more than this many times as long as the old one, and more than 20 ms, is refused.",
        gt=1,
    )
    seconds: float = key(5.0, unit="seconds", help="The comparison ends by then with what it has seen.", gt=0)


class ServeSettings(Section):
    """The server."""

    host: str = key("127.0.0.1", help="The address to listen on.")
    port: int = key(8000, help="The port to listen on.", ge=0, le=65535)
    grpc_port: int = key(
        0, help="The port for gRPC, on the same address (needs the extra `grpc`); 0 means none.", ge=0, le=65535
    )
    workers: int = key(1, unit="processes", help="How many processes answer.", ge=1)
    poll_seconds: float = key(1.0, unit="seconds", help="How often the server looks for a promotion or new data.", gt=0)
    max_body_bytes: int = key(16_000_000, unit="bytes", help="The largest request body.", ge=1)
    max_series: int = key(10_000, unit="series", help="The most series of one request.", ge=1)
    max_batch: int = key(
        256,
        unit="rows",
        help="The most rows of one batch, for models of rows that were measured to gain by batches; 1 means never.",
        ge=1,
    )
    compile: bool = key(
        True,
        help="Whether boosted trees are compiled to machine code once the server answers, where that is faster and "
        "gives the same bits; needs everloop[compiled].",
    )
    snapshot_series: int = key(
        100_000,
        unit="series",
        help="Up to so many series, the base forecast of each is computed ahead of the requests; 0 means never.",
        ge=0,
    )
    timeout_seconds: float = key(30.0, unit="seconds", help="The longest a prediction may take.", gt=0)
    max_waiting: int = key(1_000, unit="requests", help="More requests than this at once are refused with 503.", ge=1)
    model_timeout_seconds: float = key(
        10.0, unit="seconds", help="The longest a model may take before another answers in its place.", gt=0
    )
    load_timeout_seconds: float = key(
        300.0, unit="seconds", help="The longest a release may take to load and warm before it is given up.", gt=0
    )
    breaker_failures: int = key(
        5, unit="failures", help="After this many in a row a release is not asked for a while.", ge=1
    )
    breaker_seconds: float = key(30.0, unit="seconds", help="How long it is not asked the first time.", gt=0)
    swap_compare: SwapCompareSettings = table(SwapCompareSettings)


class AccessSettings(Section):
    """Who may ask the server, how much, and what is written of it."""

    keys: Literal["auto", "required", "off"] = key(
        "auto",
        help="Whether a request needs an API key: unless the server listens on loopback only (auto), always, or never.",
    )
    allow_anonymous: bool = key(
        False, help="Let callers without a key predict, read and tell outcomes although others than this machine can."
    )
    public_paths: list[str] = key(
        ["/v2/health/live", "/v2/health/ready", "/health", "/ping"], help="Paths that need no key, for health checks."
    )
    tls_certificate: str = key(
        "", help="The file of the certificate and its chain (PEM), below the project's folder; empty means no TLS."
    )
    tls_key: str = key("", help="The file of the certificate's private key (PEM); empty where it is in the same file.")
    tls_client_ca: str = key(
        "", help="The file of the authorities (PEM) that must have signed a client's certificate; empty asks for none."
    )
    rate: float = key(
        0.0, unit="requests/second", help="The most of one key, or of one address without; 0 means no bound.", ge=0
    )
    burst: int = key(
        0, unit="requests", help="How many may come at once before the rate holds; 0 means one second's.", ge=0
    )
    max_depth: int = key(64, unit="levels", help="The deepest nesting of a JSON body.", ge=4, le=512)
    max_rows: int = key(100_000, unit="rows", help="The most rows of one request to a model of rows.", ge=1)
    header_seconds: float = key(10.0, unit="seconds", help="The longest that a request's headers may take.", gt=0)
    body_seconds: float = key(30.0, unit="seconds", help="The longest that a request's body may take.", gt=0)
    idle_seconds: float = key(75.0, unit="seconds", help="How long an unused connection stays open.", gt=0)
    max_connections: int = key(10_000, unit="connections", help="The most open connections of one worker.", ge=1)
    log: Literal["off", "errors", "all"] = key(
        "errors", help="Which requests are logged, one line each: none, those that failed (400 and above), or all."
    )
    log_format: Literal["json", "text"] = key("json", help="The form of a request's line.")
    log_file: str = key("", help="The file of the request log, below the project's folder; empty means standard error.")
    tracing: Literal["off", "otlp"] = key(
        "off", help="Whether requests are sent as OpenTelemetry spans over OTLP; needs everloop[otel]."
    )
    tracing_endpoint: str = key(
        "", help="The collector's URL for traces; empty means what OTEL_EXPORTER_OTLP_ENDPOINT says."
    )
    trace_share: float = key(
        1.0, unit="share", help="Of the requests that come without a trace, the share whose span is sent.", ge=0, le=1
    )


class LogSettings(Section):
    """The prediction log."""

    fsync: bool = key(
        False,
        help="Whether a prediction is on the disk before it is answered. Without it an answer survives the end of the "
        "server, however it ends, but not a loss of power in the same moment. PostgreSQL has a setting of its own.",
    )
    inputs: float = key(
        1.0,
        unit="share of the requests",
        help="For which share the inputs are kept; a prediction without them cannot be repeated.",
        ge=0,
        le=1,
    )
    patience_seconds: float = key(
        1.0,
        unit="seconds",
        help="How long the store may take; then predictions go to a buffer on disk, and to the store later.",
        gt=0,
    )
    spool_bytes: int = key(256_000_000, unit="bytes", help="The most that the buffer on disk holds.", ge=0)
    when_full: Literal["refuse", "unlogged"] = key(
        "refuse",
        help="What becomes of answers when store and buffer take no more: refused, or given without being stored.",
    )
    keep_days: int = key(0, unit="days", help="How long predictions are kept; 0 means for ever.", ge=0)
    export: str = key(
        "", help="A folder or URL of a Delta table to which predictions go before they are deleted; empty means none."
    )
