"""The constant answers of a release of rows."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from adopting import adopt, project_at, saved
from everloop.core.errors import ModelError, UsageError
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Output, Signature
from everloop.release.baseline import BASELINE_FILE, write_baseline
from everloop.serve.baseline import constant_baseline
from everloop.store.engine import open_store

SIGNATURE = Signature(
    outputs=(Output("label", "object"), Output("probability", "float64", (2,)), Output("count", "int64"))
)


def test_each_output_gets_its_value(tmp_path: Path) -> None:
    write_baseline(tmp_path, SIGNATURE, {"label": "no", "probability": "0.9,0.1", "count": "3"})
    tree = json.loads((tmp_path / BASELINE_FILE).read_text())
    assert tree == {"outputs": {"label": "no", "probability": [0.9, 0.1], "count": 3}}


def test_a_release_with_a_baseline_is_another_and_answers_by_it(tmp_path: Path) -> None:
    project = project_at(tmp_path / "shop")
    with closing(open_store(project.store_url)) as store:
        plain = adopt(project, store, saved(tmp_path / "model"))
        secured = adopt(project, store, tmp_path / "model", baseline={"prediction": "2.5"})
        again = adopt(project, store, tmp_path / "model", baseline={"prediction": "2.5"})
    assert plain.digest != secured.digest == again.digest
    constant = constant_baseline(secured)
    assert constant.predict(Rows(3), {})["prediction"].tolist() == [2.5, 2.5, 2.5]
    with pytest.raises(ModelError, match="holds no"):
        constant_baseline(plain)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label": "no", "probability": "0.9,0.1"}, "nothing of the output 'count'"),
        ({"labels": "no"}, "no output 'labels'"),
        ({"label": "no", "probability": "0.9", "count": "3"}, "2 values a row, not 1"),
        ({"label": "no", "probability": "a,b", "count": "3"}, "is no float64"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        write_baseline(tmp_path, SIGNATURE, given)
    assert not list(tmp_path.iterdir())
