"""The rehearsal: what is served is what was trained, within limits, and what fails it is not promoted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adopting import adopt, project_at, saved
from everloop.core.clock import ManualClock
from everloop.core.errors import GateError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.training import fit_candidate
from everloop.models.forecaster import Forecast, Forecaster, ForecastRequest
from everloop.release.bundle import Release, examples_of
from everloop.release.promotion import promote
from everloop.release.rehearsed import last_rehearsal, rehearsed_gates
from everloop.staging import measuring
from everloop.staging.fresh import measure_afresh
from everloop.staging.rehearsal import rehearse, rehearse_once
from everloop.staging.trained import mlflow_rows
from everloop.store.engine import Store, open_store
from everloop.validate.examination import BASELINE
from releasing import NOW, release_once

CLOCK = ManualClock(NOW)


class Shifted:
    """A model that says a little more than it should: what a faulty saving would look like."""

    def __init__(self, model: Forecaster) -> None:
        self.model = model

    def series_panel(self) -> Panel:
        return self.model.series_panel()

    def __getattr__(self, name: str) -> object:
        return getattr(self.model, name)

    def forecast(self, request: ForecastRequest) -> Forecast:
        answer = self.model.forecast(request)
        return replace(answer, mean=np.nextafter(answer.mean, np.inf))


@pytest.fixture
def shop(make_project: Callable[..., Project], make_panel: Callable[..., Panel]) -> Iterator[tuple[Project, Store]]:
    project = make_project()
    store = open_store(project.store_url, fsync=False)
    yield project, store
    store.close()


@pytest.fixture
def release(shop: tuple[Project, Store], make_panel: Callable[..., Panel]) -> Release:
    return release_once(shop[0], make_panel(seed=1))


def limited(project: Project, **limits: object) -> Project:
    gates = project.settings.validation.gates.model_copy(update=limits)
    validation = project.settings.validation.model_copy(update={"gates": gates})
    return replace(project, settings=project.settings.model_copy(update={"validation": validation}))


def test_what_is_served_is_what_was_trained(
    shop: tuple[Project, Store], release: Release, make_panel: Callable[..., Panel]
) -> None:
    project, store = shop
    fitted = fit_candidate(project, make_panel(seed=1), BASELINE)
    [gate] = rehearse(project, store, CLOCK, release, trained=fitted.model)
    assert gate.passed
    assert gate.evidence["ways"] == ["by the model", "from the snapshot"]
    assert gate.evidence["largest"] == 0


def test_a_last_bit_that_differs_stops_the_promotion(
    shop: tuple[Project, Store], release: Release, make_panel: Callable[..., Panel]
) -> None:
    project, store = shop
    fitted = fit_candidate(project, make_panel(seed=1), BASELINE)
    [gate] = rehearse(project, store, CLOCK, release, trained=Shifted(fitted.model))  # type: ignore[arg-type]
    assert gate.blocks
    assert "differ from the trained model's" in gate.message
    with pytest.raises(GateError) as caught:
        promote(project, store, CLOCK, release.digest, reason="because", actor="test")
    assert caught.value.code == "gates_failed"
    assert "serves_as_trained" in caught.value.message


def test_timings_stay_out_of_the_release(shop: tuple[Project, Store], release: Release) -> None:
    project, store = shop
    manifest = (release.folder / "manifest.json").read_bytes()
    rehearse(project, store, CLOCK, release, is_timed=True)
    assert (release.folder / "manifest.json").read_bytes() == manifest
    with store.read() as tx:
        record = last_rehearsal(tx, release.digest)
    assert record is not None
    assert record["figures"]["p95_ms"] > 0
    assert record["figures"]["peak_mb"] >= record["figures"]["before_mb"] > 10
    assert [len(each) for each in record["measured"]["rounds"]] == [100] * 3


def test_limits_are_judged_anew_without_measuring_again(
    shop: tuple[Project, Store], release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = shop
    assert all(gate.passed for gate in rehearse(project, store, CLOCK, release, is_timed=True))
    monkeypatch.setattr(measuring, "load_release", None)
    strict = limited(project, max_latency_ms=1e-6, max_memory_mb=1.0)
    found = {gate.code: gate for gate in rehearse_once(strict, store, CLOCK, release)}
    assert [code for code, gate in found.items() if gate.blocks] == ["G_LATENCY", "G_MEMORY"]
    with pytest.raises(GateError, match="latency, memory"):
        promote(strict, store, CLOCK, release.digest, reason="because", actor="test")
    reasons = {"G_LATENCY": "nobody waits for it", "memory": "the machine has plenty"}
    rehearse_once(limited(strict, waive=reasons), store, CLOCK, release)
    with store.read() as tx:
        kept = {gate["code"]: gate["waived"] for gate in rehearsed_gates(tx, release.digest)}
    assert kept == {"G_PARITY": "", "G_LATENCY": "nobody waits for it", "G_MEMORY": "the machine has plenty"}
    assert promote(strict, store, CLOCK, release.digest, reason="because", actor="test").changed


def test_a_limit_set_later_measures(shop: tuple[Project, Store], release: Release) -> None:
    project, store = shop
    rehearse(project, store, CLOCK, release)
    found = rehearse_once(limited(project, max_latency_ms=60_000.0), store, CLOCK, release)
    assert [gate.code for gate in found] == ["G_PARITY", "G_LATENCY"]
    assert all(gate.passed for gate in found)


def test_a_model_that_cannot_be_loaded_is_told(shop: tuple[Project, Store], release: Release) -> None:
    project, store = shop
    next(path for path in (release.folder / "model").iterdir() if path.is_file()).write_bytes(b"broken")
    [gate] = rehearse(project, store, CLOCK, release)
    assert gate.blocks
    assert "cannot be served" in gate.message


def test_a_process_that_dies_is_a_failure(
    shop: tuple[Project, Store], release: Release, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert "ended with status 1" in measure_afresh(shop[0], release.digest).failure


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[tuple[Project, Store]]:
    project = project_at(tmp_path / "rows")
    store = open_store(project.store_url, fsync=False)
    yield project, store
    store.close()


def test_a_model_of_rows_is_held_against_what_mlflow_answers(rows: tuple[Project, Store], tmp_path: Path) -> None:
    project, store = rows
    example = {"price": [1.5, None], "stock": [0.25, -1.0], "age": [3.0, 2.0]}
    path = tmp_path / "example.json"
    path.write_text('[{"price": 1.5, "stock": 0.25, "age": 3.0}, {"price": null, "stock": -1.0, "age": 2.0}]')
    release = adopt(project, store, saved(tmp_path / "model"), example=path)
    assert examples_of(release) == example
    [gate] = rehearse(project, store, CLOCK, release)
    assert gate.passed, gate.message
    assert gate.evidence["ways"] == ["alone", "together"]
    assert gate.evidence["n"] == 4
    timed = rehearse(limited(project, max_latency_ms=10_000.0), store, CLOCK, release)
    assert [each.code for each in timed] == ["G_PARITY", "G_LATENCY"]


def test_another_model_than_the_recorded_one_is_found(
    rows: tuple[Project, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = rows
    path = tmp_path / "example.csv"
    path.write_text("price,stock,age\n1.5,0.25,3.0\n-2,0,1\n")
    one = adopt(project, store, saved(tmp_path / "one"), example=path)
    two = adopt(project, store, saved(tmp_path / "two", seed=5), example=path)
    monkeypatch.setattr("everloop.staging.rehearsal.mlflow_rows", lambda release: mlflow_rows(two))
    [gate] = rehearse(project, store, CLOCK, one)
    assert gate.blocks
    assert "served alone" in gate.message


def test_without_examples_it_is_said_that_nothing_was_asked(rows: tuple[Project, Store], tmp_path: Path) -> None:
    project, store = rows
    [gate] = rehearse(project, store, CLOCK, adopt(project, store, saved(tmp_path / "model")))
    assert (gate.passed, gate.severity, gate.blocks) == (False, "warning", False)
