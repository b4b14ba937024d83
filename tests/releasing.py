"""Releasing a candidate of the synthetic shop, as a retraining does."""

from __future__ import annotations

from datetime import UTC, datetime

from everloop.core.clock import ManualClock
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.lineage import collect_lineage
from everloop.experiment.tracking import open_tracker
from everloop.experiment.training import fit_candidate
from everloop.release.build import build_release
from everloop.release.bundle import Release
from everloop.release.manifest import Dataset
from everloop.store.engine import open_store
from everloop.validate.examination import BASELINE, Shared, backtest_candidate, examine

NOW = datetime(2011, 12, 9, 3, tzinfo=UTC)
DATASET = Dataset(version=1, digest="d" * 64, rows=1920)


def release_once(project: Project, panel: Panel, *, now: datetime = NOW, candidate: str = BASELINE) -> Release:
    """Examine, fit and release a candidate, as a retraining does."""
    clock = ManualClock(now)
    tracker = open_tracker(project, clock=clock)
    store = open_store(project.store_url, fsync=False)
    try:
        lineage = collect_lineage(project)
        baseline = backtest_candidate(project, panel, BASELINE)
        found = examine(candidate, Shared(project, panel, DATASET, tracker, lineage, baseline))
        return build_release(
            project,
            clock,
            examination=found,
            fitted=fit_candidate(project, panel, candidate),
            panel=panel,
            dataset=DATASET,
            lineage=lineage,
            tracker=tracker,
            store=store,
        )
    finally:
        store.close()
