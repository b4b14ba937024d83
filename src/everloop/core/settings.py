"""What ``everloop.toml`` may say: every key with its type, unit, default and help.

The records here are the only place where a key is defined; the loader, the commands' flags and the reference
page are made from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.config import JsonDict

from everloop.core.errors import SettingsError
from everloop.core.frequency import Frequency

__all__ = [
    "AccessSettings",
    "ContractSettings",
    "DataSettings",
    "ForecastSettings",
    "GateSettings",
    "LogSettings",
    "LoopSettings",
    "MonitorSettings",
    "ProjectSettings",
    "ReleaseSettings",
    "RetrainSettings",
    "ServeSettings",
    "Settings",
    "StoreSettings",
    "SwapCompareSettings",
    "TrackingSettings",
    "TrainSettings",
    "ValidateSettings",
]

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


def key(default: Any = ..., *, help: str, unit: str = "", **constraints: Any) -> Any:  # noqa: A002
    """A settings key with its help text and unit."""
    extra: JsonDict = {"unit": unit}
    if default is ...:
        return Field(description=help, json_schema_extra=extra, **constraints)
    if isinstance(default, list | dict):
        return Field(default_factory=default.copy, description=help, json_schema_extra=extra, **constraints)
    return Field(default=default, description=help, json_schema_extra=extra, **constraints)


class Section(BaseModel):
    """A table of the file: frozen, and no key that is not defined here."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ProjectSettings(Section):
    """What the project is."""

    name: str = key(
        help="The project's name; also the model's name over HTTP.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
    )
    task: Literal["forecasting", "regression", "classification"] = key("forecasting", help="The kind of task.")
    seed: int = key(7, help="The one seed that every random choice follows from.", ge=0)


class ContractSettings(Section):
    """What a row must be to enter the table; a row that breaks it goes to quarantine with its reasons."""

    types: dict[str, Literal["string", "integer", "float", "boolean", "date", "datetime"]] = key(
        {}, help="The type of a column, by column name; a value that cannot be read as it is a bad one."
    )
    ranges: dict[str, tuple[float | None, float | None]] = key(
        {}, help="The lowest and highest value of a column, by column name."
    )
    required: list[str] = key([], help="Columns that may not be empty, beside the series, time and target.")
    negative_target: Literal["quarantine", "accept"] = key(
        "quarantine", help="What becomes of a row with a target below zero."
    )
    unknown_series: Literal["accept", "quarantine"] = key(
        "accept", help="What becomes of rows of a series that the table has never seen (after the first ingestion)."
    )
    future_rows: Literal["quarantine", "accept"] = key(
        "quarantine", help="What becomes of a row with a target that is dated after the present."
    )
    max_bad_share: float = key(
        0.01, unit="share of the rows", help="Above this share of bad rows the ingestion stops.", ge=0, le=1
    )
    max_gap: int = key(
        0, unit="steps", help="A longer hole inside a series is a warning; 0 means that holes are not looked at.", ge=0
    )
    max_age: int = key(0, unit="steps", help="Newest data older than this are stale: a warning; 0 means never.", ge=0)


class DataSettings(Section):
    """Where the data come from and what their columns are."""

    source: str = key(
        "",
        help="Files (CSV, Parquet; a glob is allowed), a database URL (with `query`), or a Python function "
        "'module:function' that returns frames.",
    )
    query: str = key("", help="The SQL query, where the source is a database URL.")
    series: list[str] = key([], help="The columns that together name a series.")
    time: str = key("", help="The time column.")
    target: str = key("", help="The column to forecast.")
    frequency: str = key("1d", help="The step of the time grid, such as 1h, 1d, 1w, 1mo.")
    known_ahead: list[str] = key([], help="Columns whose values are known for the future too.")
    observed: list[str] = key([], help="Columns known only up to the present; models see their last known value.")
    static: list[str] = key([], help="Columns that do not change within a series.")
    future_source: str = key("", help="A second source, of the known-ahead columns for times to come.")
    future_query: str = key("", help="The SQL query of the second source, where it is a database URL.")
    missing_ahead: Literal["last", "error"] = key(
        "last",
        help="What a known-ahead value that is missing at forecast time becomes: the last known one, or an error.",
    )
    closed_weekdays: list[Weekday] = key([], help="Weekdays without trade: their forecast is zero.")
    contract: ContractSettings = Field(default_factory=ContractSettings, description="See `data.contract`.")

    @field_validator("frequency")
    @classmethod
    def _frequency_is_readable(cls, text: str) -> str:
        try:
            return Frequency.parse(text).text
        except SettingsError as error:
            raise ValueError(f"{error.message}; {error.hint}") from None


class ForecastSettings(Section):
    """What is forecast."""

    horizon: int = key(28, unit="steps", help="How far ahead a forecast reaches.", ge=1, le=1000)
    levels: list[Annotated[float, Field(gt=0, lt=100)]] = key(
        [80, 95], unit="percent", help="The levels of the prediction intervals."
    )


