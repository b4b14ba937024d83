"""Builds and promotes releases in forked processes that are killed at a given place: python dying.py FOLDER.

It is a process of its own, since one that has used polars' threads cannot be forked; and one for all places, since
importing MLflow takes seconds. Each place gets the project FOLDER/PLACE.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import polars as pl
from mlflow import MlflowClient

from everloop.core.clock import ManualClock
from everloop.experiment.mlflow_client import connect
from everloop.release import build, completing, flavor, promotion
from everloop.store.engine import open_store
from everloop.validate import plots
from releasing import NOW, release_once
from shop import project_in, sales

IMPORTED_BEFORE_THE_FORKS = (pl, flavor, plots)


def die(*_arguments: Any, **_options: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


PLACES: dict[str, tuple[Any, str]] = {
    "while the bundle is written": (build, "_write_lineage"),
    "when the bundle is there": (build, "_publish"),
    "when the run has the artefacts": (MlflowClient, "create_model_version"),
    "when it is registered": (completing, "add_release"),
    "before the store commits": (completing, "record_event"),
    "within the promotion": (promotion, "record_event"),
}


def run(folder: Path, place: str) -> None:
    project = project_in(folder / place)
    setattr(*PLACES[place], die)
    release = release_once(project, sales())
    store, clock = open_store(project.store_url), ManualClock(NOW)
    promotion.promote(project, store, clock, release.digest, reason="first", actor="test")


def main(folder: Path) -> None:
    connect(f"sqlite:///{folder}/warm.db").search_experiments()  # once here, instead of in each child
    for place in PLACES:
        child = os.fork()
        if child == 0:
            try:
                run(folder, place)
            finally:
                os._exit(1)  # not reached where the kill works
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(f"{place}: {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
