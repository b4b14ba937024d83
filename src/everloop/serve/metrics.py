"""What the server measures of itself, for Prometheus."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

from everloop import __version__
from everloop.release.bundle import Release
from everloop.serve.tally import Cell, Family, HistogramCell, Tally
from everloop.store.records import Role

__all__ = ["FAMILIES", "Metrics"]

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)

REQUESTS = Family("everloop_requests", "Requests that were answered.", labels=("route", "method", "code"))
LATENCY = Family("everloop_request_seconds", "Time to the whole answer.", "histogram", ("route",), _SECONDS)
STAGES = Family(
    "everloop_stage_seconds",
    "Time of a prediction's stages: queue (until it is computed), validate, predict, store.",
    "histogram",
    ("stage",),
    _SECONDS,
)
IN_FLIGHT = Family("everloop_requests_in_flight", "Requests that are being answered.", "gauge")
FAILURES = Family("everloop_internal_failures", "Answers that failed by a fault of the server.")
REFUSED = Family("everloop_refused", "Requests refused before they reached a route, by error code.", labels=("error",))
ROWS = Family("everloop_rows", "Rows or series that were predicted.")
BATCH = Family("everloop_batch_rows", "Rows that were predicted in one call of the model.", "histogram", (), _SIZES)
STORED = Family("everloop_predictions_stored", "Predictions stored.")
LOST = Family("everloop_predictions_failed", "Predictions that could not be stored, and were not given.")
WAITING = Family("everloop_log_waiting", "Answers that wait for a commit of the log.", "gauge")
COMMIT = Family("everloop_log_commit_seconds", "Time of a commit of the log.", "histogram", (), _SECONDS)
COMMIT_ROWS = Family("everloop_log_commit_rows", "Predictions that shared a commit.", "histogram", (), _SIZES)
SPOOLED = Family("everloop_log_spooled", "Predictions kept in the buffer on disk, since the store did not take them.")
UNLOGGED = Family("everloop_log_unlogged", "Predictions given without being stored, as log.when_full allows.")
SPOOL = Family("everloop_log_spool_bytes", "Size of the buffer on disk.", "gauge")
LAG = Family("everloop_log_lag_seconds", "How long the oldest prediction has waited for the store.", "highest")
SWAPS = Family("everloop_swaps", "Releases or states swapped in.", labels=("role",))
SWAP_FAILURES = Family("everloop_swap_failures", "Releases or states that could not be loaded.", labels=("role",))
POLLS_FAILED = Family("everloop_poll_failures", "Looks at the store that failed.")
SHADOWS = Family("everloop_shadows", "Answers of the challenger for the record.", labels=("outcome",))
ANSWERED = Family("everloop_answers", "Predictions given, by who answered.", labels=("role",))
FALLBACKS = Family("everloop_fallbacks", "Answers by another than the one chosen.", labels=("reason",))
BREAKER = Family("everloop_breaker_open", "Whether a role's circuit breaker is open.", "highest", ("role",))
RELEASE = Family(
    "everloop_release_info", "The releases that are served.", "info", ("role", "release", "candidate", "version")
)
CUTOFF = Family(
    "everloop_data_cutoff_timestamp_seconds", "The newest instant of data that the champion knows.", "highest"
)

FAMILIES = (
    REQUESTS, LATENCY, STAGES, IN_FLIGHT, FAILURES, REFUSED, ROWS, BATCH, STORED, LOST, WAITING, COMMIT, COMMIT_ROWS,
    SPOOLED, UNLOGGED, SPOOL, LAG, SWAPS, SWAP_FAILURES, POLLS_FAILED, SHADOWS, ANSWERED, FALLBACKS, BREAKER, RELEASE,
    CUTOFF,
)  # fmt: skip


class Shown(Protocol):
    """What the metrics tell of a loaded release."""

    @property
    def release(self) -> Release:
        """The bundle."""

    @property
    def cutoff(self) -> datetime | None:
        """The last instant that the model knows, where it knows of time."""


class Metrics:
    """The metrics of one app; it is also the watcher of host, log and shadow.

    Args:
        folder: where all workers keep their numbers; ``None`` for one worker.

    Attributes:
        is_shared: whether there are several workers.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.is_shared = folder is not None
        self.tally = tally = Tally(FAMILIES, folder=folder)
        self.in_flight = tally.cell(IN_FLIGHT)
        self.failures = tally.cell(FAILURES)
        self.rows = tally.cell(ROWS)
        self.batch = tally.histogram(BATCH)
        self.waiting = tally.cell(WAITING)
        self.queue, self.validate, self.predict, self.store = (
            tally.histogram(STAGES, stage) for stage in ("queue", "validate", "predict", "store")
        )
        self._stored, self._lost = tally.cell(STORED), tally.cell(LOST)
        self._commit, self._commit_rows = tally.histogram(COMMIT), tally.histogram(COMMIT_ROWS)
        self._shown: dict[str, Cell] = {}
        self.cutoff = tally.cell(CUTOFF)

    def text(self) -> bytes:
        """The exposition of all metrics of all workers."""
        from prometheus_client import CollectorRegistry, generate_latest  # what no server needs before it answers

        registry = CollectorRegistry(auto_describe=False)
        registry.register(cast("Any", self.tally))  # all that it asks of a collector is to collect
        return generate_latest(registry)

    def requests(self, route: str, method: str, code: int) -> Cell:
        """The counter of a route's answers."""
        return self.tally.cell(REQUESTS, route, method, str(code))

    def latency(self, route: str) -> HistogramCell:
        """The histogram of a route's times."""
        return self.tally.histogram(LATENCY, route)

    def answered(self, role: str) -> Cell:
        """The counter of a role's predictions."""
        return self.tally.cell(ANSWERED, role)

    def refused(self, code: str) -> None:
        """A request was refused at the door."""
        self.tally.cell(REFUSED, code).add()

    def swapped(self, role: Role, served: Shown | None) -> None:
        """Another release or state answers for a role from now on, or none."""
        self.tally.cell(SWAPS, role).add()
        before = self._shown.pop(role, None)
        if before is not None:
            before.set(0)
        if served is None:
            return
        labels = (role, served.release.digest, served.release.manifest.candidate, __version__)
        self._shown[role] = self.tally.cell(RELEASE, *labels)
        self._shown[role].set(1)
        if role == "champion" and served.cutoff is not None:
            self.cutoff.set(served.cutoff.timestamp())

    def swap_failed(self, role: Role) -> None:
        """A release or state could not be loaded; the old one stays."""
        self.tally.cell(SWAP_FAILURES, role).add()

    def poll_failed(self) -> None:
        """The store did not answer."""
        self.tally.cell(POLLS_FAILED).add()

    def committed(self, rows: int, seconds: float) -> None:
        """So many predictions were stored by one commit."""
        self._stored.add(rows)
        self._commit.observe(seconds)
        self._commit_rows.observe(rows)

    def commit_failed(self, rows: int) -> None:
        """So many predictions could not be stored."""
        self._lost.add(rows)

    def spooled(self, rows: int) -> None:
        """So many predictions went to the buffer on disk."""
        self.tally.cell(SPOOLED).add(rows)

    def unlogged(self, rows: int) -> None:
        """So many predictions were given without being stored."""
        self.tally.cell(UNLOGGED).add(rows)

    def lagging(self, seconds: float, spool_bytes: int) -> None:
        """How long the oldest prediction has waited for the store, and how large the buffer on disk is."""
        self.tally.cell(LAG).set(seconds)
        self.tally.cell(SPOOL).set(spool_bytes)

    def shadowed(self, outcome: str) -> None:
        """A shadow was ``"computed"``, ``"dropped"`` or ``"failed"``."""
        self.tally.cell(SHADOWS, outcome).add()

    def fell_back(self, reason: str) -> None:
        """Another than the one chosen answered, since that one's answer failed by ``reason``."""
        self.tally.cell(FALLBACKS, reason).add()

    def breaker(self, role: str, *, is_open: bool) -> None:
        """A role's circuit breaker opened or closed."""
        self.tally.cell(BREAKER, role).set(float(is_open))