class TrainSettings(Section):
    """What is tried."""

    candidates: list[str] = key(
        ["seasonal_naive", "ets", "lightgbm"],
        help="The forecasters to try: built-in names, or 'module:Class' for your own.",
        min_length=1,
    )
    options: dict[str, dict[str, Any]] = key({}, help="Constructor parameters by candidate name.")
    history: int = key(0, unit="steps", help="How much of the past is read for training; 0 means all.", ge=0)
    threads: int = key(0, unit="threads", help="Threads used in training; 0 means all cores.", ge=0)


class GateSettings(Section):
    """What a candidate must show before it may be released."""

    min_skill: float = key(
        0.0, unit="share", help="Least improvement of the metric over the seasonal naive (0.05 means 5 % better)."
    )
    champion_margin: float = key(
        0.02, unit="share", help="How much worse than the champion's metric a candidate may be.", ge=0
    )
    max_bias: float = key(0.15, unit="share of actual sales", help="Largest absolute bias over all windows.", ge=0)
    coverage_tolerance: float = key(
        0.08, unit="share", help="How far an interval's coverage may lie from its level (0.08 means 8 points).", ge=0
    )
    slice_margin: float = key(
        0.05, unit="share", help="How much worse than the champion a store, department or the like may be.", ge=0
    )
    alpha: float = key(
        0.05, unit="probability", help="Bound on failing a candidate that is as good as the champion.", gt=0, lt=0.5
    )
    waive: dict[str, str] = key(
        {},
        help="Failures that are let pass: a gate's name or code, and the reason, which stays with the release.",
    )


class ValidateSettings(Section):
    """How a candidate is examined: a rolling-origin backtest, then gates."""

    windows: int = key(3, unit="windows", help="How many windows the backtest has.", ge=1)
    step: int = key(0, unit="steps", help="The distance between two windows' cutoffs; 0 means the horizon.", ge=0)
    mode: Literal["refit", "update"] = key(
        "refit", help="At each cutoff: fit anew, or fit at the first cutoff and update with the rows that came since."
    )
    metric: Literal["wape", "mase", "rmsse", "pinball"] = key("wape", help="The metric that ranks candidates.")
    slices: list[str] = key([], help="Static or series columns by whose values the metrics are also given.")
    gates: GateSettings = Field(default_factory=GateSettings, description="See `validate.gates`.")


class ReleaseSettings(Section):
    """How a release comes into charge."""

    rollout: Literal["direct", "shadow", "canary", "ab"] = key(
        "shadow",
        help="How a challenger is tried: not at all (direct), on every request beside the champion (shadow), or by "
        "answering a small share of the units (canary) or half of them (ab).",
    )
    canary_share: float = key(
        0.05, unit="share of the units", help="How much a challenger answers with rollout = 'canary'.", gt=0, lt=1
    )
    split_unit: str = key(
        "series",
        help="What traffic is split by: 'series', a column of the request such as a store or user, or 'header' for "
        "X-Everloop-Unit alone, which always goes before.",
        min_length=1,
        max_length=200,
    )
    alpha: float = key(0.05, unit="probability", help="Bound on promoting a challenger that is not better.", gt=0, lt=1)
    min_days: int = key(14, unit="days of truth", help="A trial is not decided before.", ge=2)
    max_days: int = key(42, unit="days of truth", help="A trial without a winner ends then; the champion stays.", ge=2)
    loss: str = key(
        "absolute",
        help="What an error costs when releases are compared: 'absolute', 'squared', 'pinball:Q' for a quantile, or "
        "'cost:OVER:UNDER', money for each unit forecast too much and too little.",
        pattern=r"^(absolute|squared|pinball:0?\.\d+|cost:\d+(\.\d+)?:\d+(\.\d+)?)$",
    )
    margin: float = key(
        0.0,
        unit="share of the champion's loss",
        help="A challenger that is surely not worse by more than this is promoted; 0 asks for a better one.",
        ge=0,
        lt=1,
    )
    cluster: str = key(
        "",
        help="What is independent when releases are compared: a column that names a series, such as the store, or "
        "'series'; empty takes the coarsest column with at least eight values.",
    )
    futility: float = key(
        0.02,
        unit="probability",
        help="A shadow trial ends when its chance to promote by max_days falls below this; 0 never ends it early.",
        ge=0,
        lt=1,
    )
    metric: str = key(
        "error",
        help="What decides an A/B test (rollout = 'ab'): 'error' of the forecasts, 'failures', 'outside' (truths "
        "outside the intervals), 'over' or 'under' (forecast too much or too little), or the name of a measurement.",
        min_length=1,
        max_length=100,
    )
    better: Literal["higher", "lower"] = key(
        "higher", help="Which way release.metric is better, where it is a measurement."
    )
    guardrails: list[str] = key(
        ["failures:0.01", "error:0.1"],
        help="What a challenger on a share of the traffic must not harm, each as 'NAME:MARGIN' or, for a measurement, "
        "'NAME:lower:MARGIN' or 'NAME:higher:MARGIN'. The margin is a share of the champion's value; for 'failures' "
        "and 'outside', which are shares, it is the difference.",
    )
    settle_days: int = key(
        1,
        unit="days",
        help="A day counts in a split comparison once so many whole days have passed since.",
        ge=0,
        le=60,
    )
    variance_reduction: Literal["before", "forecast", "none"] = key(
        "before",
        help="What makes a split comparison faster: each unit's own past (before), what was forecast for it before the "
        "split began (forecast), or nothing.",
    )
    rollback: Literal["auto", "off"] = key(
        "auto",
        help="Whether the previous champion takes over by itself when live errors have left the range that the release "
        "carries, and it would have done better; 'off' leaves it at the alert.",
    )
    rollback_cooldown_days: float = key(
        28.0, unit="days", help="After a rollback none follows by itself for so long.", ge=0
    )
    allow_pickle: bool = key(False, help="Load pickled models from bundles that this installation did not make.")
    trusted_pickles: list[str] = key(
        [],
        help="Pickled models that may be adopted and loaded: their sources as given to `everloop adopt`, or at least "
        "12 characters of a model's or release's digest.",
    )
    signing_key: str = key("", help="A file with an Ed25519 private key; each release that is made is signed with it.")
    trusted_keys: list[str] = key(
        [], help="Files with public keys; where any is named, servers load only releases signed with one of them."
    )


