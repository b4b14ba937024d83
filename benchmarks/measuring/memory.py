"""A command's cost: wall and processor seconds, and the most memory that it and its children held at once."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cost", "cost_of"]

_EVERY_SECONDS = 0.1


@dataclass(frozen=True)
class Cost:
    """What a command cost.

    Attributes:
        seconds: by the clock.
        cpu_seconds: on all cores together; other work on the machine hardly changes them.
        peak_gb: the most that the command's own process held resident (``VmHWM``).
        tree_gb: the most that it and its children held at a moment; pages that they share count for each.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float
    tree_gb: float


def cost_of(command: Sequence[str], *, log: Path) -> Cost:
    """Run a command and sample its memory from ``/proc``.

    Args:
        command: the program and its arguments.
        log: a file for all that it says.

    Raises:
        RuntimeError: it failed.
    """
    before = _cpu_seconds()
    began = time.monotonic()
    own = tree = 0
    with log.open("w", encoding="utf-8") as said:
        running = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        while running.poll() is None:
            held = [_resident(each) for each in _family(running.pid)]
            own = max(own, held[0][0])
            tree = max(tree, sum(now for _, now in held))
            time.sleep(_EVERY_SECONDS)
    seconds = time.monotonic() - began
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)}: {log.read_text(encoding='utf-8').strip()[-2000:]}")
    return Cost(seconds, _cpu_seconds() - before, own / 2**20, tree / 2**20)


def _cpu_seconds() -> float:
    """The processor time of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _resident(process: int) -> tuple[int, int]:
    """The most and the present resident kilobytes of a process, none where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0, 0
    found = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.strip()}
    return int(found.get("VmHWM", 0)), int(found.get("VmRSS", 0))


def _family(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(each) for thread in threads for each in (thread / "children").read_text().split()]
    except OSError:
        return found
    return found + [below for child in children for below in _family(child)]
