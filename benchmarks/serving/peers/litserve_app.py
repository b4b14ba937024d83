"""A LitServe server: ``python litserve_app.py PORT``."""

from __future__ import annotations

import os
import sys
from typing import Any

import lightgbm
import litserve
import numpy as np


class Regressor(litserve.LitAPI):
    """One worker that is asked request by request."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.booster = lightgbm.Booster(model_file=os.environ["BENCH_MODEL"])

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads the type
        """Rows of features."""
        return np.array(request["rows"])

    def predict(self, rows: Any) -> Any:
        """Predictions."""
        return self.booster.predict(rows, num_threads=1)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """What is sent."""
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Regressor(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
