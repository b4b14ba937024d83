"""Bringing the served releases up to date with new data, without learning anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from everloop.core.project import Project
from everloop.data.loading import load_panel
from everloop.data.table import DatasetVersion, last_known
from everloop.improve.intervals import keep_widths, learnt_widths
from everloop.models.forecaster import Forecaster
from everloop.release.bundle import Release, load_model, open_release
from everloop.release.manifest import Dataset
from everloop.release.state import ServingState, prune_states, save_state
from everloop.stats.adaptive import Widths
from everloop.store.deployments import StateRow, add_state, in_role, latest_state
from everloop.store.engine import Store

__all__ = ["LoadedReleases", "instant_of", "make_state", "refresh_states"]


@dataclass(slots=True)
class LoadedReleases:
    """Releases that this process has opened, so that a replay of a year does not open one a day."""

    project: Project
    opened: dict[str, tuple[Release, Forecaster]] = field(default_factory=dict)

    def get(self, digest: str) -> tuple[Release, Forecaster]:
        """A verified release and its model, as it was fitted."""
        if digest not in self.opened:
            release = open_release(self.project.releases / digest, digest=digest)
            model = load_model(release, root=self.project.root, allow_pickle=True)  # made by this installation
            if len(self.opened) >= 4:
                self.opened.pop(next(iter(self.opened)))
            self.opened[digest] = (release, model)
        return self.opened[digest]


def refresh_states(
    project: Project, store: Store, dataset: DatasetVersion, *, now: datetime, loaded: LoadedReleases
) -> list[str]:
    """Make a serving state of the champion and the challenger for a dataset version.

    What is there already is left as it is. Returns the releases that got a new state.
    """
    with store.read() as tx:
        digests = [digest for role in ("champion", "challenger") if (digest := in_role(tx, role))]
        present = {digest: latest_state(tx, digest) for digest in digests}
    stale = [digest for digest in digests if not _is_current(present[digest], dataset)]
    if not stale:
        return []
    settings = project.settings.data
    until = last_known(project.table, settings.time, settings.target, version=dataset.version)
    rows: list[tuple[StateRow, Widths | None]] = []
    for digest in stale:
        with store.read() as tx:
            known = present[digest]
            widths = None if until is None else learnt_widths(project, tx, release=digest, state=known, until=until)
        state = make_state(project, digest, dataset, loaded=loaded, widths=widths)
        cutoff = datetime.fromisoformat(state.cutoff)
        rows.append((StateRow(state.id, digest, dataset.version, dataset.digest, cutoff, now), widths))
    with store.write() as tx:
        for row, widths in rows:
            add_state(tx, row)
            if widths is not None:
                keep_widths(tx, row.id, widths, at=now)
    keep = {row.id for row, _ in rows} | {state.id for state in present.values() if state is not None}
    prune_states(project.states, keep)
    return stale


def make_state(
    project: Project,
    digest: str,
    dataset: DatasetVersion,
    *,
    loaded: LoadedReleases,
    widths: Widths | None = None,
) -> ServingState:
    """The serving state of a release for a dataset version; made again, it is the same one, bit for bit.

    Args:
        project: the project.
        digest: the release.
        dataset: the version.
        loaded: releases that are open already.
        widths: how its intervals are stretched, ``None`` where they are not.

    Raises:
        NotFoundError: the release's bundle or the dataset version is not there.
        IntegrityError: the bundle was changed.
    """
    model = loaded.get(digest)[1]
    horizon = project.settings.forecast.horizon
    panel, _ = load_panel(project, version=dataset.version, history=model.memory, horizon=horizon)
    cutoff = instant_of(panel.frequency.times(np.array([panel.cutoff]))[0])
    return save_state(
        project.states,
        model.update(panel),
        release=digest,
        dataset=Dataset(dataset.version, dataset.digest, dataset.rows),
        cutoff=cutoff.isoformat(),
        intervals=None if widths is None else widths.to_dict(),
    )


def _is_current(state: StateRow | None, dataset: DatasetVersion) -> bool:
    return state is not None and state.dataset_digest == dataset.digest


def instant_of(time: np.datetime64) -> datetime:
    """A NumPy instant as one with its zone."""
    micros = int(time.astype("M8[us]").astype(np.int64))
    return datetime.fromtimestamp(micros / 1_000_000, tz=UTC)
