"""A served model is compiled once the server answers, unless the settings say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from adopting import CLOCK, adopt, frame, project_at, saved
from everloop.models.compiled import machine
from everloop.serve.host import Host
from everloop.serve.metrics import Metrics
from everloop.serve.tabular.served import ServedRows
from everloop.store.deployments import deploy
from everloop.store.engine import open_store
from models.tabular.oracle import rows_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not machine.is_available(), reason="no compiler for this machine")


@pytest.mark.parametrize("is_on", [True, False])
def test_the_follower_compiles_what_is_served(tmp_path: Path, is_on: bool, until: Callable[..., object]) -> None:
    project = project_at(tmp_path / "shop", "serve.poll_seconds=0.01", f"serve.compile={str(is_on).lower()}")
    with closing(open_store(project.store_url, fsync=False)) as store:
        release = adopt(project, store, saved(tmp_path / "model")).digest
        with store.write() as tx:
            deploy(tx, "champion", release, at=NOW, reason="test")
        host = Host(project, store, CLOCK, Metrics())
        host.refresh()
        served = host.serving.champion
        assert isinstance(served, ServedRows)
        assert served.way == ""
        rows = rows_of(frame(n=90, seed=9), served.signature)
        before = served.predictor.predict(rows, {})["prediction"]
        host.start()
        try:
            if is_on:
                until(lambda: "compiled: " in served.way)
            else:
                with store.write() as tx:
                    deploy(tx, "challenger", release, at=NOW, reason="test")
                until(lambda: host.serving.challenger is not None)
        finally:
            host.stop()
        assert (served.way != "") == is_on
        np.testing.assert_array_equal(served.predictor.predict(rows, {})["prediction"], before)
