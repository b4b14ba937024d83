"""The champion's recipe, backtested beside the candidates that want its place."""

from __future__ import annotations

from everloop.core.project import Project
from everloop.data.panel import Panel
from everloop.data.table import DatasetVersion
from everloop.release.bundle import open_release
from everloop.store.deployments import in_role
from everloop.store.engine import Store
from everloop.validate.examination import Reference, backtest_candidate

__all__ = ["champion_reference"]


def champion_reference(
    project: Project, store: Store, panel: Panel, *, dataset: DatasetVersion | None = None
) -> Reference | None:
    """The champion's recipe on the project's windows; its own model has seen some of them. ``None`` without one.

    Args:
        project: the project.
        store: its store.
        panel: the data.
        dataset: the version that the panel was loaded from, for the settings' engine.

    Raises:
        IntegrityError: the champion's bundle was changed.
        ModelError: the recipe cannot be fitted to these data.
    """
    with store.read() as tx:
        digest = in_role(tx, "champion")
    if digest is None:
        return None
    manifest = open_release(project.releases / digest, digest=digest).manifest
    return backtest_candidate(project, panel, manifest.candidate, options=manifest.options, dataset=dataset)
