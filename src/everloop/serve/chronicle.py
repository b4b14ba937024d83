"""What the host tells the store: alerts while a release cannot take over or fails, and an event for each swap.

Every worker follows the store by itself. What all of them would tell is told once: alerts by their code, swaps by a
mark of the release and state that were swapped in last.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError as RowExistsError

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, UnavailableError
from everloop.serve.loading import Loaded
from everloop.serve.preparing import SWAP_REFUSED
from everloop.serve.served import Wanted
from everloop.serve.tryout import Tryout
from everloop.store.alerts import clear_alert, raise_alert
from everloop.store.engine import Store
from everloop.store.events import record_event
from everloop.store.marks import get_mark, set_mark

__all__ = ["Chronicle"]

_log = logging.getLogger(__name__)

MODEL_FAILING = "model_failing"
ACTOR = "serve"


class Chronicle:
    """Writes what the host does into the store; nothing is raised where the store is away.

    Args:
        store: the store.
        clock: dates what is written.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def not_loaded(self, slot: str, wanted: Wanted, current: Loaded | None, error: EverloopError) -> None:
        """A release or state cannot take over: an alert, however often and by however many workers it is tried."""
        kept = f"{current.release.digest[:12]} stays in charge" if current else "nothing is in charge"
        problem = "was refused" if error.code == SWAP_REFUSED else "cannot be loaded"
        message = f"the {slot} {wanted.release[:12]} {problem}: {error.message}; {kept}"
        evidence = error.to_dict() | {"release": wanted.release, "state": wanted.state, "role": slot}
        self._alert(_load_code(slot, error), message, hint=error.hint, subject=wanted.release, evidence=evidence)

    def loaded(self, slot: str) -> None:
        """What could not take over did, or is not wanted any more."""
        self._clear(_load_code(slot), SWAP_REFUSED)

    def swapped(self, slot: str, served: Loaded, old: Loaded, tryout: Tryout | None) -> None:
        """A release or state took over from another."""
        wanted, now = served.wanted, self._clock.now()
        mark = {"release": wanted.release, "state": wanted.state}
        is_same = old.release.digest == wanted.release
        change = f"newer data of {wanted.release[:12]}" if is_same else f"{wanted.release[:12]}"
        shown = "it was loaded already" if tryout is None else tryout.sentence()
        message = f"{change} took over as {slot} from {old.release.digest[:12]}: {shown}"
        evidence = {
            "role": slot,
            "release": wanted.release,
            "state": wanted.state,
            "before": {"release": old.release.digest, "state": old.state},
            "tryout": None if tryout is None else tryout.to_dict(),
        }

        def write(tx: Connection) -> None:
            if get_mark(tx, f"swapped:{slot}") != mark:
                set_mark(tx, f"swapped:{slot}", mark, at=now)
                record_event(tx, now, "swapped", message, actor=ACTOR, subject=wanted.release, evidence=evidence)

        self._write(message, write)

    def failing(self, labels: list[str], error: str) -> None:
        """Releases fail again and again, so that others answer."""
        message = f"the {' and the '.join(labels)} cannot answer and is not asked for a while: {error}"
        hint = "others answer in its place, marked as such; roll back, or train again: everloop rollback"
        self._alert(MODEL_FAILING, message, hint=hint, subject=",".join(labels), evidence={"error": error})

    def recovered(self) -> None:
        """All releases answer again."""
        self._clear(MODEL_FAILING)

    def _alert(self, code: str, message: str, *, hint: str, subject: str, evidence: dict[str, Any]) -> None:
        def write(tx: Connection) -> None:
            at = self._clock.now()
            if raise_alert(tx, code, message, at=at, actor=ACTOR, hint=hint, subject=subject, evidence=evidence):
                _log.error("%s", message)

        self._write(message, write)

    def _clear(self, *codes: str) -> None:
        def write(tx: Connection) -> None:
            for code in codes:
                clear_alert(tx, code, at=self._clock.now(), actor=ACTOR)

        self._write("the end of an alert", write)

    def _write(self, what: str, write: Callable[[Connection], None]) -> None:
        try:
            with self._store.write() as tx:
                write(tx)
        except UnavailableError as error:
            _log.warning("%s: this cannot be stored: %s", what, error)
        except RowExistsError:
            _log.info("%s: another worker stored this first", what)


def _load_code(slot: str, error: EverloopError | None = None) -> str:
    """The alert of a slot: of the champion, the challenger, or any other arm."""
    if error is not None and error.code == SWAP_REFUSED:
        return SWAP_REFUSED
    return f"{slot}_load" if slot in ("champion", "challenger") else "arm_load"
