"""A release as plain MLflow sees it: another process, which imports MLflow and nothing of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from everloop.core.clock import SystemClock
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.models.forecaster import ForecastRequest
from everloop.release.bundle import Release, load_model
from everloop.release.promotion import promote
from everloop.store.engine import open_store

SCRIPT = """
import json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
series = pd.DataFrame({"store": ["S0", "S1"], "item": ["I000", "I001"]})
ahead = pd.DataFrame({"store": ["S1"], "item": ["I001"], "date": [pd.Timestamp("2011-01-28")], "price": [2.0]})
text = ahead.assign(date="2011-01-28")
answers = {}
for place in sys.argv[2:]:
    model = mlflow.pyfunc.load_model(place)
    answers[place] = {
        "all": model.predict(series).to_dict("list"),
        "short": model.predict(series, params={"horizon": 2, "levels": [80.0]}).to_dict("list"),
        "one": model.predict(ahead).to_dict("list"),
        "text": model.predict(text).to_dict("list"),
        "inputs": model.metadata.get_input_schema().input_names(),
        "outputs": [each["name"] for each in model.metadata.get_output_schema().to_dict()],
        "params": [each["name"] for each in model.metadata.get_params_schema().to_dict()],
    }
try:
    mlflow.pyfunc.load_model(sys.argv[-1]).predict(series.rename(columns={"store": "shop"}))
    answers["error"] = ""
except Exception as error:
    answers["error"] = str(error)
print(json.dumps(answers))
"""


def test_plain_mlflow_loads_it_from_the_folder_and_from_the_registry(
    make_project: Callable[..., Project],
    make_panel: Callable[..., Panel],
    release_of: Callable[..., Release],
    tmp_path: Path,
) -> None:
    project = make_project("train.options={lightgbm={trees=20}}", "validate.gates.min_skill=-9")
    release = release_of(project, make_panel(), candidate="lightgbm")
    store = open_store(project.store_url)
    promote(project, store, SystemClock(), release.digest, reason="first", actor="test")
    store.close()
    places = [str(release.folder), "models:/demand@champion", f"runs:/{release.manifest.run_id}/release"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, project.tracking_uri, *places],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])

    ours = load_model(release)
    expected = ours.forecast(ForecastRequest(14, (80.0, 95.0)))
    panel = ours.series_panel()
    rows = [panel.position(("S0", "I000")), panel.position(("S1", "I001"))]
    for place in places:
        answer = answers[place]
        assert answer["all"]["forecast"] == expected.mean[rows].ravel().tolist()
        assert answer["all"]["hi-95"] == expected.upper[95.0][rows].ravel().tolist()
        assert answer["all"]["date"][:2] == ["2011-01-27", "2011-01-28"]
        assert answer["short"]["forecast"] == expected.mean[rows, :2].ravel().tolist()
        assert set(answer["short"]) == {"store", "item", "date", "forecast", "lo-80", "hi-80"}
        assert len(answer["one"]["forecast"]) == 1
        assert answer["one"]["forecast"][0] != expected.mean[rows[1], 1]  # another price, another forecast
        assert answer["text"] == answer["one"]
        assert answer["inputs"] == ["store", "item", "date", "price"]
        assert answer["outputs"] == list(answer["all"])
        assert answer["params"] == ["horizon", "levels"]
    assert "store" in answers["error"]


def test_a_changed_bundle_does_not_load(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel], release_of: Callable[..., Release]
) -> None:
    from everloop.core.errors import IntegrityError
    from everloop.release.pyfunc import _load_pyfunc

    release = release_of(make_project(), make_panel())
    (release.folder / "model" / "model.json").write_text("{}")
    with pytest.raises(IntegrityError):
        _load_pyfunc(str(release.folder))
