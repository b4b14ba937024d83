"""The host: holds what is served, and follows the store without dropping a request.

A new release or state is opened, verified, loaded and warmed beside the old one, and answers recorded requests beside
it; then one reference is assigned. A request that began with the old one ends with it. Weights of a split that change
are one assignment too.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, UnavailableError
from everloop.core.project import Project
from everloop.serve.breaker import Breaker
from everloop.serve.desired import Desired, read_desired
from everloop.serve.fallback import Attempt, Health, chain_of
from everloop.serve.heap import give_back
from everloop.serve.loading import Loaded, hasten
from everloop.serve.preparing import SWAP_REFUSED, Preparation
from everloop.serve.served import Wanted
from everloop.serve.serving import Serving
from everloop.serve.traffic import Split
from everloop.store.engine import Store
from everloop.store.records import Role, TrafficSplit

if TYPE_CHECKING:
    from everloop.serve.chronicle import Chronicle

__all__ = ["Host", "Serving", "Watcher"]

_log = logging.getLogger(__name__)

ROLES: tuple[Role, ...] = ("champion", "challenger")
_RETRY_POLLS = 30
_REFUSED_POLLS = 600
_CHEAP_BYTES = 64_000_000
"""A previous champion whose model takes more than this on disk is not kept in memory."""


class Watcher(Protocol):
    """Who is told what the host does; metrics are one."""

    def swapped(self, role: Role, served: Loaded | None) -> None:
        """Another release or state answers for a role from now on, or none."""

    def swap_failed(self, role: Role) -> None:
        """A release or state could not take over; the old one stays."""

    def poll_failed(self) -> None:
        """The store did not answer."""

    def breaker(self, role: str, *, is_open: bool) -> None:
        """A circuit breaker opened or closed."""


@dataclass(slots=True)
class _Failed:
    """What could not take over, and at how many looks at the store it is not tried again."""

    wanted: Wanted
    polls: int


class Host:
    """Follows the store.

    Args:
        project: the project.
        store: its store.
        clock: the time of alerts and events.
        watcher: told of each swap and failure.
    """

    def __init__(self, project: Project, store: Store, clock: Clock, watcher: Watcher) -> None:
        self.serving = Serving()
        self._store = store
        self._settings = project.settings.serve
        self._watcher = watcher
        self._preparation = Preparation(project, store)
        self._clock = clock
        self._failed: dict[str, _Failed] = {}
        self._health: dict[Loaded, Health] = {}
        self._hastened: set[Loaded] = set()
        self._baseline: tuple[Loaded, Attempt] | None = None
        self._learnt: tuple[Loaded, Attempt] | None = None
        self._record: TrafficSplit | None = None
        self._split: Split | None = None
        self._is_failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="everloop-follower", daemon=True)

    @functools.cached_property
    def _chronicle(self) -> Chronicle:
        """Who tells the store; it takes SQLAlchemy, which is imported when something is first told."""
        from everloop.serve.chronicle import Chronicle

        return Chronicle(self._store, self._clock)

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
            desired = read_desired(self._store)
        except UnavailableError as error:
            self._watcher.poll_failed()
            _log.warning("cannot follow the store: %s", error)
            return False
        before = self.serving
        self._follow_split(desired)
        champion = self._bring("champion", desired.champion, before.champion, old=before.champion)
        others = [
            self._bring(each.release, each, before.arms.get(each.release), old=before.champion) for each in desired.arms
        ]
        challenger = self._bring("challenger", desired.challenger, before.challenger, old=before.champion)
        self._assign(champion, challenger, others)
        self._forget_failures(desired)
        self._watch_health()
        return self.serving is not before

    def _follow(self) -> None:
        while not self._stop.wait(self._settings.poll_seconds):
            try:
                is_swapped = self.refresh()
                self._learn_baseline()
                if self._hasten() or is_swapped:
                    give_back()
            except Exception:
                # The follower must outlive any surprise, or the server would serve an old release for ever.
                self._watcher.poll_failed()
                _log.exception("following the store failed")

    def _follow_split(self, desired: Desired) -> None:
        """Take over changed weights at once, before anything is loaded that may take its time."""
        if desired.split == self._record:
            return
        self._record = desired.split
        self._split = None if desired.split is None else Split.compile(desired.split)
        serving = self.serving
        self._assign(serving.champion, serving.challenger, [serving.arms.get(each.release) for each in desired.arms])

    def _bring(self, slot: str, wanted: Wanted | None, current: Loaded | None, *, old: Loaded | None) -> Loaded | None:
        """Who a slot is served from: what is wanted, or, where that cannot take over, who was before."""
        if wanted is None or (current is not None and wanted == current.wanted):
            self._forgive(slot)
            return None if wanted is None else current
        if self._is_waiting(slot, wanted):
            return current
        serving = self.serving
        known = [each for each in (serving.champion, serving.previous, *serving.arms.values()) if each is not None]
        try:
            prepared = self._preparation.prepare(wanted, old=current or old, known=known)
        except EverloopError as error:
            is_refused = error.code == SWAP_REFUSED
            self._failed[slot] = _Failed(wanted, _REFUSED_POLLS if is_refused else _RETRY_POLLS)
            for role in ROLES:
                if role == slot:
                    self._watcher.swap_failed(role)
            self._chronicle.not_loaded(slot, wanted, current, error)
            return current if current is not None or is_refused else self._preparation.own_model(wanted)
        self._forgive(slot)
        if current is not None:
            self._chronicle.swapped(slot, prepared.served, current, prepared.tryout)
        return prepared.served

    def _is_waiting(self, slot: str, wanted: Wanted) -> bool:
        """Whether what failed should not be tried again yet."""
        if self._preparation.is_overrunning(wanted):
            return True
        failed = self._failed.get(slot)
        if failed is None or failed.wanted != wanted:
            return False
        failed.polls -= 1
        return failed.polls >= 0

    def _forgive(self, slot: str) -> None:
        if self._failed.pop(slot, None):
            self._chronicle.loaded(slot)

    def _forget_failures(self, desired: Desired) -> None:
        """What failed as an arm of a split that is over is no concern any more."""
        for slot in set(self._failed) - {*ROLES, *(each.release for each in desired.arms)}:
            self._forgive(slot)

    def _assign(self, champion: Loaded | None, challenger: Loaded | None, others: Iterable[Loaded | None]) -> None:
        """Serve from now on by these: one reference is replaced."""
        before = self.serving
        previous = self._previous(champion)
        loaded = [each for each in (champion, challenger, *others) if each is not None]
        arms = {each.release.digest: each for each in reversed(loaded)}
        present = (before.champion, before.challenger, before.previous, before.split)
        if (champion, challenger, previous, self._split) == present and arms == before.arms:
            return
        known = {each: each for each in (*loaded, previous) if each is not None}
        self._health = {each: self._health_of(each, champion, challenger, previous) for each in known}
        chains = {
            digest: chain_of(
                served,
                champion=champion,
                previous=previous,
                baseline=self._baseline_of(champion or served),
                health=self._health.__getitem__,
            )
            for digest, served in arms.items()
        }
        self.serving = Serving(champion, challenger, previous, self._split, arms, chains)
        changed: tuple[tuple[Role, Loaded | None, Loaded | None], ...] = (
            ("champion", before.champion, champion),
            ("challenger", before.challenger, challenger),
        )
        for role, old, new in changed:
            if old is not new:
                self._watcher.swapped(role, new)
                self._watcher.breaker(role, is_open=new is not None and not self._health[new].breaker.is_closed)

    def _baseline_of(self, served: Loaded) -> Attempt:
        """The last in line for a release, kept for as long as it is in charge."""
        if self._baseline is None or self._baseline[0] is not served:
            self._baseline = (served, Attempt.baseline(served, self._breaker()))
        return self._baseline[1]

    def _learn_baseline(self) -> None:
        """Have the champion's baseline ready before it is needed; this can wait until the server answers."""
        if self._baseline is None or self._baseline is self._learnt:
            return
        self._learnt = self._baseline
        try:
            _ = self._baseline[1].served
        except EverloopError as error:
            _log.warning("nothing stands in for release %s: %s", self._baseline[0].release.digest[:12], error)

    def _hasten(self) -> bool:
        """Let what is served answer faster where it can; this too can wait. Tells whether anything was tried."""
        loaded = set(self.serving.arms.values()) if self._settings.compile else set()
        new = loaded - self._hastened
        self._hastened = loaded
        for served in new:
            if way := hasten(served):
                _log.info("release %s is %s", served.release.digest[:12], way)
        return bool(new)

    def _previous(self, champion: Loaded | None) -> Loaded | None:
        """The champion before this one, while it costs little memory and knows the same data."""
        before = self.serving
        is_new = before.champion is not None and (
            champion is None or before.champion.release.digest != champion.release.digest
        )
        previous = before.champion if is_new else before.previous
        if champion is None or previous is None or previous.cutoff != champion.cutoff:
            return None
        return previous if not is_new or _bytes_of(previous) <= _CHEAP_BYTES else None

    def _health_of(
        self, served: Loaded, champion: Loaded | None, challenger: Loaded | None, previous: Loaded | None
    ) -> Health:
        """How what is loaded does, kept for as long as it is loaded."""
        places = (("champion", champion), ("challenger", challenger), ("previous", previous))
        label = next((name for name, each in places if each is served), "arm")
        known = self._health.get(served)
        if known is None:
            return Health.of(served, label, self._breaker())
        known.label = label
        return known

    def _breaker(self) -> Breaker:
        return Breaker(failures=self._settings.breaker_failures, seconds=self._settings.breaker_seconds)

    def _watch_health(self) -> None:
        """An alert while a release fails again and again."""
        failing = [each for each in self._health.values() if not each.breaker.is_closed]
        if bool(failing) == self._is_failing:
            return
        self._is_failing = bool(failing)
        if failing:
            self._chronicle.failing([each.label for each in failing], failing[0].error)
        else:
            self._chronicle.recovered()


def _bytes_of(served: Loaded) -> int:
    """How much a model takes on disk."""
    return sum(path.stat().st_size for path in served.release.folder.rglob("*") if path.is_file())
