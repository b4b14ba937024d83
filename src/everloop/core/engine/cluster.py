"""Pieces by a Ray cluster: one that runs already, or one on this machine for the time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from everloop.core.engine.pieces import Outcome, Piece, perform
from everloop.core.errors import UnavailableError

__all__ = ["RayWorkers"]

_MOST_RETRIES = 3


class RayWorkers:
    """The workers of a Ray cluster, which is joined with the first piece.

    Every node must see the project's folder under the same path, and have the same packages.

    Args:
        workers: how many pieces at once; 0 means as many as the cluster has cores.
        address: the cluster's; empty starts Ray on this machine. Where this process is connected to a cluster
            already, that one is used, and is not left at the end.
    """

    def __init__(self, workers: int, address: str) -> None:
        self._workers = workers
        self._address = address
        self._ray: Any = None
        self._is_own = False

    @property
    def width(self) -> int:
        """How many pieces are computed at once.

        Raises:
            UnavailableError: Ray is not installed, or the cluster cannot be reached.
        """
        return self._workers or _cores(self._joined())[0]

    def perform(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, Outcome]]:
        """The place and the outcome of each piece, as they end; those of a node that dies are computed on another one.

        Raises:
            UnavailableError: Ray is not installed, the cluster cannot be reached, or a piece lost its worker too often.
        """
        ray = self._joined()
        total, widest = _cores(ray)
        limit = min(self._workers or total, len(pieces))
        threads = max(1, min(widest, total // limit))
        task = ray.remote(perform).options(num_cpus=threads, max_retries=_MOST_RETRIES, scheduling_strategy="SPREAD")
        places = iter(range(len(pieces)))
        running: dict[Any, int] = {}
        while True:
            while len(running) < limit and (place := next(places, None)) is not None:
                running[task.remote(pieces[place].function, pieces[place].arguments, threads)] = place
            if not running:
                return
            ended, _ = ray.wait(list(running), num_returns=1)
            for reference in ended:
                place = running.pop(reference)
                yield place, _result(ray, reference)

    def close(self) -> None:
        """Leave the cluster, where it was joined for these pieces."""
        if self._is_own:
            self._ray.shutdown()
        self._ray, self._is_own = None, False

    def _joined(self) -> Any:
        if self._ray is None:
            ray = _import_ray()
            if not ray.is_initialized():
                _connect(ray, self._address)
                self._is_own = True
            self._ray = ray
        return self._ray


def _import_ray() -> Any:
    # read while Ray is imported and when it starts: nothing is reported to anybody
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")  # a run that somebody waits for, as local workers are
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise UnavailableError(
            "engine_ray_missing",
            f"engine.kind is 'ray', but Ray cannot be imported: {error}",
            hint="install it: pip install 'everloop[ray]', or set engine.kind = 'local'",
            path="engine.kind",
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address=address or "local", include_dashboard=None if address else False, log_to_driver=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = f"the cluster at {address!r} cannot be reached" if address else "Ray cannot be started here"
        raise UnavailableError(
            "engine_unreachable",
            f"{where}: {type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}",
            hint="is it up (ray status), of the same Ray and Python versions, and engine.address right?",
            path="engine.address",
        ) from error


def _cores(ray: Any) -> tuple[int, int]:
    """The cores of the cluster, and those of its widest node."""
    each = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return max(1, sum(each)), max(1, max(each, default=1))


def _result(ray: Any, reference: Any) -> Outcome:
    errors = ray.exceptions
    lost = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError)
    try:
        outcome: Outcome = ray.get(reference)
    except lost as error:
        raise UnavailableError(
            "engine_worker_lost",
            f"Ray lost the workers of a piece {_MOST_RETRIES + 1} times: {type(error).__name__}",
            hint="they may have run out of memory: lower engine.workers; what was finished is kept, and the "
            "same command goes on from there",
            path="engine.workers",
        ) from error
    return outcome
