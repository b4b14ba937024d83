"""What came of a model of rows' answer, as a trace shows it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from adopting import adopt, frame, project_at, saved
from everloop.cli.trace import _outcomes
from everloop.loop.trace import trace_prediction
from everloop.models.tabular.predictor import Rows
from everloop.serve.recording import encode_request
from everloop.store.engine import open_store
from everloop.store.facts import Prediction, add_predictions
from everloop.store.row_outcomes import RowOutcome, add_row_outcomes
from everloop.store.row_values import pack_rows

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_rows_beside_their_truth_also_for_the_shadow(tmp_path: Path) -> None:
    project = project_at(tmp_path / "shop")
    with closing(open_store(project.store_url, fsync=False)) as store:
        release = adopt(project, store, saved(tmp_path / "model")).digest
        request = encode_request(Rows(2, frame(n=2).to_numpy()), {})
        packed = pack_rows({"prediction": np.array([1.5, 2.5])})

        def answer(name: str, role: str, twin: str | None) -> Prediction:
            return Prediction(name, NOW, release, "", role, "infer", twin, NOW, NOW, request, packed)

        def told(value: float, hours: int) -> RowOutcome:
            return RowOutcome(NOW + timedelta(hours=hours), "given", 1, value, None, None, "test")

        with store.write() as tx:
            add_predictions(tx, [answer("given", "champion", None), answer("shadow", "shadow", "given")])
            add_row_outcomes(tx, [told(3, 1), told(4, 2)])
        found: list[dict[str, Any]] = [
            trace_prediction(project, store, name).to_dict()["outcomes"] for name in ("given", "shadow")
        ]
    assert found[0] == found[1]
    assert (found[0]["known"], found[0]["expected"]) == (1, 2)
    (case,) = found[0]["cases"]
    assert (case["row"], case["predicted"], case["actual"], case["earlier"]) == (1, {"prediction": 2.5}, 4.0, [3.0])
    assert _outcomes(found[0]) == "1 of 2 known; row 1: said 2.5, was 4 (before: 3)"
