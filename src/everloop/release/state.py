"""Serving states: a release's model brought up to date with a dataset version.

A release never changes. What changes with each new day of data is the history that its model forecasts from; the
updated model lies below ``states``, in a folder named by the digest of release, dataset, model files and of how its
intervals are stretched by what came true since. A state can always be made again from the release, the dataset version
and what the store keeps of its intervals, and old ones are thrown away.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from everloop.core.digest import canonical_json, digest_json, digest_tree
from everloop.core.errors import IntegrityError, NotFoundError
from everloop.core.files import appearing_folder
from everloop.models.forecaster import Forecaster
from everloop.release.bundle import MODEL_FOLDER
from everloop.release.manifest import Dataset

__all__ = ["ServingState", "open_state", "prune_states", "save_state"]

_STATE_FILE = "state.json"


@dataclass(frozen=True, slots=True)
class ServingState:
    """A state's identity and where its model lies.

    Attributes:
        id: the digest of all the rest.
        release: the release's digest.
        dataset: the dataset version.
        cutoff: the last instant that the model knows, ISO.
        folder: where it lies.
        intervals: how its intervals are stretched, as ``Widths.to_dict`` gives it; ``None`` where they are not.
    """

    id: str
    release: str
    dataset: Dataset
    cutoff: str
    folder: Path
    intervals: dict[str, Any] | None = None

    @property
    def model_folder(self) -> Path:
        """The folder that the model is loaded from."""
        return self.folder / MODEL_FOLDER


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    release: str
    dataset: Dataset
    cutoff: str
    files: dict[str, str]
    intervals: dict[str, Any] | None = None


def save_state(
    states: Path,
    model: Forecaster,
    *,
    release: str,
    dataset: Dataset,
    cutoff: str,
    intervals: dict[str, Any] | None = None,
) -> ServingState:
    """Write a state, whole or not at all; the same one twice changes nothing."""
    with appearing_folder(states) as (folder, name):
        (folder / MODEL_FOLDER).mkdir()
        model.save(folder / MODEL_FOLDER)
        record = _Record(release, dataset, cutoff, digest_tree(folder / MODEL_FOLDER), intervals)
        tree = msgspec.to_builtins(record)
        (folder / _STATE_FILE).write_text(canonical_json(tree), encoding="utf-8")
        name.append(digest_json(tree))
    return ServingState(name[0], release, dataset, cutoff, states / name[0], intervals)


def open_state(states: Path, identifier: str) -> ServingState:
    """Read a state and verify its files.

    Raises:
        NotFoundError: there is no such state here.
        IntegrityError: a file of it is not what its digest says.
    """
    folder = states / identifier
    path = folder / _STATE_FILE
    if not path.is_file():
        raise NotFoundError(
            "state_missing",
            f"there is no serving state {identifier[:12]} in {states}",
            hint="make it again: everloop tick",
        )
    record = msgspec.json.decode(path.read_bytes(), type=_Record)
    if digest_json(msgspec.to_builtins(record)) != identifier or digest_tree(folder / MODEL_FOLDER) != record.files:
        raise IntegrityError(
            "state_digest",
            f"serving state {identifier[:12]} was changed after it was made",
            hint="delete it, then: everloop tick",
            path=str(folder),
        )
    return ServingState(identifier, record.release, record.dataset, record.cutoff, folder, record.intervals)


def prune_states(states: Path, keep: set[str]) -> int:
    """Delete the states that are not in ``keep``; returns how many."""
    gone = [
        path for path in states.glob("*") if path.is_dir() and path.name not in keep and not path.name.startswith(".")
    ]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return len(gone)
