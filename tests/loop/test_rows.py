"""The loop in a project of adopted models: nothing to ingest, but answers and their truth to watch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from adopting import adopt, project_at, saved
from everloop.core.clock import ManualClock
from everloop.loop.context import LoopContext
from everloop.loop.tick import tick
from everloop.store.alerts import open_alerts
from everloop.store.deployments import deploy
from everloop.store.engine import Store, open_store
from everloop.store.evidence import list_evidence
from everloop.store.facts import Prediction, add_predictions
from everloop.store.row_outcomes import RowOutcome, add_row_outcomes
from everloop.store.row_values import pack_rows

FIRST = datetime(2026, 3, 1, 9, tzinfo=UTC)


def answer_days(store: Store, release: str, first: int, last: int, *, size: float = 1.0) -> None:
    for day in range(first, last):
        rng = np.random.default_rng(day)
        at = FIRST + timedelta(days=day)
        truth = rng.normal(100, 20, 20)
        said = pack_rows({"prediction": truth + size * rng.standard_normal(20)})
        row = Prediction(f"p{day}", at, release, "", "champion", "infer", None, at, at, b"{}", said, None, None)
        told = [
            RowOutcome(at + timedelta(hours=2), row.id, place, float(value), None, None, "test")
            for place, value in enumerate(truth)
        ]
        with store.write() as tx:
            add_predictions(tx, [row])
            add_row_outcomes(tx, told)


def test_a_model_that_gets_worse_raises_an_alert_and_no_stage_fails(tmp_path: Path) -> None:
    project = project_at(tmp_path / "shop", "tracking.plots=false")
    store = open_store(project.store_url, fsync=False)
    clock = ManualClock(FIRST)
    context = LoopContext(project, store, clock, "test")
    assert tick(context).failures == [], "nobody in charge yet"
    release = adopt(project, store, saved(tmp_path / "model")).digest
    with store.write() as tx:
        deploy(tx, "champion", release, at=FIRST, reason="test")

    def codes_on(day: int) -> list[str]:
        clock.set(FIRST + timedelta(days=day))
        assert tick(context).failures == []
        with store.read() as tx:
            return [alert.code for alert in open_alerts(tx)]

    answer_days(store, release, 0, 50)
    assert codes_on(50) == []
    answer_days(store, release, 50, 80, size=3.0)
    assert codes_on(80) == ["live_range"]
    assert codes_on(81) == ["live_range"]
    with store.read() as tx:
        (kept,) = list_evidence(tx, kinds=("live",), subject=release)
    assert kept.verdict in ("above", "left")
    store.close()
