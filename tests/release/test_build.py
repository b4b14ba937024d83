from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from everloop.core.digest import digest_bytes, digest_file
from everloop.core.errors import IntegrityError, ModelError
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment import training
from everloop.experiment.tracking import open_tracker
from everloop.models.forecaster import ForecastRequest
from everloop.release.bundle import Release, load_model, open_release
from everloop.release.registry import version_of
from everloop.store.deployments import find_release
from everloop.store.engine import open_store
from everloop.store.events import list_events
from everloop.validate.examination import BASELINE

NOW = datetime(2011, 12, 9, 3, tzinfo=UTC)


def test_the_bundle_is_whole_and_verified(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel], release_of: Callable[..., Release]
) -> None:
    project, panel = make_project(), make_panel()
    release = release_of(project, panel)
    manifest = release.manifest

    assert release.folder == project.releases / release.digest
    assert digest_file(release.folder / "manifest.json") == release.digest
    assert {"MLmodel", "card.md", "conda.yaml", "evidence/backtest.json", "evidence/backtest.parquet"} <= set(
        manifest.files
    )
    assert (manifest.project, manifest.candidate, manifest.horizon) == ("demand", BASELINE, 14)
    assert manifest.model_class == "everloop.models.seasonal_naive:SeasonalNaiveForecaster"
    assert manifest.cutoff == "2011-01-26T00:00:00+00:00"
    assert [(each.name, each.type, each.required) for each in manifest.inputs] == [
        ("store", "string", True),
        ("item", "string", True),
        ("date", "time", False),
        ("price", "number", False),
    ]
    assert digest_bytes((release.folder / "lock.txt").read_bytes()) == manifest.provenance.lock_digest
    evidence = pl.read_parquet(release.folder / "evidence" / "backtest.parquet")
    assert evidence.height == manifest.metrics["n"] == 12 * 14 * 2
    wape = (evidence["forecast"] - evidence["actual"]).abs().sum() / evidence["actual"].abs().sum()
    assert wape == pytest.approx(manifest.metrics["candidate"]["wape"], rel=1e-5)
    assert json.loads((release.folder / "evidence" / "gates.json").read_text())[0]["name"] == "finite"
    card = (release.folder / "card.md").read_text()
    for word in ("seasonal naive", manifest.model_digest, "| beats_baseline | passed |", "## Limits"):
        assert word in card
    model = load_model(release)
    assert model.forecast(ForecastRequest(14)).mean.shape == (12, 14)


def test_store_registry_and_run_know_the_release(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel], release_of: Callable[..., Release]
) -> None:
    project = make_project()
    release = release_of(project, make_panel())
    store, tracker = open_store(project.store_url), open_tracker(project)
    with store.read() as tx:
        row = find_release(tx, release.digest[:8])
        (event,) = list_events(tx, kinds=("released",))
    store.close()
    assert (row.digest, row.run_id, row.dataset_version) == (release.digest, release.manifest.run_id, 1)
    assert row.cutoff == datetime(2011, 1, 26, tzinfo=UTC)
    assert event.subject == release.digest
    assert version_of(tracker, "demand", release.digest) == "1"
    run = tracker.client.get_run(row.run_id)
    assert run.data.tags["everloop.release"] == release.digest
    assert run.data.metrics["seconds/fit"] > 0
    copy = project.home / "mlartifacts" / row.run_id / "artifacts" / "release"
    assert open_release(copy, digest=release.digest).manifest == release.manifest


def test_the_same_content_is_the_same_release(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel], release_of: Callable[..., Release]
) -> None:
    project = make_project()
    first = release_of(project, make_panel())
    again = release_of(project, make_panel(), now=NOW.replace(hour=9))
    other = release_of(project, make_panel(seed=2))
    assert first.digest == again.digest != other.digest
    assert len(list(project.releases.iterdir())) == 2


def test_what_a_killed_build_left_is_swept_after_a_day(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel], release_of: Callable[..., Release]
) -> None:
    project = make_project()
    old, young = project.releases / ".making-old", project.releases / ".making-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    release_of(project, make_panel())
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda folder: (folder / "model" / "model.json").write_text("{}"), "bundle_file"),
        (lambda folder: (folder / "extra.py").write_text("boo"), "bundle_file"),
        (lambda folder: (folder / "card.md").unlink(), "bundle_file"),
        (
            lambda folder: (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes() + b" "),
            "bundle_digest",
        ),
    ],
)
def test_tampering_is_seen(
    make_project: Callable[..., Project],
    make_panel: Callable[..., Panel],
    release_of: Callable[..., Release],
    damage: Callable[[Path], Any],
    code: str,
) -> None:
    release = release_of(make_project(), make_panel())
    damage(release.folder)
    with pytest.raises(IntegrityError) as caught:
        open_release(release.folder, digest=release.digest)
    assert caught.value.code == code


def test_a_model_that_saves_other_bytes_each_time_is_refused(
    make_project: Callable[..., Project],
    make_panel: Callable[..., Panel],
    release_of: Callable[..., Release],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "saved_digest", lambda model: "0" * 64)
    project = make_project()
    with pytest.raises(ModelError, match="does not save the same bytes twice"):
        release_of(project, make_panel())
    assert not list(project.releases.iterdir())


def test_a_users_own_forecaster_travels_with_its_code(
    make_project: Callable[..., Project], make_panel: Callable[..., Panel], release_of: Callable[..., Release]
) -> None:
    project = make_project("validate.gates.min_skill=-9")
    package = project.root / "own_models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "naive.py").write_text(
        "from everloop.models.seasonal_naive import SeasonalNaiveForecaster\n"
        "class Mine(SeasonalNaiveForecaster):\n"
        "    pass\n"
    )
    release = release_of(project, make_panel(), candidate="own_models.naive:Mine")
    assert release.manifest.model_class == "own_models.naive:Mine"
    assert (release.folder / "code" / "own_models" / "naive.py").is_file()
    assert "code: code" in (release.folder / "MLmodel").read_text()
