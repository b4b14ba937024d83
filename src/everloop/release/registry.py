"""MLflow's model registry, kept in step with the store: the store is the truth, the registry its mirror.

The registered model has the project's name; each release is a version of it with the tag ``everloop.release``; the
aliases ``champion`` and ``challenger`` follow the deployments, so that plain MLflow loads ``models:/NAME@champion``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, UnavailableError
from everloop.core.project import Project
from everloop.experiment.tracking import open_tracker
from everloop.release.bundle import Release
from everloop.store.deployments import Role, in_role
from everloop.store.engine import Store
from everloop.store.events import record_event

if TYPE_CHECKING:
    from everloop.experiment.mlflow_tracker import Tracker

__all__ = ["ARTIFACTS", "TAG", "point_aliases", "register", "sync_aliases", "version_of"]

ARTIFACTS = "release"
"""The folder of the bundle among a run's artefacts."""

TAG = "everloop.release"


def register(tracker: Tracker, release: Release) -> bool:
    """Upload a bundle to its run and register it; returns whether that had not been done before.

    Raises:
        UnavailableError: MLflow is away.
    """
    from everloop.experiment.mlflow_client import guarded  # imports MLflow; the tracker has done so already

    if version_of(tracker, release.manifest.project, release.digest) is not None:
        return False
    run_id = release.manifest.run_id
    tracker.log_folder(run_id, release.folder, to=ARTIFACTS)
    name = release.manifest.project
    with guarded(tracker.uri):
        client = tracker.client
        if not client.search_registered_models(filter_string=f"name = '{name}'", max_results=1):
            client.create_registered_model(name)
        source = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACTS}"
        tags = {TAG: release.digest, "everloop.model_digest": release.manifest.model_digest}
        client.create_model_version(
            name, source=source, run_id=run_id, tags=tags, await_creation_for=0, description=_described(release)
        )
    return True


def version_of(tracker: Tracker, name: str, digest: str) -> str | None:
    """The version number under which a release is registered, ``None`` where it is not.

    Raises:
        UnavailableError: MLflow is away.
    """
    from everloop.experiment.mlflow_client import guarded

    with guarded(tracker.uri):
        found = tracker.client.search_model_versions(f"name = '{name}' and tags.`{TAG}` = '{digest}'", max_results=1)
    return str(found[0].version) if found else None


def sync_aliases(
    project: Project, store: Store, clock: Clock, *, actor: str = "loop", tracker: Tracker | None = None
) -> str:
    """Bring MLflow's aliases in step with the store; where that fails the store's word stands.

    Adopted models of rows are not registered, since their bundles are no artefacts of a run of this project: for
    them nothing is done.

    Args:
        project: the project.
        store: its store.
        clock: dates the warning.
        actor: who, for the audit log.
        tracker: an open tracker, opened here where it is ``None``.

    Returns:
        Why the aliases are behind, as an event of kind ``registry_behind`` tells too; empty where they are in step.
    """
    if project.settings.project.task != "forecasting":
        return ""
    try:
        point_aliases(tracker or open_tracker(project, clock=clock), store)
    except EverloopError as error:
        with store.write() as tx:
            message = f"MLflow's aliases are behind: {error.message}"
            record_event(tx, clock.now(), "registry_behind", message, actor=actor, evidence={"code": error.code})
        return message
    return ""


def point_aliases(tracker: Tracker, store: Store) -> None:
    """Point the registry's aliases to what the store says is in charge.

    A release that MLflow does not know (its database was deleted, say) leaves the alias away.

    Raises:
        UnavailableError: MLflow is away.
    """
    from everloop.experiment.mlflow_client import guarded

    name = tracker.project.name
    with store.read() as tx:
        wanted: dict[str, str | None] = {role: in_role(tx, role) for role in get_args(Role)}
    with guarded(tracker.uri):
        found = tracker.client.search_registered_models(filter_string=f"name = '{name}'", max_results=1)
    if not found:
        raise UnavailableError(
            "registry_empty",
            f"MLflow has no registered model {name!r}",
            hint="was MLflow's database deleted? The next release registers it again",
        )
    present = {alias: str(version) for alias, version in found[0].aliases.items()}
    for role, digest in wanted.items():
        version = None if digest is None else version_of(tracker, name, digest)
        with guarded(tracker.uri):
            if version is not None and present.get(role) != version:
                tracker.client.set_registered_model_alias(name, role, version)
            elif version is None and role in present:
                tracker.client.delete_registered_model_alias(name, role)


def _described(release: Release) -> str:
    metrics = release.manifest.metrics
    value = metrics["candidate"].get(metrics["metric"])
    shown = "not known" if value is None else f"{value:.4f}"
    return f"{release.manifest.candidate}, {metrics['metric']} {shown}, release {release.digest[:12]}"
