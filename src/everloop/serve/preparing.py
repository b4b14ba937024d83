"""Preparing a release or state to take over: opened, verified, loaded, warmed and tried, within bounded time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from everloop.core.errors import EverloopError, ModelError
from everloop.core.project import Project
from everloop.serve.loading import Loaded, load_release
from everloop.serve.served import Wanted
from everloop.serve.tryout import Tryout, recomputed, try_out
from everloop.store.engine import Store

__all__ = ["SWAP_REFUSED", "Preparation", "Prepared"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

SWAP_REFUSED = "swap_refused"
_STATE_REQUESTS = 5
"""How many recorded requests newer data of the same release are tried on: the model itself is known."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What may take over, and what its tryout showed; ``None`` for what was loaded already."""

    served: Loaded
    tryout: Tryout | None


class Preparation:
    """Prepares what the host serves.

    A load or a tryout that takes too long is given up, but goes on in its thread, since Python cannot end it. What it
    was for is not tried again while it runs.

    Args:
        project: the project.
        store: its store.
    """

    def __init__(self, project: Project, store: Store) -> None:
        self._project = project
        self._store = store
        self._settings = project.settings.serve
        self._overrunning: dict[Wanted, threading.Thread] = {}

    def is_overrunning(self, wanted: Wanted) -> bool:
        """Whether an earlier attempt that was given up still runs."""
        thread = self._overrunning.get(wanted)
        if thread is None:
            return False
        if not thread.is_alive():
            del self._overrunning[wanted]
        return thread.is_alive()

    def prepare(self, wanted: Wanted, *, old: Loaded | None, known: Sequence[Loaded]) -> Prepared:
        """Load, warm and try a release.

        Args:
            wanted: which release and state.
            old: who answers now; ``None`` tries nothing.
            known: what is loaded already.

        Raises:
            NotFoundError: the bundle or the state is not on this machine.
            IntegrityError: a file is not what its digest says.
            ModelError: the model cannot be loaded, cannot answer, takes too long, or did badly in its tryout.
        """
        for served in known:
            if served.wanted == wanted:  # a challenger that was promoted, or a champion that comes back
                return Prepared(served, None)
        opened = next((each.release for each in known if each.release.digest == wanted.release), None)
        new = self._within(
            self._settings.load_timeout_seconds,
            lambda: load_release(self._project, self._store, wanted, opened=opened),
            wanted,
            "loading it",
        )
        limits = self._settings.swap_compare
        if old is None or not limits.requests:
            return Prepared(new, Tryout())
        is_same = old.release.digest == wanted.release
        tryout = self._within(
            limits.seconds + self._settings.model_timeout_seconds,
            lambda: self._try_out(new, old, min(limits.requests, _STATE_REQUESTS) if is_same else limits.requests),
            wanted,
            "its answer to a recorded request",
        )
        if tryout.refusal:
            raise ModelError(
                SWAP_REFUSED, tryout.refusal, hint="serve.swap_compare sets the bounds; see it alone: everloop release"
            )
        return Prepared(new, tryout)

    def own_model(self, wanted: Wanted) -> Loaded | None:
        """The release as it was fitted, for where nothing is in charge and its newest state cannot be loaded."""
        if not wanted.state:
            return None
        try:
            return load_release(self._project, self._store, Wanted(wanted.release))
        except EverloopError as error:
            _log.warning("release %s cannot be loaded either: %s", wanted.release[:12], error)
            return None

    def _try_out(self, new: Loaded, old: Loaded, limit: int) -> Tryout:
        from everloop.store.recorded import recent_requests  # what no server needs before it answers

        with self._store.read() as tx:
            requests = recent_requests(tx, old.release.digest, limit=limit)
        limits = self._settings.swap_compare
        return try_out(
            new,
            old,
            requests,
            compute=lambda served, recorded: recomputed(self._project, served, recorded),
            max_slowdown=limits.max_slowdown,
            seconds=limits.seconds,
        )

    def _within(self, seconds: float, work: Callable[[], T], wanted: Wanted, what: str) -> T:
        """What the work returns or raises, or an error when it takes too long."""
        outcome: list[T] = []
        raised: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(work())
            except BaseException as error:
                # raised again by whoever waits for this thread
                raised.append(error)

        thread = threading.Thread(target=run, name="everloop-preparing", daemon=True)
        thread.start()
        thread.join(seconds)
        if outcome:
            return outcome[0]
        if raised:
            raise _as_error(raised[0], wanted)
        self._overrunning[wanted] = thread
        raise ModelError(
            "swap_slow",
            f"{what} took more than {seconds:g} seconds",
            hint="serve.load_timeout_seconds and serve.model_timeout_seconds set the bounds",
        )


def _as_error(error: BaseException, wanted: Wanted) -> Exception:
    """Any failure as one that the host can tell of; a model of a user's own may even raise SystemExit."""
    if isinstance(error, EverloopError):
        return error
    made = ModelError(
        "model_load", f"the model of release {wanted.release[:12]} cannot be loaded: {type(error).__name__}: {error}"
    )
    made.__cause__ = error
    return made
