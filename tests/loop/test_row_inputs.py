"""The inputs of stored answers, read back by column."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adopting import adopt, frame, project_at, saved
from everloop.core.errors import NotFoundError
from everloop.loop.row_inputs import inputs_of
from everloop.models.tabular.predictor import Rows
from everloop.serve.recording import encode_request
from everloop.store.engine import open_store
from everloop.store.facts import Prediction

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_inputs_are_read_back_by_column(tmp_path: Path) -> None:
    project = project_at(tmp_path / "shop")
    with closing(open_store(project.store_url, fsync=False)) as store:
        release = adopt(project, store, saved(tmp_path / "model")).digest
    rows = frame(n=3)
    kept = {
        "infer": encode_request(Rows(3, rows.to_numpy()), {}),
        "invocations": msgspec.json.encode(
            {"dataframe_split": {"columns": ["price", "stock", "age"], "data": [[1, 2, 3]]}}
        ),
    }
    read = inputs_of(project, release)
    assert read is not None

    def answer(kind: str, request: bytes) -> Prediction:
        return Prediction("p", NOW, release, "", "champion", kind, None, NOW, NOW, request, b"")

    found = read(answer("infer", kept["infer"]))
    assert list(found) == ["price", "stock", "age"]
    np.testing.assert_array_equal(found["stock"], rows["stock"])
    assert {name: values.tolist() for name, values in read(answer("invocations", kept["invocations"])).items()} == {
        "price": [1.0], "stock": [2.0], "age": [3.0],
    }  # fmt: skip
    assert read(answer("infer", b"")) == {}  # not kept
    assert read(answer("infer", b"cut")) == {}  # damaged
    with pytest.raises(NotFoundError):
        inputs_of(project, "0" * 64)
