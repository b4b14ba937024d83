"""What the monitor found, for Prometheus: read from the store when metrics are asked for.

The server computes none of it. Series of metrics come and go with columns and alerts, so they are made anew for every
scrape rather than counted in cells.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from everloop.core.errors import EverloopError
from everloop.serve.log.outage import local_alerts
from everloop.serve.log.spool import spool_folder
from everloop.serve.service import Service
from everloop.serve.tally import Family
from everloop.store.alerts import Alert, open_alerts
from everloop.store.engine import Store
from everloop.store.standing import DriftStanding, LiveStanding, drift_standing, live_standing

__all__ = ["STANDING_FAMILIES", "Standing", "read_standing", "standing_text"]

_PATIENCE_SECONDS = 2.0

READ = Family("everloop_monitor_readable", "Whether what the monitor found could be read from the store.", "gauge")
ALERT_OPEN = Family("everloop_alert_open", "1 for each open alert.", "gauge", ("code",))
ALERT_SINCE = Family("everloop_alert_since_timestamp_seconds", "When an open alert began.", "gauge", ("code",))
_STREAM = ("column", "kind", "aspect")
DRIFT_RATIO = Family(
    "everloop_drift_evidence_ratio",
    "Logarithm of the evidence that a watched column has changed, over that of the threshold: from 1 on it is reached.",
    "gauge",
    _STREAM,
)
DRIFT_SINCE = Family(
    "everloop_drift_since_timestamp_seconds", "First day of a change that is an alarm now.", "gauge", _STREAM
)
DRIFT_LOOKED = Family("everloop_drift_looked_timestamp_seconds", "When the monitor last looked for drift.", "gauge")
_LEVEL = ("kind", "steps")
LIVE_LEVEL = Family("everloop_live_level", "Live error, bias or coverage over the last judged days.", "gauge", _LEVEL)
LIVE_LOWER = Family("everloop_live_lower_bound", "Lower end of the range that is expected of it.", "gauge", _LEVEL)
LIVE_UPPER = Family("everloop_live_upper_bound", "Upper end of the range that is expected of it.", "gauge", _LEVEL)
LIVE_OUT = Family(
    "everloop_live_out", "1 where it is surely above its range, -1 below, 0 where it is not.", "gauge", _LEVEL
)
LIVE_LOOKED = Family("everloop_live_looked_timestamp_seconds", "When the monitor last looked at live errors.", "gauge")

STANDING_FAMILIES = (
    READ, ALERT_OPEN, ALERT_SINCE, DRIFT_RATIO, DRIFT_SINCE, DRIFT_LOOKED, LIVE_LEVEL, LIVE_LOWER, LIVE_UPPER, LIVE_OUT,
    LIVE_LOOKED,
)  # fmt: skip

_SIDES = {"above": 1.0, "below": -1.0}


@dataclass(frozen=True, slots=True)
class Standing:
    """What was read.

    Attributes:
        is_read: whether the store answered; alerts of this machine are told anyway.
        alerts: the open ones.
        drift: what the newest look at drift came to.
        live: what the newest look at live errors came to.
    """

    is_read: bool
    alerts: list[Alert] = field(default_factory=list)
    drift: DriftStanding | None = None
    live: LiveStanding | None = None


def read_standing(store: Store, spool: Path) -> Standing:
    """Read what the monitor found, and what the workers of this machine say of the store.

    Args:
        store: the store.
        spool: the folder of the prediction log's buffer.
    """
    local = local_alerts(spool)
    try:
        with store.read() as tx:
            return Standing(True, [*open_alerts(tx), *local], drift_standing(tx), live_standing(tx))
    except EverloopError:
        return Standing(False, local)


async def standing_text(service: Service) -> bytes:
    """The exposition of what the monitor found; a store that does not answer holds a scrape up for two seconds."""
    read = partial(read_standing, service.store, spool_folder(service.project))
    found = Standing(False)
    with contextlib.suppress(TimeoutError):
        found = await asyncio.wait_for(service.in_thread(read), _PATIENCE_SECONDS)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(found))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        """Every family, also one without a series, in the order of the reference."""
        samples = dict(_samples(self._standing))
        for family in STANDING_FAMILIES:
            metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for labels, value in samples.get(family, {}).items():
                metric.add_metric(labels, value)
            yield metric


_Series = dict[tuple[str, ...], float]


def _samples(standing: Standing) -> Iterator[tuple[Family, _Series]]:
    yield READ, {(): float(standing.is_read)}
    since: dict[str, datetime] = {}
    for alert in standing.alerts:
        since[alert.code] = min(alert.since, since.get(alert.code, alert.since))
    yield ALERT_OPEN, {(code,): 1.0 for code in since}
    yield ALERT_SINCE, {(code,): at.timestamp() for code, at in since.items()}
    if standing.drift is not None:
        yield from _of_drift(standing.drift)
    if standing.live is not None:
        yield from _of_live(standing.live)


def _of_drift(drift: DriftStanding) -> Iterator[tuple[Family, _Series]]:
    yield DRIFT_LOOKED, {(): drift.at.timestamp()}
    yield DRIFT_RATIO, {(each.column, each.kind, each.aspect): each.ratio for each in drift.columns}
    yield (
        DRIFT_SINCE,
        {(each.column, each.kind, each.aspect): _start(each.since) for each in drift.columns if each.since},
    )


def _of_live(live: LiveStanding) -> Iterator[tuple[Family, _Series]]:
    yield LIVE_LOOKED, {(): live.at.timestamp()}
    for family, name in ((LIVE_LEVEL, "live"), (LIVE_LOWER, "lower"), (LIVE_UPPER, "upper")):
        values = {(each.kind, each.steps): getattr(each, name) for each in live.levels}
        yield family, {labels: value for labels, value in values.items() if value is not None}
    judged = [each for each in live.levels if each.verdict != "cannot tell"]
    yield LIVE_OUT, {(each.kind, each.steps): _SIDES.get(each.verdict, 0.0) for each in judged}


def _start(day: str) -> float:
    return datetime.combine(date.fromisoformat(day), time(0), tzinfo=UTC).timestamp()
