"""A process that stores predictions through the log until it is killed, and prints the id of each that is stored.

Usage: python writer.py HOME STORE_URL [SETTING ...]
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from everloop.core.clock import SystemClock
from everloop.core.errors import EverloopError
from everloop.core.ids import new_id
from everloop.core.project import Project, parse_settings
from everloop.serve.log.log import PredictionLog
from everloop.serve.metrics import Metrics
from everloop.store.engine import open_store
from everloop.store.facts import Prediction


async def main(home: Path, url: str, settings: list[str]) -> None:
    tree = {"project": {"name": "log", "task": "regression"}, "store": {"url": url}}
    project = Project(root=home, settings=parse_settings(tree, overrides=settings), home=home)
    store = open_store(url)
    log = PredictionLog(project, store, SystemClock(), watcher=Metrics())
    log.start(asyncio.get_running_loop())

    async def caller() -> None:
        while True:
            now = datetime.now(UTC)
            row = Prediction(new_id(now), now, "r", "", "champion", "infer", None, now, now, b"{}", os.urandom(50))
            try:
                await log.store(row)
            except EverloopError as error:
                os.write(2, f"{error.code}\n".encode())
                await asyncio.sleep(0.01)
            else:
                os.write(1, f"{row.id}\n".encode())

    await asyncio.gather(*(caller() for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
