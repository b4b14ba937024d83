"""Our own servers, set up by the public commands alone: adopt, promote, split the traffic, serve."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.contenders import Rows, get, read_v2, v2_binary_requests, v2_requests
from serving.model import Model
from serving.server import Contender
from startup.project import SERIES, make_project

__all__ = ["Adopted", "adopt", "contender", "copied", "forecast_contender", "shadow", "stage_seconds"]

_SETTINGS = """
[project]
name = "regressor"
task = "regression"
"""
_UNITS = 64


@dataclass(frozen=True)
class Adopted:
    """A project whose traffic is split between two releases.

    Attributes:
        folder: its folder.
        models: the releases' models, by digest.
    """

    folder: Path
    models: Mapping[str, Model] = field(default_factory=dict)


def adopt(folder: Path, models: Sequence[Model]) -> Adopted:
    """A project with two releases, each of which answers half of the units; neither is the other's shadow."""
    folder.mkdir()
    (folder / "everloop.toml").write_text(_SETTINGS, encoding="utf-8")
    found = {_command(folder, "adopt", str(model.folder), "--json")["release"]: model for model in models}
    champion, other = found
    _command(folder, "promote", champion, "--json")
    _command(folder, "traffic", "set", f"{champion}=0.5", f"{other}=0.5", "--unit", "header", "--json")
    return Adopted(folder, found)


def copied(adopted: Adopted, folder: Path) -> Adopted:
    """The same project once more, with a store of its own."""
    shutil.copytree(adopted.folder, folder)
    return Adopted(folder, adopted.models)


def shadow(adopted: Adopted) -> None:
    """Make the second release the challenger, so that it answers a copy of the champion's requests too."""
    _command(adopted.folder, "promote", list(adopted.models)[1], "--role", "challenger", "--json")


def contender(name: str, adopted: Adopted, rows: Rows, *flags: str, note: str = "") -> Contender:
    """``everloop serve`` of an adopted model; each request names the unit that its release is drawn by."""
    path = "/v2/models/regressor/infer"

    def unit(place: int) -> dict[str, str]:
        return {"X-Everloop-Unit": f"customer {place % _UNITS}"}

    return Contender(
        name=name,
        command=_serve(adopted.folder, *flags),
        one=v2_requests(path, rows.one[:, None, :], unit),
        hundred=v2_requests(path, rows.hundred, unit),
        hundred_binary=v2_binary_requests(path, rows.hundred, unit),
        read=read_v2,
        folder=adopted.folder,
        rows=rows.one,
        note=note,
    )


def forecast_contender(folder: Path) -> Contender:
    """``everloop serve`` of a project of forecasts, asked for the forecast of one series after the other."""
    folder.mkdir()
    make_project(folder)
    store, item = SERIES.split("/")
    paths = [f"/v1/forecast/{store[0]}{number:03}/{item}" for number in range(40)]
    return Contender(
        name="everloop, forecasts",
        command=_serve(folder),
        one=get(paths),
        read=lambda _body, _headers: ([], ""),
        folder=folder,
        note="GET /v1/forecast/{series}: 28 steps with two intervals, from the snapshot, stored before the answer",
    )


def stage_seconds(exposition: str) -> dict[str, tuple[float, float]]:
    """Seconds and count of each stage of a prediction, from ``GET /metrics``.

    >>> text = 'everloop_stage_seconds_count{stage="store"} 2.0'
    >>> stage_seconds(text + chr(10) + 'everloop_stage_seconds_sum{stage="store"} 0.5')
    {'store': (0.5, 2.0)}
    """
    found: dict[str, dict[str, float]] = {}
    for line in exposition.splitlines():
        if line.startswith("everloop_stage_seconds_") and not line.startswith("everloop_stage_seconds_bucket"):
            name, _, value = line.rpartition(" ")
            stage = name.partition('stage="')[2].partition('"')[0]
            kind = name.removeprefix("everloop_stage_seconds_").partition("{")[0]
            found.setdefault(stage, {})[kind] = float(value)
    return {stage: (each["sum"], each["count"]) for stage, each in found.items() if "sum" in each}


def _serve(folder: Path, *flags: str) -> list[str]:
    command = [sys.executable, "-m", "everloop.cli.main", "serve", "--project", str(folder), "--port", "{port}"]
    return [*command, *flags]


def _command(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "everloop.cli.main", *arguments, "--project", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"everloop {' '.join(arguments)}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout or "{}")
    return found
