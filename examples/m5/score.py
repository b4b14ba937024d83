"""Scores the candidates on the last four weeks (d_1914 to d_1941), fitted on what was known before them.

Run it after the data are ingested: ``everloop ingest -p examples/m5 && python examples/m5/score.py``. WRMSSE is the
M5 competition's measure over its twelve levels (Makridakis et al. 2022); of one store several levels coincide.
"""

from __future__ import annotations

import resource
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from everloop.core.project import load_project
from everloop.data.loading import load_panel
from everloop.experiment.training import fit_context, fit_model, make_candidate
from everloop.models.asking import ask
from everloop.models.forecaster import ForecastRequest
from everloop.validate.hierarchy import wrmsse

CUTOFF = datetime(2016, 4, 24, tzinfo=UTC)  # d_1913
HORIZON = 28
LEVELS = (
    *([], ["state_id"], ["store_id"], ["cat_id"], ["dept_id"], ["state_id", "cat_id"], ["state_id", "dept_id"]),
    *(["store_id", "cat_id"], ["store_id", "dept_id"], ["item_id"], ["item_id", "state_id"], ["item_id", "store_id"]),
)


def main() -> None:
    """Print a line for each candidate."""
    project = load_project(Path(__file__).parent)
    history = project.settings.train.history
    # all of the past for the scale of WRMSSE, the settings' share of it for training
    past, _ = load_panel(project, cutoff=CUTOFF, horizon=HORIZON)
    training, _ = load_panel(project, cutoff=CUTOFF, history=history, horizon=HORIZON)
    whole, _ = load_panel(project, history=HORIZON, horizon=0)
    place = {key: number for number, key in enumerate(whole.keys)}
    sold = np.nan_to_num(whole.last(HORIZON).astype(np.float64))
    actual = np.array([sold[place[key]] if key in place else np.zeros(HORIZON) for key in past.keys])
    worth = np.nan_to_num(past.last(HORIZON) * past.tail(HORIZON).known["price"].reshape(-1, HORIZON)).sum(axis=1)
    rows = {key: number for number, key in enumerate(training.keys)}
    print(f"{past.n_series} series, cutoff {CUTOFF:%Y-%m-%d}, {HORIZON} days")
    for candidate in project.settings.train.candidates:
        began = time.monotonic()
        model = fit_model(make_candidate(project, candidate), training, fit_context(project, candidate), name=candidate)
        made = ask(model, ForecastRequest(HORIZON)).mean
        forecast = np.array([made[rows[key]] if key in rows else np.zeros(HORIZON) for key in past.keys])
        wape = np.abs(forecast - actual).sum() / actual.sum()
        error = wrmsse(past, actual, forecast, weights=worth.astype(np.float64), levels=LEVELS)
        seconds = time.monotonic() - began
        print(f"{candidate:16} WAPE {wape:.4f}  WRMSSE {error.value:.4f}  fitted and asked in {seconds:.0f} s")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
