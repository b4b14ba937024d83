"""What the server measures of itself, for Prometheus.

With several workers each keeps its numbers in files below ``PROMETHEUS_MULTIPROC_DIR``, and any of them answers for
all (https://prometheus.github.io/client_python/multiprocess/).
"""

from __future__ import annotations

import os
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from everloop import __version__
from everloop.serve.served import Served
from everloop.store.deployments import Role

__all__ = ["CONTENT_TYPE", "Metrics"]

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


class Metrics:
    """The metrics of one app, in a registry of its own; it is also the watcher of host, log and shadow."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "everloop_requests", "Requests that were answered.", ("route", "method", "code"), registry=registry
        )
        self.latency = Histogram(
            "everloop_request_seconds", "Time to the whole answer.", ("route",), buckets=_SECONDS, registry=registry
        )
        self.in_flight = Gauge(
            "everloop_requests_in_flight",
            "Requests that are being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.failures = Counter(
            "everloop_internal_failures", "Answers that failed by a fault of the server.", registry=registry
        )
        self.predictions = Counter("everloop_predictions_stored", "Predictions stored.", registry=registry)
        self.lost = Counter(
            "everloop_predictions_failed",
            "Predictions that could not be stored, and were not given.",
            registry=registry,
        )
        self.log_waiting = Gauge(
            "everloop_log_waiting",
            "Answers that wait for a commit of the log.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.commit = Histogram(
            "everloop_log_commit_seconds", "Time of a commit of the log.", buckets=_SECONDS, registry=registry
        )
        self.commit_rows = Histogram(
            "everloop_log_commit_rows",
            "Predictions that shared a commit.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=registry,
        )
        self.swaps = Counter("everloop_swaps", "Releases or states swapped in.", ("role",), registry=registry)
        self.swap_failures = Counter(
            "everloop_swap_failures", "Releases or states that could not be loaded.", ("role",), registry=registry
        )
        self.polls_failed = Counter("everloop_poll_failures", "Looks at the store that failed.", registry=registry)
        self.shadows = Counter(
            "everloop_shadows", "Answers of the challenger for the record.", ("outcome",), registry=registry
        )
        self.release = Gauge(
            "everloop_release_info",
            "The releases that are served, by role.",
            ("role", "release", "candidate", "version"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.cutoff_age = Gauge(
            "everloop_data_cutoff_age_seconds",
            "How old the newest data are that the champion knows.",
            registry=registry,
            multiprocess_mode="livemostrecent",  # each worker tells it when it is asked, and only then
        )
        self._shown: dict[Role, tuple[str, str, str, str]] = {}

    def text(self, now: datetime, *, champion: Served | None) -> bytes:
        """The exposition of all metrics."""
        if champion is not None:
            self.cutoff_age.set((now - champion.cutoff).total_seconds())
        if os.environ.get(MULTIPROCESS_FOLDER):
            shared = CollectorRegistry()
            MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
            return generate_latest(shared)
        return generate_latest(self.registry)

    def swapped(self, role: Role, served: Served | None) -> None:
        """Another release or state answers for a role."""
        self.swaps.labels(role).inc()
        before = self._shown.pop(role, None)
        if before is not None:
            # a worker's label sets cannot be removed from the shared files, so a past one is set to 0 there
            self.release.labels(*before).set(0)
            if not os.environ.get(MULTIPROCESS_FOLDER):
                self.release.remove(*before)
        if served is not None:
            labels = (role, served.release.digest, served.release.manifest.candidate, __version__)
            self.release.labels(*labels).set(1)
            self._shown[role] = labels

    def swap_failed(self, role: Role) -> None:
        """A release or state could not be loaded."""
        self.swap_failures.labels(role).inc()

    def poll_failed(self) -> None:
        """The store did not answer."""
        self.polls_failed.inc()

    def committed(self, rows: int, seconds: float) -> None:
        """Predictions were stored."""
        self.predictions.inc(rows)
        self.commit.observe(seconds)
        self.commit_rows.observe(rows)

    def commit_failed(self, rows: int) -> None:
        """Predictions could not be stored."""
        self.lost.inc(rows)

    def shadowed(self, outcome: str) -> None:
        """What became of a shadow."""
        self.shadows.labels(outcome).inc()
