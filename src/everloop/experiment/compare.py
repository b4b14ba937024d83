"""Runs ranked beside each other, and which of them may be compared at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from everloop.core.errors import UsageError, nearest

if TYPE_CHECKING:
    # MLflow takes three seconds to import; the records here need not pay them
    from mlflow.entities import Run

    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["RankedRun", "rank_runs"]

_METRICS = ("wape", "mase", "rmsse", "pinball", "wrmsse", "wspl", "cost", "bias")


@dataclass(frozen=True, slots=True)
class RankedRun:
    """One examined candidate.

    Attributes:
        run_id: the MLflow run.
        candidate: the candidate's name.
        started_at: when.
        metric: the metric that ranks.
        value: its value, lower is better (of the bias, nearer to zero).
        skill: how much better than the seasonal naive on the same data and windows: 0.1 means 10 %.
        is_comparable: whether data and windows are those of the newest run; others are listed after.
        dataset_version: the version of the data.
        gates: ``"passed"``, or ``"failed: ..."``.
        release: the digest of the release that was made of it, empty where there is none.
        wape: its WAPE, where it has one.
        cost: what orders by it cost for each unit sold, where costs were set.
    """

    run_id: str
    candidate: str
    started_at: datetime
    metric: str
    value: float
    skill: float | None
    is_comparable: bool
    dataset_version: int
    gates: str
    release: str
    wape: float | None
    cost: float | None


def rank_runs(tracker: Tracker, *, metric: str | None = None, limit: int = 20) -> list[RankedRun]:
    """The finished runs, the best first; those that cannot be compared with the newest one come after.

    Two runs are comparable when the content of their data and the windows of their backtest are the same.

    Args:
        tracker: the project's runs.
        metric: what to rank by; ``validate.metric`` by default.
        limit: how many at most.

    Raises:
        UsageError: there is no such metric.
        UnavailableError: MLflow is away.
    """
    metric = metric or tracker.project.settings.validation.metric
    if metric not in _METRICS:
        raise UsageError("metric_unknown", f"{metric!r} ranks nothing", hint=nearest(metric, _METRICS))
    runs = [
        run
        for run in tracker.runs("attributes.status = 'FINISHED'")
        if metric in run.data.metrics and "everloop.comparable" in run.data.tags
    ]
    if not runs:
        return []
    newest = runs[0].data.tags["everloop.comparable"]
    ranked = [_ranked(run, metric, newest) for run in runs]
    ranked.sort(key=lambda run: (not run.is_comparable, abs(run.value), -run.started_at.timestamp()))
    return ranked[:limit]


def _ranked(run: Run, metric: str, newest: str) -> RankedRun:
    tags, metrics = run.data.tags, run.data.metrics
    return RankedRun(
        run_id=str(run.info.run_id),
        candidate=tags.get("everloop.candidate", ""),
        started_at=datetime.fromtimestamp((run.info.start_time or 0) / 1000, UTC),
        metric=metric,
        value=float(metrics[metric]),
        skill=metrics.get(f"skill/{metric}"),
        is_comparable=tags["everloop.comparable"] == newest,
        dataset_version=int(tags.get("everloop.dataset_version", 0)),
        gates=tags.get("everloop.gates", ""),
        release=tags.get("everloop.release", ""),
        wape=metrics.get("wape"),
        cost=metrics.get("cost"),
    )
