"""Building a release: the bundle on disk, its copy in MLflow, its line in the registry and in the store.

The steps come in an order that lets a build be killed anywhere and run again: the bundle's folder appears whole or
not at all; uploading and registering the same bundle twice changes nothing; the store's row comes last, in one
transaction with its event. A release with the same content as an earlier one (same model, data, code, environment,
metrics and gates) is that earlier one, so a second run finishes what the first had begun.
"""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from sqlalchemy import select

from everloop.core.clock import Clock
from everloop.core.digest import digest_json, digest_tree
from everloop.core.errors import ModelError
from everloop.core.files import appearing_folder
from everloop.core.objects import name_object
from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.experiment.lineage import Lineage
from everloop.experiment.tracking import DatasetVersion
from everloop.experiment.training import Fitted
from everloop.release.bundle import MODEL_FOLDER, Release, open_release
from everloop.release.card import write_card
from everloop.release.code import copy_code
from everloop.release.completing import enter, find_sound, seal
from everloop.release.manifest import Columns, Dataset, Field, Manifest, Provenance
from everloop.release.registry import register
from everloop.store.engine import Store
from everloop.store.schema import releases as release_rows
from everloop.validate.examination import Examination, forecast_table
from everloop.validate.expected import EXPECTED_FILE, expected_ranges

if TYPE_CHECKING:
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["build_release"]

_OWN = ("created_at", "run_id", "files")
_LEFTOVER_SECONDS = 86_400
_PICKLES = (".pkl", ".pickle", ".joblib")


def build_release(
    project: Project,
    clock: Clock,
    *,
    examination: Examination,
    fitted: Fitted,
    panel: Panel,
    dataset: DatasetVersion,
    lineage: Lineage,
    tracker: Tracker,
    store: Store,
    actor: str = "loop",
) -> Release:
    """Make a fitted candidate a release; where one of the same content exists, give that one.

    Args:
        project: the project.
        clock: dates the release.
        examination: what the candidate showed.
        fitted: the model, fitted to all data.
        panel: the data.
        dataset: their version.
        lineage: the code and environment.
        tracker: where the run is.
        store: where the release is entered.
        actor: who or what does it.

    Raises:
        ModelError: the model does not save the same bytes twice.
        UnavailableError: MLflow or the store is away; the next call goes on where this one stopped.
        IntegrityError: the bundle on disk was changed.
    """
    now = clock.now()
    manifest = _draft(project, now, examination, fitted, panel, dataset, lineage)
    release = _find_same(project, store, manifest)
    if release is None:
        release = _write(project, manifest, examination, fitted, panel, lineage)
    _publish(tracker, release, fitted, examination.run_id)
    message = f"release {release.digest[:12]} of {manifest.candidate}, dataset version {dataset.version}"
    evidence = {"metrics": manifest.metrics, "run_id": release.manifest.run_id}
    enter(store, release, at=now, actor=actor, message=message, evidence=evidence)
    return release


def _draft(
    project: Project,
    now: datetime,
    examination: Examination,
    fitted: Fitted,
    panel: Panel,
    dataset: DatasetVersion,
    lineage: Lineage,
) -> Manifest:
    """The manifest without the digests of the files."""
    settings = project.settings.data
    return Manifest(
        project=project.name,
        candidate=fitted.name,
        model_class=name_object(type(fitted.model)),
        options=fitted.options,
        model_digest=fitted.model_digest,
        files={},
        created_at=now.isoformat(),
        run_id=examination.run_id,
        dataset=Dataset(dataset.version, dataset.digest, dataset.rows),
        columns=Columns(
            series=tuple(settings.series),
            time=settings.time,
            target=settings.target,
            frequency=panel.frequency.text,
            known_ahead=tuple(settings.known_ahead),
            observed=tuple(settings.observed),
            static=tuple(settings.static),
        ),
        inputs=_inputs(project, panel),
        cutoff=_instant(panel.frequency.times(np.array([panel.cutoff]))[0]).isoformat(),
        horizon=fitted.context.horizon,
        levels=tuple(float(level) for level in fitted.context.levels),
        provenance=Provenance(
            git_commit=lineage.git_commit,
            git_dirty=lineage.git_dirty,
            lock_digest=lineage.lock_digest,
            settings_digest=lineage.settings_digest,
            seed=lineage.seed,
            python=lineage.python,
            platform=lineage.platform,
            everloop=lineage.everloop,
        ),
        metrics=examination.summary(),
        gates=tuple(gate.to_dict() for gate in examination.gates),
    )


def _inputs(project: Project, panel: Panel) -> tuple[Field, ...]:
    """The columns of a request: the series must be there, the time and known-ahead values may."""
    settings = project.settings.data
    fields = [Field(name, "string", required=True) for name in settings.series]
    fields.append(Field(settings.time, "time", required=False))
    for name in settings.known_ahead:
        texts = panel.categories.get(name, ())
        fields.append(Field(name, "string" if texts else "number", required=False, categories=tuple(texts)))
    return tuple(fields)