class RetrainSettings(Section):
    """What starts a retraining."""

    schedule: str = key("0 3 * * 1", unit="cron, UTC", help="When to retrain; empty means never by schedule.")
    on: list[Literal["decay", "drift"]] = key(["decay", "drift"], help="Findings that start a retraining.")
    cooldown_hours: float = key(
        72.0, unit="hours", help="A finding does not start a retraining sooner than this after the last one.", ge=0
    )

    @field_validator("schedule")
    @classmethod
    def _schedule_is_cron(cls, text: str) -> str:
        if text and len(text.split()) not in (5, 6):
            raise ValueError("expected five fields: minute hour day month weekday, such as '0 3 * * 1'")
        return text


class MonitorSettings(Section):
    """How live accuracy is watched."""

    window_days: int = key(28, unit="days", help="How far back live accuracy looks.", ge=1)
    max_decay: float = key(
        0.15,
        unit="share",
        help="Live error above the backtest's by more than this, beyond doubt, is decay.",
        ge=0,
    )
    alpha: float = key(0.05, unit="probability", help="The doubt that is left when decay is said.", gt=0, lt=1)
    min_outcomes: int = key(100, unit="outcomes", help="Fewer joined outcomes than this give no verdict.", ge=1)
    drift: bool = key(True, help="Whether inputs, forecasts and their errors are watched for drift.")
    false_alarms_per_year: float = key(
        0.05,
        unit="alarms/year",
        help="How often drift may be said where there is none, over all that is watched together: 0.05 means that one "
        "year in twenty brings a false alarm.",
        gt=0,
        le=12,
    )
    groups: str = key(
        "", help="A series or static column by whose values drift is also told, such as the store; empty means none."
    )
    max_groups: int = key(
        30, unit="groups", help="The most groups that are watched: the largest; more of them cost power.", ge=1, le=1000
    )
    leave_out: list[str] = key([], help="Columns that are not watched for drift.")
    period: Literal["", "1d", "1w"] = key(
        "",
        help="What one observation of drift covers: a day or a week. Empty means a day, or the step of the data where "
        "that is longer.",
    )


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
    swap_compare: SwapCompareSettings = Field(
        default_factory=SwapCompareSettings, description="See `serve.swap_compare`."
    )


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


class LoopSettings(Section):
    """The controller."""

    poll_seconds: float = key(30.0, unit="seconds", help="How often `everloop loop` ticks.", gt=0)
    lease_seconds: float = key(
        120.0, unit="seconds", help="How long a controller may be silent before another acts.", gt=0
    )


class StoreSettings(Section):
    """The control plane's database."""

    url: str = key(
        "sqlite:///.everloop/everloop.db", help="SQLite, or postgresql+psycopg://user@host/name to share it."
    )


class TrackingSettings(Section):
    """Experiment tracking."""

    uri: str = key("", help="MLflow's tracking URI; empty means SQLite and a folder below .everloop.")
    plots: bool = key(True, help="Whether a run stores its plots.")


class Settings(Section):
    """The whole of ``everloop.toml``."""

    project: ProjectSettings
    data: DataSettings = Field(default_factory=DataSettings)
    forecast: ForecastSettings = Field(default_factory=ForecastSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    validation: ValidateSettings = Field(default_factory=ValidateSettings, alias="validate")
    release: ReleaseSettings = Field(default_factory=ReleaseSettings)
    retrain: RetrainSettings = Field(default_factory=RetrainSettings)
    monitor: MonitorSettings = Field(default_factory=MonitorSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    access: AccessSettings = Field(default_factory=AccessSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    loop: LoopSettings = Field(default_factory=LoopSettings)
    store: StoreSettings = Field(default_factory=StoreSettings)
    tracking: TrackingSettings = Field(default_factory=TrackingSettings)
