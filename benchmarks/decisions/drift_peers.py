"""Years without drift by other tools, each in an environment of its own."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decisions.drift_generators import HISTORY, SHAPES, Job, draw_job
from decisions.rates import rate_row
from measuring.environments import make_environment

__all__ = ["peer_years"]

Rows = list[dict[str, Any]]
_WHAT = "years without drift with an alarm"


@dataclass(frozen=True)
class _Peer:
    """A tool.

    Attributes:
        name: as people know it.
        package: as the package index does.
        requirements: what is installed.
        script: what asks it, beside this file.
        step: every how many watched days it is asked.
        runs: the most years that it is asked of.
    """

    name: str
    package: str
    requirements: tuple[str, ...]
    script: str
    step: int = 1
    runs: int = 10


_PEERS = (
    _Peer(
        "NannyML",
        "nannyml",
        ("nannyml==0.13.1", "statsmodels==0.14.4", "scipy==1.14.1", "pandas==2.2.3"),
        "nannyml_app.py",
    ),
    # a report takes five seconds, so it is asked on a day of each season; asked daily it could only alarm more often
    _Peer(
        "Evidently",
        "evidently",
        ("evidently==0.7.23", "pandas==2.2.3", "numpy<2.2"),
        "evidently_app.py",
        step=91,
        runs=3,
    ),
)


def peer_years(runs: int) -> Rows:
    """The share of years with an alarm, and of days in alarm, by tool and kind of columns."""
    rows: Rows = []
    for peer in _PEERS:
        environment = make_environment(peer.package, peer.requirements)
        if environment.python is None:
            rows.append({"what": _WHAT, "method": peer.name, "case": environment.reason})
            continue
        method = f"{peer.name} {environment.versions.get(peer.package, '')}".strip()
        for shape in SHAPES:
            try:
                found = [
                    _ask(environment.python, peer, draw_job(shape, number)) for number in range(min(runs, peer.runs))
                ]
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                rows.append({"what": _WHAT, "method": method, "case": str(error)})
                break
            rows += _told(shape, method, found, every=peer.step)
    return rows


def _told(shape: str, method: str, found: Sequence[NDArray[np.float64]], *, every: int) -> Rows:
    """Of each year: how many columns are in alarm on each day asked, and where it tells, whether the data set is."""
    columns = [each[:, 0] > 0 for each in found]
    rows = [_row(shape, method, columns, every)]
    if found[0].shape[1] > 1:
        rows.append(_row(shape, f"{method}, the whole data set", [each[:, 1] > 0 for each in found], every))
    return rows


def _row(shape: str, method: str, alarms: Sequence[NDArray[np.bool_]], every: int) -> dict[str, Any]:
    years = sum(bool(each.any()) for each in alarms)
    share = round(float(np.mean([each.mean() for each in alarms])), 3)
    row = rate_row(_WHAT, shape, years, len(alarms), method=method) | {"days_in_alarm": share}
    return row if every == 1 else row | {"asked_every_days": every}


def _ask(python: Path, peer: _Peer, job: Job) -> NDArray[np.float64]:
    """What a tool says of the watched days, shape ``(days, 1 or 2)``.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "job.npz", Path(folder) / "alerts.npy"
        np.savez(source, rows=job.rows, days=job.days, history=HISTORY)
        script = Path(__file__).with_name(peer.script)
        command = [str(python), str(script), str(source), str(target), str(peer.step)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1_800, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["failed"])[-1])
        found: NDArray[np.float64] = np.load(target).astype(np.float64)
    return found if peer.step > 1 else found.sum(axis=1, keepdims=True)
