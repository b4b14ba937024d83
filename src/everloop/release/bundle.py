"""Release bundles on disk: found by digest, verified before anything of them is loaded.

    <digest>/manifest.json    what the release is; its SHA-256 is the release's digest
    <digest>/MLmodel          so that plain MLflow loads it too
    <digest>/model/           the forecaster's own files; a model trained elsewhere has its files as MLflow wrote them
    <digest>/examples.json    rows that such a model can be asked, by column
    <digest>/signature.json   signatures of the manifest; no part of the digest
    <digest>/...              lock, lineage, evidence, model card

Reading a bundle needs neither MLflow nor pandas: the server does it at its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from everloop.core.digest import digest_bytes, digest_json, digest_tree
from everloop.core.errors import IntegrityError, ModelError, NotFoundError
from everloop.core.objects import load_object
from everloop.core.project import Project
from everloop.models.forecaster import Forecaster
from everloop.models.tabular.loading import load_predictor
from everloop.models.tabular.predictor import Predictor
from everloop.release.manifest import MANIFEST_FILE, Manifest
from everloop.release.signing import SIGNATURE_FILE, verify_signature

__all__ = [
    "EXAMPLES_FILE",
    "LEAST_DIGEST",
    "MODEL_FOLDER",
    "Release",
    "examples_of",
    "is_pickle_trusted",
    "load_model",
    "load_predictor_of",
    "model_digest",
    "open_release",
]

EXAMPLES_FILE = "examples.json"
LEAST_DIGEST = 12
"""A shorter beginning of a digest names no model that is trusted."""
MODEL_FOLDER = "model"
_REGISTRY_NOTE = "registered_model_meta"
"""What MLflow writes beside a model that it loads by its registered name: name and version, no code."""


@dataclass(frozen=True, slots=True)
class Release:
    """A verified bundle."""

    digest: str
    manifest: Manifest
    folder: Path


def model_digest(folder: Path) -> str:
    """The digest of a model's files: of the table of their paths and digests."""
    return digest_json(digest_tree(folder))


def open_release(folder: Path, *, digest: str | None = None, trusted_keys: Sequence[Path] = ()) -> Release:
    """Read a bundle's manifest and verify every file of it.

    Args:
        folder: the bundle.
        digest: the digest it must have; by default the folder's own name is not compared.
        trusted_keys: files of public keys, with one of which the bundle must be signed; by default no signature is
            looked at.

    Raises:
        NotFoundError: there is no bundle, or a key's file is missing.
        IntegrityError: the manifest or a file is not what its digest says, a file is missing or too many, or there is
            no signature by a trusted key.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise NotFoundError(
            "bundle_missing",
            f"there is no release bundle in {folder}",
            hint="was it deleted? list releases: everloop release --list",
            path=str(folder),
        )
    content = path.read_bytes()
    found = digest_bytes(content)
    if digest is not None and found != digest:
        raise IntegrityError(
            "bundle_digest",
            f"the bundle in {folder} is {found[:12]}, not {digest[:12]}",
            hint="it was changed after it was made; train again",
            path=str(path),
        )
    if trusted_keys:
        verify_signature(folder, content, trusted_keys)
    manifest = Manifest.from_bytes(content)
    files = digest_tree(folder)
    files.pop(MANIFEST_FILE)
    files.pop(_REGISTRY_NOTE, None)
    files.pop(SIGNATURE_FILE, None)
    for name in sorted(set(files) | set(manifest.files)):
        if files.get(name) != manifest.files.get(name):
            state = "missing" if name not in files else "not part of it" if name not in manifest.files else "changed"
            raise IntegrityError(
                "bundle_file",
                f"{name} of release {found[:12]} is {state}",
                hint="the bundle was changed after it was made; train again",
                path=str(folder / name),
            )
    return Release(found, manifest, folder)


def load_model(
    release: Release, *, root: Path | None = None, folder: Path | None = None, allow_pickle: bool = False
) -> Forecaster:
    """The forecaster of a verified release.

    Args:
        release: the release.
        root: the project's root, put on the import path for a user's own class.
        folder: a serving state's model folder to load instead of the release's own.
        allow_pickle: whether a model that was pickled may be loaded, which runs code from the bundle.

    Raises:
        ModelError: it cannot be loaded.
    """
    manifest = release.manifest
    if manifest.is_pickled and not allow_pickle:
        raise ModelError(
            "pickle_refused",
            f"release {release.digest[:12]} holds a pickled model, which this installation did not make",
            hint="if you trust it: --set release.allow_pickle=true",
        )
    cls = load_object(manifest.model_class, root=root)
    try:
        model: Forecaster = cls.load(folder or release.folder / MODEL_FOLDER)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            "model_load",
            f"the model of release {release.digest[:12]} cannot be loaded: {error}",
            hint="everloop trace shows what it was made with",
        ) from error
    return model


def load_predictor_of(release: Release, *, allow_pickle: bool = False) -> Predictor:
    """The model of rows of a verified release.

    Args:
        release: the release.
        allow_pickle: whether a model may be loaded that runs code from the bundle.

    Raises:
        ModelError: it is a forecaster, or cannot be loaded.
        UnavailableError: the model's library is not installed.
    """
    manifest = release.manifest
    if manifest.signature is None:
        raise ModelError("model_task", f"release {release.digest[:12]} is a forecaster", hint="load it with load_model")
    return load_predictor(
        release.folder,
        flavor=manifest.flavor,
        signature=manifest.signature,
        options=manifest.options,
        allow_pickle=allow_pickle,
    )


def is_pickle_trusted(project: Project, release: Release) -> bool:
    """Whether the settings let code from a bundle run that this installation did not make."""
    settings = project.settings.release
    own = (release.digest, release.manifest.model_digest)
    return settings.allow_pickle or any(
        len(each) >= LEAST_DIGEST and any(digest.startswith(each) for digest in own)
        for each in settings.trusted_pickles
    )


def examples_of(release: Release) -> dict[str, list[Any]]:
    """Rows that a model of rows can be asked, by column or tensor; empty where the bundle has none."""
    path = release.folder / EXAMPLES_FILE
    if EXAMPLES_FILE not in release.manifest.files:
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, list[Any]])
