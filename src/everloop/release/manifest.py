"""What a release says of itself: the one file whose digest names it."""

from __future__ import annotations

from typing import Any

import msgspec

from everloop.core.digest import canonical_json
from everloop.core.errors import IntegrityError
from everloop.models.tabular.signature import Signature

__all__ = ["MANIFEST_FILE", "Columns", "Dataset", "Field", "Manifest", "Provenance"]

MANIFEST_FILE = "manifest.json"


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of a request: its type (``string``, ``number`` or ``time``), and whether it must be there."""

    name: str
    type: str
    required: bool
    categories: tuple[str, ...] = ()


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The project's columns by their part."""

    series: tuple[str, ...]
    time: str
    target: str
    frequency: str
    known_ahead: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    static: tuple[str, ...] = ()


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The dataset version that the model was fitted on."""

    version: int
    digest: str
    rows: int


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Code and environment: enough to make the same model again."""

    git_commit: str
    git_dirty: bool
    lock_digest: str
    settings_digest: str
    seed: int
    python: str
    platform: str
    everloop: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A release's manifest.

    Attributes:
        project: the project's name.
        candidate: the candidate's name in the settings.
        model_class: ``"module:Class"`` of the forecaster.
        options: its constructor's parameters.
        model_digest: the digest of the files below ``model/`` alone: same data, code and seed, same digest.
        files: the digest of every other file of the bundle, by path.
        created_at: an ISO instant.
        run_id: the MLflow run.
        dataset: the version of the data that the model was fitted on.
        columns: the project's columns.
        inputs: the columns of a request.
        cutoff: the last instant that the model saw, ISO.
        horizon: the longest horizon, in steps.
        levels: the interval levels it was made for, in percent.
        provenance: code and environment.
        metrics: the backtest's summary.
        gates: the gate results, each a tree of JSON values.
        is_pickled: whether loading it runs code from the bundle.
        task: ``"forecasting"``, or what a model of rows does: ``"regression"`` or ``"classification"``. For those
            ``columns``, ``inputs``, ``horizon`` and ``levels`` are empty, and ``cutoff`` is when it was made.
        signature: what a model of rows takes and gives; ``None`` for a forecaster.
        flavor: the library of a model of rows; empty for a forecaster.
        format: the number of the file's layout.
    """

    project: str
    candidate: str
    model_class: str
    options: dict[str, Any]
    model_digest: str
    files: dict[str, str]
    created_at: str
    run_id: str
    dataset: Dataset
    columns: Columns
    inputs: tuple[Field, ...]
    cutoff: str
    horizon: int
    levels: tuple[float, ...]
    provenance: Provenance
    metrics: dict[str, Any]
    gates: tuple[dict[str, Any], ...]
    is_pickled: bool = False
    task: str = "forecasting"
    signature: Signature | None = None
    flavor: str = ""
    format: int = 1

    def to_bytes(self) -> bytes:
        """The bytes of the manifest file: canonical, so that the digest depends on the content alone."""
        return canonical_json(msgspec.to_builtins(self)).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Read a manifest.

        Raises:
            IntegrityError: it is not one of this format.
        """
        try:
            return msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise IntegrityError(
                "manifest", f"the release's manifest cannot be read: {error}", hint="was it made by a newer everloop?"
            ) from error
