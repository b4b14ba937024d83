"""``everloop loop``: the controller."""

from __future__ import annotations

from everloop.cli.options import ProjectOption, SetOption, opened
from everloop.cli.output import say
from everloop.cli.telling import tell_step
from everloop.core.clock import SystemClock
from everloop.core.errors import EverloopError
from everloop.loop.context import LoopContext, holder_name
from everloop.loop.controller import control
from everloop.loop.tick import TickReport


def command(project: ProjectOption = None, set_: SetOption = None) -> None:
    """Tick whenever something is due, until stopped by Ctrl-C or SIGTERM.

    Several may run, on one machine or on many that share a store: one acts, the others stand by.

    Example: everloop loop --set loop.poll_seconds=10
    """

    def report(step: TickReport) -> None:
        if step.events or step.failures or step.predicted:
            tell_step(step, say)

    def complain(error: EverloopError) -> None:
        say(f"waiting[{error.code}]: {error.message}")

    with opened(project, set_) as (found, store):
        say(f"looking after {found.name!r} every {found.settings.loop.poll_seconds:g} s; stop with Ctrl-C")
        control(LoopContext(found, store, SystemClock(), holder_name()), report=report, complain=complain)
    say("stopped")
