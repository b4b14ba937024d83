"""Asks Evidently for data drift, in an environment of its own: ``python evidently_app.py JOB.npz ALERTS.npy [STEP]``.

JOB holds ``rows``, shape ``(days, columns, stores)``, and ``history``, how many of the days are the reference. ALERTS
gets, for every STEP-th watched day, how many columns have drifted by its default method for their kind and size, and
whether it says that the data set has.
"""

import json
import sys

import numpy as np
import pandas as pd
from evidently import Dataset, Report
from evidently.presets import DataDriftPreset


def main() -> None:
    """Ask for each watched day."""
    job = np.load(sys.argv[1])
    rows, history = job["rows"], int(job["history"])
    step = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    names = [f"c{place}" for place in range(rows.shape[1])]
    reference = Dataset.from_pandas(pd.DataFrame(_flat(rows[:history]), columns=names))
    found = []
    for day in range(history, len(rows), step):
        current = Dataset.from_pandas(pd.DataFrame(_flat(rows[day : day + 1]), columns=names))
        result = Report([DataDriftPreset()]).run(current, reference)
        tree = json.loads(result.json())["metrics"]
        drifted = next(each["value"] for each in tree if each["metric_name"].startswith("DriftedColumnsCount"))
        found.append((drifted["count"], drifted["share"] >= 0.5))
    np.save(sys.argv[2], np.array(found, dtype=np.float64))


def _flat(rows: np.ndarray) -> np.ndarray:
    return rows.transpose(0, 2, 1).reshape(-1, rows.shape[1]).astype(np.float64)


if __name__ == "__main__":
    main()