def _find_same(project: Project, store: Store, draft: Manifest) -> Release | None:
    """An earlier release of the same content: one in the store, or a bundle whose build was cut short."""
    with store.read() as tx:
        query = select(release_rows.c.digest, release_rows.c.model_digest)
        known = {str(row.digest): str(row.model_digest) for row in tx.execute(query)}
    folders = sorted(project.releases.glob("[0-9a-f]*"))
    likely = (each for each in folders if known.get(each.name, draft.model_digest) == draft.model_digest)
    return find_sound(likely, _content, _content(draft))


def _content(manifest: Manifest) -> str:
    """The digest of what a manifest says, without when and in which run it was made."""
    tree = msgspec.to_builtins(manifest)
    return digest_json({name: value for name, value in tree.items() if name not in (*_OWN, "is_pickled")})


def _write(
    project: Project,
    draft: Manifest,
    examination: Examination,
    fitted: Fitted,
    panel: Panel,
    lineage: Lineage,
) -> Release:
    from everloop.release.flavor import write_flavor  # imports MLflow, which whoever only reads releases need not

    _sweep(project.releases)
    with appearing_folder(project.releases) as (folder, name):
        (folder / MODEL_FOLDER).mkdir()
        fitted.model.save(folder / MODEL_FOLDER)
        files = digest_tree(folder / MODEL_FOLDER)
        if digest_json(files) != draft.model_digest:
            raise ModelError(
                "model_unstable",
                f"{draft.candidate} does not save the same bytes twice",
                hint="its save() must write the same files for the same state; everloop.models.checks tells more",
            )
        is_pickled = any(Path(each).suffix in _PICKLES for each in files)
        _write_evidence(folder, examination, panel)
        _write_lineage(folder, lineage)
        notes = sorted({note for fold in examination.backtest.folds for note in fold.notes})
        (folder / "card.md").write_text(write_card(draft, notes=tuple(notes)), encoding="utf-8")
        has_code = copy_code(type(fitted.model), project.root, folder / "code")
        write_flavor(folder, draft, lineage, has_code=has_code)
        manifest = msgspec.structs.replace(draft, files=digest_tree(folder), is_pickled=is_pickled)
        name.append(seal(project, folder, manifest))
    return open_release(project.releases / name[0], digest=name[0])


def _sweep(parent: Path) -> None:
    """Delete what builds left half-written when they were killed; a living one is younger than this."""
    for path in parent.glob(".making-*"):
        if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:  # the file system's clock, not the loop's
            shutil.rmtree(path, ignore_errors=True)


def _write_evidence(folder: Path, examination: Examination, panel: Panel) -> None:
    import polars as pl  # the server reads bundles without it

    (folder / "evidence").mkdir()
    scores = {
        "candidate": examination.evaluation.scores.to_dict(),
        "baseline": examination.evaluation.baseline.to_dict(),
        "skill": examination.evaluation.skill,
        "plan": examination.plan.to_dict(),
        "cutoffs": [str(each) for each in panel.frequency.times(_cutoffs(examination))],
    }
    _write_json(folder / "evidence" / "backtest.json", scores)
    expected = expected_ranges(examination.backtest, panel)
    (folder / EXPECTED_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(expected, order="sorted")) + b"\n")
    _write_json(folder / "evidence" / "gates.json", [gate.to_dict() for gate in examination.gates])
    pl.DataFrame(forecast_table(examination, panel)).write_parquet(folder / "evidence" / "backtest.parquet")


def _cutoffs(examination: Examination) -> Any:
    return np.array([fold.cutoff for fold in examination.backtest.folds])


def _write_lineage(folder: Path, lineage: Lineage) -> None:
    (folder / "lock.txt").write_text(lineage.lock, encoding="utf-8")
    (folder / "lineage").mkdir()
    (folder / "lineage" / "diff.patch").write_text(lineage.git_diff, encoding="utf-8")
    facts = {
        "git_commit": lineage.git_commit,
        "git_dirty": lineage.git_dirty,
        "untracked": list(lineage.untracked),
        "note": lineage.note,
    }
    _write_json(folder / "lineage" / "code.json", facts)


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _publish(tracker: Tracker, release: Release, fitted: Fitted, run_id: str) -> None:
    """Bring the bundle to MLflow: artefacts of its run, and a version in the registry."""
    from everloop.experiment.mlflow_tracker import Measurement  # MLflow is imported by now, the tracker is open

    own = release.manifest.run_id
    if register(tracker, release):
        measurements = [Measurement("seconds/fit", fitted.seconds)]
        if fitted.peak_bytes is not None:
            measurements.append(Measurement("peak_megabytes", fitted.peak_bytes / 1e6))
        tracker.log(own, measurements)
    for each in {own, run_id}:
        labels = {"everloop.release": release.digest, "everloop.model_digest": release.manifest.model_digest}
        tracker.set_tags(each, labels)


def _instant(time: np.datetime64) -> datetime:
    naive = time.astype("M8[us]").item()
    assert isinstance(naive, datetime)
    return naive.replace(tzinfo=UTC)
