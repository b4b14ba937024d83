"""The host: holds what is served, and follows the store without dropping a request.

A new release or state is opened, verified, loaded and warmed beside the old one; then one reference is assigned.
A request that began with the old one ends with it.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Protocol

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, UnavailableError
from everloop.core.project import Project
from everloop.serve.served import Served, Wanted, load_served, wanted_in
from everloop.store.alerts import clear_alert, raise_alert
from everloop.store.deployments import Role
from everloop.store.engine import Store

__all__ = ["Host", "Serving", "Watcher"]

_log = logging.getLogger(__name__)

ROLES: tuple[Role, ...] = ("champion", "challenger")
_ALERTS: dict[Role, str] = {"champion": "champion_load", "challenger": "challenger_load"}
_RETRY_POLLS = 30


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served at one moment."""

    champion: Served | None = None
    challenger: Served | None = None


class Watcher(Protocol):
    """Who is told what the host does; metrics are one."""

    def swapped(self, role: Role, served: Served | None) -> None:
        """Another release or state answers for a role from now on, or none."""

    def swap_failed(self, role: Role) -> None:
        """A release or state could not be loaded; the old one stays."""

    def poll_failed(self) -> None:
        """The store did not answer."""


class Host:
    """Follows the store.

    Args:
        project: the project.
        store: its store.
        clock: the time of alerts.
        watcher: told of each swap and failure.
    """

    def __init__(self, project: Project, store: Store, clock: Clock, watcher: Watcher) -> None:
        self.serving = Serving()
        self._project = project
        self._store = store
        self._clock = clock
        self._watcher = watcher
        self._failed: dict[Role, tuple[Wanted, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="everloop-follower", daemon=True)

    def start(self) -> None:
        """Load what is in charge, then follow in a thread."""
        self.refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def refresh(self) -> bool:
        """Look at the store once; tells whether something was swapped.

        Nothing is raised: what cannot be loaded or read is logged, counted, and tried again later.
        """
        try:
            wanted = {role: wanted_in(self._store, role) for role in ROLES}
        except UnavailableError as error:
            self._watcher.poll_failed()
            _log.warning("cannot follow the store: %s", error)
            return False
        changes = [self._follow_role(role, wanted[role]) for role in ROLES]
        return any(changes)

    def _follow(self) -> None:
        while not self._stop.wait(self._project.settings.serve.poll_seconds):
            try:
                self.refresh()
            except Exception:
                # The follower must outlive any surprise, or the server would serve an old release for ever.
                self._watcher.poll_failed()
                _log.exception("following the store failed")

    def _follow_role(self, role: Role, wanted: Wanted | None) -> bool:
        """Bring one role to what is wanted."""
        current: Served | None = getattr(self.serving, role)
        if wanted == (current.wanted if current else None):
            return False
        if wanted is None:
            return self._swap(role, None)
        if self._is_waiting(role, wanted):
            return False
        try:
            served = self._load(wanted, current)
        except EverloopError as error:
            self._failed[role] = (wanted, _RETRY_POLLS)
            self._watcher.swap_failed(role)
            self._raise_alert(role, wanted, current, error)
            own = self._own_model(wanted) if current is None else None
            return False if own is None else self._swap(role, own)
        if self._failed.pop(role, None):
            self._clear_alert(role)
        return self._swap(role, served)

    def _is_waiting(self, role: Role, wanted: Wanted) -> bool:
        """Whether a failed load should not be tried again yet."""
        failed, polls = self._failed.get(role, (None, 0))
        if failed != wanted or polls <= 0:
            return False
        self._failed[role] = (wanted, polls - 1)
        return True

    def _load(self, wanted: Wanted, current: Served | None) -> Served:
        known = [current, self.serving.champion, self.serving.challenger]
        for served in known:
            if served is not None and served.wanted == wanted:  # a challenger that was promoted
                return served
        opened = next((each.release for each in known if each and each.release.digest == wanted.release), None)
        return load_served(self._project, self._store, wanted, opened=opened)

    def _own_model(self, wanted: Wanted) -> Served | None:
        """The release as it was fitted, where nothing is in charge and its newest state cannot be loaded."""
        if not wanted.state:
            return None
        try:
            return load_served(self._project, self._store, Wanted(wanted.release))
        except EverloopError as error:
            _log.warning("release %s cannot be loaded either: %s", wanted.release[:12], error)
            return None

    def _swap(self, role: Role, served: Served | None) -> bool:
        champion = served if role == "champion" else self.serving.champion
        challenger = served if role == "challenger" else self.serving.challenger
        self.serving = Serving(champion, challenger)
        self._watcher.swapped(role, served)
        return True

    def _raise_alert(self, role: Role, wanted: Wanted, current: Served | None, error: EverloopError) -> None:
        """An alert in the store: once, however often and by however many workers the load is tried."""
        kept = f"{current.release.digest[:12]} stays in charge" if current else "nothing is in charge"
        message = f"the {role} {wanted.release[:12]} cannot be loaded: {error.message}; {kept}"
        evidence = error.to_dict() | {"release": wanted.release, "state": wanted.state, "role": role}
        try:
            with self._store.write() as tx:
                is_new = raise_alert(
                    tx,
                    _ALERTS[role],
                    message,
                    at=self._clock.now(),
                    actor="serve",
                    hint=error.hint,
                    subject=wanted.release,
                    evidence=evidence,
                )
            if is_new:
                _log.error("%s", message)
        except UnavailableError as failure:
            _log.warning("%s, and the alert cannot be stored: %s", message, failure)

    def _clear_alert(self, role: Role) -> None:
        try:
            with self._store.write() as tx:
                clear_alert(tx, _ALERTS[role], at=self._clock.now(), actor="serve")
        except UnavailableError as failure:
            _log.warning("the end of an alert cannot be stored: %s", failure)
