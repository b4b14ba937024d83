"""The controller: call the loop's step again and again, until told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from everloop.core.errors import ConflictError, EverloopError, UnavailableError
from everloop.loop.context import LoopContext
from everloop.loop.tick import TickReport, tick

__all__ = ["control"]


def control(
    context: LoopContext,
    *,
    stop: threading.Event | None = None,
    report: Callable[[TickReport], None] = lambda _: None,
    complain: Callable[[EverloopError], None] = lambda _: None,
) -> None:
    """Tick every ``loop.poll_seconds`` until ``stop`` is set, or SIGTERM or SIGINT comes.

    Of several controllers the one with the lease acts; the others wait for it to fall silent. A store that is
    away is waited for.

    Args:
        context: what a step works with.
        stop: set it to stop; signals are then left alone.
        report: told what each step did.
        complain: told why a step could not be done.
    """
    if stop is None:
        stop = threading.Event()
        _stop_on_signals(stop)
    waiting = False
    while not stop.is_set():
        try:
            report(tick(context))
            waiting = False
        except ConflictError as error:
            if not waiting:
                complain(error)
            waiting = True
        except UnavailableError as error:
            complain(error)
        stop.wait(context.project.settings.loop.poll_seconds)


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
