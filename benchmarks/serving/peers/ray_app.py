"""A Ray Serve deployment of one replica on a local Ray: ``python ray_app.py PORT FOLDER``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import lightgbm
import numpy as np
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Regressor:
    """Rows in, predictions out."""

    def __init__(self, path: str) -> None:
        self.booster = lightgbm.Booster(model_file=path)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Predictions for rows."""
        rows = np.array((await request.json())["rows"])
        return {"predictions": self.booster.predict(rows, num_threads=1).tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, _temp_dir=sys.argv[2])
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Regressor.bind(os.environ["BENCH_MODEL"]), blocking=False)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()
