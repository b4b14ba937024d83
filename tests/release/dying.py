"""Builds and promotes releases in forked processes that are killed at a given place: python dying.py FOLDER.

It is a process of its own, since one that has used polars' threads cannot be forked; and one for all places, since
importing MLflow takes seconds. Each place gets the project FOLDER/PLACE.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from mlflow import MlflowClient

from everloop.core.clock import ManualClock
from everloop.experiment.mlflow_client import connect
from everloop.release import build, flavor, promotion
from everloop.store.engine import open_store
from everloop.validate import plots

IMPORTED_BEFORE_THE_FORKS = (pl, flavor, plots)


def die(*_arguments: Any, **_options: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


PLACES: dict[str, tuple[Any, str]] = {
    "while the bundle is written": (build, "_write_lineage"),
    "when the bundle is there": (build, "_publish"),
    "when the run has the artefacts": (MlflowClient, "create_model_version"),
    "when it is registered": (build, "add_release"),
    "before the store commits": (build, "record_event"),
    "within the promotion": (promotion, "record_event"),
}


def run(folder: Path, place: str, conftest: Any) -> None:
    project = conftest.project_in(folder / place)
    setattr(*PLACES[place], die)
    release = conftest.release_once(project, conftest.sales())
    store, clock = open_store(project.store_url), ManualClock(conftest.NOW)
    promotion.promote(project, store, clock, release.digest, reason="first", actor="test")


def main(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("release_conftest", Path(__file__).with_name("conftest.py"))
    if spec is None or spec.loader is None:
        raise SystemExit("conftest.py is missing")
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    connect(f"sqlite:///{folder}/warm.db").search_experiments()  # once here, instead of in each child
    work: Callable[[str], None] = lambda place: run(folder, place, conftest)  # noqa: E731
    for place in PLACES:
        child = os.fork()
        if child == 0:
            try:
                work(place)
            finally:
                os._exit(1)  # not reached where the kill works
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(f"{place}: {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
