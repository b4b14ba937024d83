"""From what the store wants to what can answer: forecasters and models of rows alike."""

from __future__ import annotations

from typing import TypeAlias

from everloop.core.project import Project
from everloop.models.tabular.example import rows_of
from everloop.models.tabular.predictor import Rows
from everloop.models.tabular.signature import Signature
from everloop.release.bundle import Release, examples_of, is_pickle_trusted, load_predictor_of, open_release
from everloop.release.signing import trusted_keys
from everloop.serve.served import Served, Wanted, is_pickle_allowed, load_served, loading
from everloop.serve.tabular.served import ServedRows
from everloop.store.engine import Store

__all__ = ["Loaded", "hasten", "hasten_for_many", "load_release"]

Loaded: TypeAlias = Served | ServedRows

_MANY_SERIES = 1_000
"""So many series gain more by compiled trees than they take to make."""


def load_release(project: Project, store: Store, wanted: Wanted, *, opened: Release | None = None) -> Loaded:
    """Open, verify, load and warm a release, in a state where it has one.

    Args:
        project: the project.
        store: its store.
        wanted: which release and state.
        opened: the release, where it was verified before.

    Raises:
        NotFoundError: the bundle or the state is not on this machine.
        IntegrityError: a file is not what its digest says, or the signature is not one that is trusted.
        ModelError: the model cannot be loaded, or cannot answer.
    """
    release = opened or open_release(
        project.releases / wanted.release, digest=wanted.release, trusted_keys=trusted_keys(project)
    )
    signature = release.manifest.signature
    if signature is None:
        return load_served(project, store, wanted, opened=release)
    with loading(wanted.release):
        is_allowed = is_pickle_trusted(project, release) or is_pickle_allowed(project, store, wanted.release)
        predictor = load_predictor_of(release, allow_pickle=is_allowed)
        most = project.settings.access.max_rows
        return ServedRows.of(release, predictor, _examples(release, signature), max_rows=most)


def hasten(served: Loaded) -> str:
    """Look for a faster way to the same answers of what is loaded; it may be asked meanwhile.

    Returns:
        What came of it, for people; empty where there is nothing to look for.
    """
    if not isinstance(served, ServedRows):
        from everloop.models.compiled.forecasters import hasten_forecaster  # what no server needs before it answers

        return hasten_forecaster(served.model)
    if served.way:
        return ""
    served.hasten(_examples(served.release, served.signature))
    return served.way


def hasten_for_many(project: Project, served: Served) -> None:
    """As :func:`hasten`, where all series are to be forecast, and they are so many that it is worth its time."""
    if project.settings.serve.compile and len(served.keys) >= _MANY_SERIES:
        hasten(served)


def _examples(release: Release, signature: Signature) -> Rows | None:
    """The bundle's own example rows."""
    columns = examples_of(release)
    return rows_of(signature, columns) if columns else None
