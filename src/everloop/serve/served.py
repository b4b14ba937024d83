"""A release that is loaded and ready to answer, and how it gets there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from everloop.core.errors import EverloopError, IntegrityError, ModelError
from everloop.core.project import Project
from everloop.data.panel import Panel, join_key
from everloop.models.adapted import AdaptedForecaster
from everloop.models.asking import ask
from everloop.models.forecaster import Forecaster, ForecastRequest
from everloop.release.bundle import Release, load_model, open_release
from everloop.release.state import open_state
from everloop.stats.adaptive import Widths
from everloop.store.engine import Store
from everloop.store.records import Role
from everloop.store.wanted import in_role, is_release, state_of

__all__ = ["Served", "Wanted", "instant_of", "is_pickle_allowed", "load_served", "loading", "wanted_in"]

_WARM_TIMES = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which release, and which state of it, a role should be served from; ``state`` is empty for its own model."""

    release: str
    state: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A verified, loaded and warmed release.

    Attributes:
        release: the bundle.
        state: the id of the serving state, empty where the release's own model answers.
        model: the forecaster.
        panel: the head of the panel that the model stands on.
        keys: the text of each series, in the panel's order.
        positions: the number of a series by its text.
        sorted_keys: the texts in sorted order.
        cutoff: the last instant that the model knows.
        times: the instants of all steps of the horizon, microseconds since 1970.
        labels: the same as text.
        series_seconds: what a forecast of one series took when the release was loaded.
    """

    release: Release
    state: str
    model: Forecaster
    panel: Panel
    keys: tuple[str, ...]
    positions: dict[str, int] = field(repr=False)
    sorted_keys: list[str] = field(repr=False)
    cutoff: datetime
    times: NDArray[np.int64]
    labels: tuple[str, ...]
    series_seconds: float = 0.0

    @classmethod
    def of(cls, release: Release, state: str, model: Forecaster, *, series_seconds: float = 0.0) -> Served:
        """What a loaded model can be asked."""
        panel = model.series_panel()
        keys = tuple(join_key(key) for key in panel.keys)
        ahead = panel.ahead(release.manifest.horizon)
        cutoff = int(panel.frequency.times(np.array([panel.cutoff]))[0].astype("M8[us]").astype(np.int64))
        return cls(
            release=release,
            state=state,
            model=model,
            panel=panel,
            keys=keys,
            positions={key: number for number, key in enumerate(keys)},
            sorted_keys=sorted(keys),
            cutoff=instant_of(cutoff),
            times=ahead.astype("M8[us]").astype(np.int64),
            labels=tuple(panel.frequency.label(each) for each in ahead),
            series_seconds=series_seconds,
        )

    @property
    def wanted(self) -> Wanted:
        """What it was loaded for."""
        return Wanted(self.release.digest, self.state)


def instant_of(micros: int) -> datetime:
    """Microseconds since 1970 as an instant with its zone."""
    return datetime.fromtimestamp(micros // 1_000_000, tz=UTC).replace(microsecond=micros % 1_000_000)


def wanted_in(store: Store, role: Role) -> Wanted | None:
    """What a role should be served from now, ``None`` where nobody has the role."""
    with store.look() as look:
        digest = in_role(look, role)
        return None if digest is None else Wanted(digest, state_of(look, digest))


def load_served(project: Project, store: Store, wanted: Wanted, *, opened: Release | None = None) -> Served:
    """Open, verify, load and warm a release in a state.

    Args:
        project: the project.
        store: its store.
        wanted: which release and state.
        opened: the release, where it was verified before.

    Raises:
        NotFoundError: the bundle or the state is not on this machine.
        IntegrityError: a file is not what its digest says.
        ModelError: the model cannot be loaded, or cannot forecast.
    """
    release = opened or open_release(project.releases / wanted.release, digest=wanted.release)
    folder = intervals = None
    if wanted.state:
        state = open_state(project.states, wanted.state)
        if state.release != wanted.release:
            raise IntegrityError(
                "state_release",
                f"serving state {wanted.state[:12]} belongs to release {state.release[:12]}",
                hint="make the state again: everloop tick",
            )
        folder, intervals = state.model_folder, state.intervals
    is_allowed = is_pickle_allowed(project, store, wanted.release)
    with loading(wanted.release):
        model = load_model(release, root=project.root, folder=folder, allow_pickle=is_allowed)
        if intervals is not None:
            model = AdaptedForecaster(model, Widths.from_dict(intervals))
        return Served.of(release, wanted.state, model, series_seconds=_warm(release, model))


@contextmanager
def loading(digest: str) -> Iterator[None]:
    """Whatever goes wrong with a release's model while it is loaded becomes an error of Everloop's.

    Raises:
        ModelError: the model cannot be loaded.
    """
    try:
        yield
    except EverloopError:
        raise
    except Exception as error:
        # A user's own model may fail in any way, and the release that is in charge must not suffer from it. The host
        # logs and counts what is raised here.
        raise ModelError(
            "model_load",
            f"the model of release {digest[:12]} cannot be loaded: {type(error).__name__}: {error}",
            hint="everloop trace shows what it was made with",
        ) from error


def is_pickle_allowed(project: Project, store: Store, digest: str) -> bool:
    """Whether a release may be loaded by code of its own: this installation made it, or the settings allow all."""
    if project.settings.release.allow_pickle:
        return True
    with store.look() as look:
        return is_release(look, digest)


def _warm(release: Release, model: Forecaster) -> float:
    """Forecast one series, so that the first request finds everything in place; how long one takes, in seconds."""
    if not model.series_panel().n_series:
        return 0.0
    request = ForecastRequest(release.manifest.horizon, release.manifest.levels, np.zeros(1, dtype=np.int64))
    seconds = float("inf")
    for _ in range(_WARM_TIMES):  # the first one pays for what is made once
        started = time.perf_counter()
        ask(model, request)
        seconds = min(seconds, time.perf_counter() - started)
    return seconds
