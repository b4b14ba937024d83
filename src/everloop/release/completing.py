"""How making a release ends, wherever its model came from: the manifest is sealed, and the store is told.

Before that, a release of the same content is looked for, so that the same model is the same release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from everloop.core.digest import digest_bytes
from everloop.core.errors import EverloopError
from everloop.core.project import Project
from everloop.release.bundle import Release, open_release
from everloop.release.manifest import MANIFEST_FILE, Manifest
from everloop.release.signing import sign_release, signing_key
from everloop.store.deployments import ReleaseRow, add_release
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.store.schema import releases as release_rows

__all__ = ["enter", "find_sound", "seal"]


def find_sound(folders: Iterable[Path], content: Callable[[Manifest], str], wanted: str) -> Release | None:
    """The first bundle whose manifest has the wanted content and whose files are what it says.

    Args:
        folders: bundles, each named by its digest.
        content: the digest of what counts in a manifest.
        wanted: that of the one that is looked for.
    """
    for folder in folders:
        try:
            if content(Manifest.from_bytes((folder / MANIFEST_FILE).read_bytes())) == wanted:
                return open_release(folder, digest=folder.name)
        except (EverloopError, FileNotFoundError, NotADirectoryError):
            continue  # a damaged bundle is not the same; a new one is made, and promoting the old one tells of it
    return None


def seal(project: Project, folder: Path, manifest: Manifest) -> str:
    """Write the manifest of a bundle whose files are all there, and sign it where the settings name a key.

    Returns:
        The release's digest.

    Raises:
        NotFoundError: the key's file is not there.
        UsageError: it holds no Ed25519 private key.
    """
    content = manifest.to_bytes()
    (folder / MANIFEST_FILE).write_bytes(content)
    key = signing_key(project)
    if key is not None:
        sign_release(folder, key)
    return digest_bytes(content)


def enter(
    store: Store, release: Release, *, at: datetime, actor: str, message: str, evidence: Mapping[str, Any]
) -> None:
    """The store's row of a release and its event, in one transaction; nothing where it has the row already.

    Args:
        store: the store.
        release: the bundle.
        at: the instant of the event.
        actor: who or what made it.
        message: what the event says.
        evidence: what it holds besides.
    """
    manifest = release.manifest
    row = ReleaseRow(
        digest=release.digest,
        model_digest=manifest.model_digest,
        candidate=manifest.candidate,
        run_id=manifest.run_id,
        dataset_version=manifest.dataset.version,
        dataset_digest=manifest.dataset.digest,
        cutoff=datetime.fromisoformat(manifest.cutoff),
        created_at=datetime.fromisoformat(manifest.created_at),
        metrics=manifest.metrics,
        gates=[dict(gate) for gate in manifest.gates],
    )
    with store.write() as tx:
        if tx.execute(select(release_rows.c.digest).where(release_rows.c.digest == release.digest)).first() is None:
            add_release(tx, row)
            record_event(tx, at, "released", message, actor=actor, subject=release.digest, evidence=dict(evidence))
