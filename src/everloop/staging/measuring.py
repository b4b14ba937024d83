"""What a release does when it is loaded and asked as a server loads and asks it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from everloop.core.errors import EverloopError
from everloop.core.project import Project
from everloop.serve.loading import load_release
from everloop.serve.served import Served, Wanted
from everloop.staging.asking import Asked, ForecastsAsked, RowsAsked
from everloop.store.engine import Store

__all__ = ["Measured", "measure", "peak_megabytes"]

_ROUNDS = 3
_REQUESTS = 100
_LEAST_REQUESTS = 5
_ROUND_SECONDS = 5.0


class Measured(msgspec.Struct, frozen=True):
    """What was measured of a release.

    Attributes:
        answers: by the way they are served, the case, and the output; JSON values.
        rounds: the milliseconds that each request took, in each round.
        peak_mb: the most memory that the process held; ``None`` where it was not measured or cannot be told.
        before_mb: likewise, before the release was loaded.
        failure: why the release could not be loaded or asked, empty where it could.
    """

    answers: dict[str, dict[str, dict[str, list[Any]]]] = {}
    rounds: tuple[tuple[float, ...], ...] = ()
    peak_mb: float | None = None
    before_mb: float | None = None
    failure: str = ""


def measure(project: Project, store: Store, digest: str, *, is_timed: bool) -> Measured:
    """Load a release in this process and ask it.

    Args:
        project: the project.
        store: its store.
        digest: the release.
        is_timed: whether requests are timed and the process's memory is read; only a fresh process tells of a server.
    """
    before = peak_megabytes() if is_timed else None
    try:
        loaded = load_release(project, store, Wanted(digest))
        asked: Asked = ForecastsAsked(project, loaded) if isinstance(loaded, Served) else RowsAsked(loaded)
        answers = asked.answers()
        rounds = _timed(asked.ask, asked.n) if is_timed and asked.n else ()
    except EverloopError as error:
        return Measured(failure=error.message)
    except Exception as error:
        # A user's own model may fail in any way; that it does is what a rehearsal is for, and what it tells.
        return Measured(failure=f"{type(error).__name__}: {error}")
    return Measured(answers, rounds, peak_megabytes() if is_timed else None, before)


def peak_megabytes() -> float | None:
    """The most memory that this process has held since it was started; ``None`` where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        # the resource module's figure includes what the parent held when it made this process
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
        return None
    if platform.system() != "Darwin":
        return None
    import resource  # Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _timed(ask: Callable[[int], object], n: int) -> tuple[tuple[float, ...], ...]:
    """The milliseconds of requests one after the other, in rounds that each end in bounded time."""
    rounds = []
    for _ in range(_ROUNDS):
        taken: list[float] = []
        began = time.perf_counter()
        for place in range(_REQUESTS):
            started = time.perf_counter()
            if len(taken) >= _LEAST_REQUESTS and started - began > _ROUND_SECONDS:
                break
            ask(place % n)
            taken.append((time.perf_counter() - started) * 1e3)
        rounds.append(tuple(taken))
    return tuple(rounds)
