"""Functions that the tests' workers compute; each leaves a line in a file, so that calls can be counted."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from everloop.core.engine.pieces import Piece
from everloop.core.engine.running import run_pieces
from everloop.core.errors import ModelError
from everloop.core.settings.engine import EngineSettings


def noted(folder: Path, word: str) -> None:
    """Add a line to the calls."""
    handle = os.open(folder / "calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{word}\n".encode())
    os.close(handle)


def calls(folder: Path) -> list[str]:
    """The lines so far."""
    path = folder / "calls"
    return path.read_text().split() if path.exists() else []


def kept(folder: Path) -> int:
    """How many results are kept."""
    return len(list((folder / "pieces").glob("??/[!.]*")))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def draw(folder: Path, number: int, *, threads: int) -> np.ndarray:
    """Numbers that follow from ``number`` alone."""
    noted(folder, f"draw-{number}")
    return np.random.default_rng(number).standard_normal(1000)


def tell_process(folder: Path, number: int, *, threads: int) -> int:
    """The worker that computes it."""
    return os.getpid()


def refuse(folder: Path, number: int, *, threads: int) -> np.ndarray:
    """Fail on the odd numbers."""
    if number % 2:
        raise ModelError("odd", f"{number} is odd", hint="take an even one", path="number")
    return draw(folder, number, threads=threads)


def die_once(folder: Path, number: int, *, threads: int) -> np.ndarray:
    """Kill the worker at number 2 when it is met for the first time, and the first two are kept."""
    if number == 2 and not (folder / "died").exists():
        deadline = time.monotonic() + 60
        while kept(folder) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(folder, number, threads=threads)


def die(folder: Path, number: int, *, threads: int) -> np.ndarray:
    """Kill the worker at number 2, always."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(folder, number, threads=threads)


def wait_for_gate(folder: Path, number: int, *, threads: int) -> np.ndarray:
    """From number 2 on, wait until there is a file ``gate``."""
    noted(folder, f"begun-{number}-{os.getpid()}")
    deadline = time.monotonic() + 60
    while number >= 2 and not (folder / "gate").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return draw(folder, number, threads=threads)


def pieces(function: object, folder: Path, n: int) -> list[Piece]:
    """``n`` pieces of a function."""
    return [Piece(function, (folder, number), number) for number in range(n)]  # type: ignore[arg-type]


def drive(folder: str, workers: str) -> None:
    """What a driver of its own does, which a test kills."""
    engine = EngineSettings(workers=int(workers))
    run_pieces(pieces(wait_for_gate, Path(folder), 6), engine, home=Path(folder))
