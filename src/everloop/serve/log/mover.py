"""The mover: brings what the buffer on disk holds to the store, when that answers again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from itertools import islice

from everloop.core.clock import Clock
from everloop.core.errors import EverloopError, UnavailableError
from everloop.core.project import Project
from everloop.serve.log.outage import FULL, SPOOLING, OutageNote, left_alerts
from everloop.serve.log.sinks import SinkBusyError, open_sink
from everloop.serve.log.spool import Segment, Spool, spool_folder
from everloop.store.engine import Store

__all__ = ["Mover"]

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.25
_PATIENCE_SECONDS = 5.0
_PER_COMMIT = 500


class Mover:
    """A thread that waits for the store to answer, tells so, and then moves segments.

    Args:
        project: names who tells.
        store: where to.
        clock: the time of alerts.
        spool: the buffer.
        on_back: called by the thread when the store answers again; it ends the present segment, and tells whether that
            is done.
    """

    def __init__(
        self, project: Project, store: Store, clock: Clock, spool: Spool, *, on_back: Callable[[], bool]
    ) -> None:
        self._store = store
        self._clock = clock
        self._spool = spool
        self._on_back = on_back
        self._sink = open_sink(store, fsync=project.settings.log.fsync)
        self._folder = spool_folder(project)
        self._outage = OutageNote(self._folder, clock)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._is_away = False
        self._reason = ""
        self._full_reason = ""
        self._thread = threading.Thread(target=self._work, name="everloop-log-mover", daemon=True)

    def start(self) -> None:
        """Start the thread; it first moves what an earlier server left."""
        self._wake.set()
        self._thread.start()

    def close(self) -> None:
        """Stop after the commit in hand; what is left is moved by the next server."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(2 * _PATIENCE_SECONDS)

    def follow(self, reason: str) -> None:
        """Wait for the store, which takes nothing for ``reason``, and move what gathers."""
        self._reason = reason
        self._is_away = True
        self._wake.set()

    def note_full(self, reason: str) -> None:
        """The buffer takes no more, for ``reason``."""
        self._full_reason = reason

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            while not self._stop.is_set():
                try:
                    if self._is_away:
                        self._note()
                        self._sink.write([], patience=0.0)
                        self._is_away = False
                        if not self._on_back():
                            self._is_away = True
                            continue
                    moved = self._move()
                    self._tell_left()
                except (SinkBusyError, UnavailableError):
                    self._stop.wait(_RETRY_SECONDS)
                    continue
                except Exception:
                    # without this thread the buffer would never empty; the log tells what happened
                    _log.exception("the buffer on disk could not be moved to the store")
                    self._stop.wait(10 * _RETRY_SECONDS)
                    continue
                if self._reason:
                    self._tell(moved, time.monotonic() - began)
                elif moved:
                    _log.warning("%d predictions of an earlier server were moved to the store", moved)
                break
            if self._stop.is_set():
                self._sink.close()
                self._outage.close()
                return

    def _note(self) -> None:
        """Keep word of the outage beside the buffer, where it can be seen while the store is away."""
        try:
            self._outage.write(SPOOLING, f"the store takes no predictions ({self._reason}): they are kept on disk")
            if self._full_reason:
                self._outage.write(FULL, f"predictions are refused or not stored: {self._full_reason}")
        except OSError as error:
            _log.warning("the outage of the store could not be noted on disk: %s", error)

    def _tell_left(self) -> None:
        """Bring to the store what workers that ended in an outage had to say of it."""
        with left_alerts(self._folder) as alerts:
            if alerts:
                from everloop.store.alerts import clear_alert, raise_alert  # what no server needs before it answers

                with self._store.write() as tx:
                    for alert in alerts:
                        raise_alert(tx, alert.code, alert.message, at=alert.since, actor="serve", hint=alert.hint)
                        clear_alert(tx, alert.code, at=self._clock.now(), actor="serve")

    def _move(self) -> int:
        """Bring all segments that nobody writes to the store; how many predictions they held."""
        moved = 0
        for segment in self._spool.waiting():
            try:
                moved += self._move_one(segment)
            except BaseException:
                segment.close()
                raise
        return moved

    def _move_one(self, segment: Segment) -> int:
        records = segment.records()
        moved = 0
        while group := list(islice(records, _PER_COMMIT)):
            self._sink.write_again(group, patience=_PATIENCE_SECONDS)
            moved += len(group)
        aside = segment.put_aside()
        if aside is None:
            segment.delete()
        else:
            _log.error("the buffer on disk is damaged: what could not be read of it is kept in %s", aside)
        return moved

    def _tell(self, moved: int, seconds: float) -> None:
        """Leave word of the outage in the store; it is over, so the alert is cleared with the same breath."""
        from everloop.store.alerts import clear_alert, raise_alert

        message = f"the store took no predictions for about {seconds:.1f} s; {moved} were kept on disk and moved"
        evidence = {"reason": self._reason, "seconds": round(seconds, 3), "moved": moved}
        full, self._full_reason, self._reason = self._full_reason, "", ""
        since = self._outage.since or self._clock.now()
        while not self._stop.is_set():
            try:
                with self._store.write() as tx:
                    for code, text in ((SPOOLING, message), (FULL, f"predictions were refused or not stored: {full}")):
                        if code == SPOOLING or full:
                            raise_alert(tx, code, text, at=since, actor="serve", evidence=evidence)
                            clear_alert(tx, code, at=self._clock.now(), actor="serve")
            except EverloopError as error:
                _log.error("an outage of the store could not be told to it yet: %s", error)
                self._stop.wait(_RETRY_SECONDS)
                continue
            self._outage.delete()
            break
        _log.warning("%s", message)
