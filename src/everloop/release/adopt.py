"""Making a release of a model that was trained elsewhere.

The bundle holds the model's files as MLflow wrote them, so that plain MLflow still loads it, and a manifest with its
signature, so that a server need not look at them. The same model gives the same release, however often and from
wherever it is adopted; what differs between two savings of it (instants, identifiers) does not count.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

import everloop
from everloop.core.clock import Clock
from everloop.core.digest import canonical_json, digest_file, digest_json, digest_tree
from everloop.core.errors import UsageError
from everloop.core.files import appearing_folder
from everloop.core.project import Project
from everloop.models.tabular.example import read_example, rows_of
from everloop.models.tabular.loading import load_predictor
from everloop.models.tabular.partitioned import joint_signature
from everloop.models.tabular.predictor import Predictor
from everloop.models.tabular.recognized import Recognized
from everloop.models.tabular.signature import Output, Signature
from everloop.release.baseline import BASELINE_FILE, write_baseline
from everloop.release.bundle import EXAMPLES_FILE, Release, open_release
from everloop.release.completing import enter, find_sound, seal
from everloop.release.gathering import Gathered, gather, write_own_flavor
from everloop.release.manifest import Columns, Dataset, Manifest, Provenance
from everloop.store.engine import Store

__all__ = ["Partition", "adopt_model"]


@dataclass(frozen=True, slots=True)
class Partition:
    """Several models of one release: the one that answers a row is named by the row's value in a column.

    Attributes:
        column: the column.
        sources: the model of each value, as text.
    """

    column: str
    sources: Mapping[str, str]


def adopt_model(
    project: Project,
    store: Store,
    clock: Clock,
    source: str | Partition,
    *,
    example: Path | None = None,
    baseline: Mapping[str, str] | None = None,
    allow_pickle: bool = False,
    actor: str,
    reason: str = "",
) -> Release:
    """Make a release of a model, or of several; where one of the same content exists, give that one.

    Args:
        project: the project; its task is ``"regression"`` or ``"classification"``.
        store: where the release is entered.
        clock: dates the release.
        source: an MLflow model's folder, ``runs:/...`` or ``models:/...``, or a model's own file (LightGBM ``.txt``,
            XGBoost ``.json`` and ``.ubj``, ``.onnx``); or several.
        example: a CSV or JSON file with rows that can be asked. For a model's own file it names and types the columns.
        baseline: the value of each output that is answered where the model fails; without it such a request is refused.
        allow_pickle: whether code from the model's files may run, here and in this installation's servers.
        actor: who or what, for the audit log.
        reason: why, for the audit log.

    Raises:
        UsageError: the project forecasts, the source or the example is of no known kind, or the baseline does not fit.
        NotFoundError: there is no such model.
        DataError: the example cannot be read.
        ModelError: the model cannot be served, or cannot answer its own example.
        UnavailableError: MLflow, the model's library or the store is away; the next call goes on from there.
    """
    _refuse_forecasting(project)
    now = clock.now()
    rows = read_example(example) if example else {}
    with appearing_folder(project.releases) as (folder, name):
        if isinstance(source, Partition):
            found = _gather_parts(project, source, folder, rows, allow_pickle)
        else:
            found = gather(project, source, folder, example=rows, allow_pickle=allow_pickle)
        model = _tried(folder, found)
        if found.example:
            (folder / EXAMPLES_FILE).write_text(canonical_json(found.example) + "\n", encoding="utf-8")
        if baseline:
            write_baseline(folder, model.signature, baseline)
        manifest = _manifest(project, now, folder, found, model)
        known = find_sound(sorted(project.releases.glob("[0-9a-f]*")), _content, _content(manifest))
        name.append(known.digest if known else seal(project, folder, manifest))
    release = open_release(project.releases / name[0], digest=name[0])
    shown = source if isinstance(source, str) else f"{len(source.sources)} models by {source.column}"
    message = f"release {release.digest[:12]}: adopted {shown}" + (f": {reason}" if reason else "")
    evidence = {"flavor": release.manifest.flavor, "model_digest": release.manifest.model_digest}
    enter(store, release, at=now, actor=actor, message=message, evidence=evidence)
    return release


def _refuse_forecasting(project: Project) -> None:
    if project.settings.project.task == "forecasting":
        raise UsageError(
            "task_forecasting",
            f"{project.name} is a project of forecasts, whose models are made by: everloop train",
            hint="for models of rows: [project] task = 'regression' or 'classification'",
            path="project.task",
        )


def _gather_parts(
    project: Project, partition: Partition, folder: Path, rows: Mapping[str, list[Any]], allow_pickle: bool
) -> Gathered:
    """Each model in a folder of its own, and what they take together."""
    by = partition.column
    own = {name: values for name, values in rows.items() if name != by}
    parts: dict[str, Gathered] = {}
    entries = []
    for place, (value, source) in enumerate(sorted(partition.sources.items())):
        path = f"models/{place:04d}"
        (folder / path).mkdir(parents=True)
        part = gather(project, source, folder / path, example=own, allow_pickle=allow_pickle)
        parts[value] = part
        model = part.model
        entry = {"value": value, "folder": path, "flavor": model.flavor, "options": model.options}
        entries.append(entry | {"signature": msgspec.to_builtins(model.signature)})
    if not parts:
        raise UsageError("partition_empty", "no model is given", hint="write --by COLUMN VALUE=SOURCE VALUE=SOURCE")
    signature = joint_signature(by, {value: part.model.signature for value, part in parts.items()})
    write_own_flavor(folder, signature, sorted({part.model.flavor for part in parts.values()}), {})
    runs_code = any(part.model.runs_code for part in parts.values())
    options: dict[str, Any] = {"by": by, "parts": entries} | ({"runs_code": True} if runs_code else {})
    digest = digest_json({"by": by, "parts": {value: part.digest for value, part in parts.items()}})
    example = dict(rows)
    if not example:
        value, part = next(iter(parts.items()))
        count = len(next(iter(part.example.values()), []))
        example = part.example | ({} if by in part.example or not count else {by: [value] * count})
    return Gathered(Recognized("partitioned", signature, options, runs_code), digest, "", example)


def _tried(folder: Path, found: Gathered) -> Recognized:
    """The model, loaded once and asked its example; its outputs are then of the types that it really gave."""
    model = found.model
    # what runs code was allowed to when the model was looked at, or that would have failed
    predictor = load_predictor(
        folder, flavor=model.flavor, signature=model.signature, options=model.options, allow_pickle=True
    )
    if not found.example:
        return model
    outputs = _answered(predictor, found.example)
    return Recognized(
        model.flavor, msgspec.structs.replace(model.signature, outputs=outputs), model.options, model.runs_code
    )


def _answered(predictor: Predictor, example: Mapping[str, list[Any]]) -> tuple[Output, ...]:
    signature: Signature = predictor.signature
    defaults = {each.name: each.default for each in signature.parameters}
    answer = predictor.predict(rows_of(signature, example), defaults)
    named = {each.name: each for each in signature.outputs}
    found = []
    for name, values in answer.items():
        dtype = "object" if values.dtype.kind in "OUS" else str(values.dtype)
        found.append(msgspec.structs.replace(named.get(name, Output(name)), dtype=dtype, shape=values.shape[1:]))
    return tuple(found)


def _manifest(project: Project, now: datetime, folder: Path, found: Gathered, model: Recognized) -> Manifest:
    requirements = folder / "requirements.txt"
    return Manifest(
        project=project.name,
        candidate=model.flavor,
        model_class=f"everloop.models.tabular.{model.flavor}:load",
        options=model.options,
        model_digest=found.digest,
        files=digest_tree(folder),
        created_at=now.isoformat(),
        run_id=found.run_id,
        dataset=Dataset(0, "", 0),
        columns=Columns((), "", "", ""),
        inputs=(),
        cutoff=now.isoformat(),
        horizon=0,
        levels=(),
        provenance=Provenance(
            git_commit="",
            git_dirty=False,
            lock_digest=digest_file(requirements) if requirements.is_file() else "",
            settings_digest="",
            seed=0,
            python=platform.python_version(),
            platform=platform.platform(),
            everloop=everloop.__version__,
        ),
        metrics={},
        gates=(),
        is_pickled=model.runs_code,
        task=project.settings.project.task,
        signature=model.signature,
        flavor=model.flavor,
    )


def _content(manifest: Manifest) -> str:
    """The digest of the model and of how it is asked, without when and where from it was adopted."""
    tree = msgspec.to_builtins(manifest)
    parts = ("project", "task", "flavor", "signature", "options", "model_digest")
    beside = {name: manifest.files.get(name, "") for name in (EXAMPLES_FILE, BASELINE_FILE)}
    return digest_json({name: tree[name] for name in parts} | beside)
