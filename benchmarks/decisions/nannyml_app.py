"""Asks NannyML's univariate drift, in an environment of its own: ``python nannyml_app.py JOB.npz ALERTS.npy``.

JOB holds ``rows``, shape ``(days, columns, stores)``, ``days`` since 1970, and ``history``, how many are the reference.
ALERTS gets, for each watched day and column, whether its default continuous method alarms.
"""

import sys

import nannyml
import numpy as np
import pandas as pd


def main() -> None:
    """Ask once for all watched days."""
    job = np.load(sys.argv[1])
    rows, days, history = job["rows"], job["days"], int(job["history"])
    columns = [f"c{place}" for place in range(rows.shape[1])]
    flat = rows.transpose(0, 2, 1).reshape(-1, rows.shape[1]).astype(np.float64)
    table = pd.DataFrame(flat, columns=columns)
    table["day"] = np.repeat(pd.to_datetime(days, unit="D"), rows.shape[2])
    asked = nannyml.UnivariateDriftCalculator(column_names=columns, timestamp_column_name="day", chunk_period="D")
    asked.fit(table[: history * rows.shape[2]])
    found = asked.calculate(table[history * rows.shape[2] :]).filter(period="analysis").to_df()
    alerts = [found[(column, "jensen_shannon", "alert")].to_numpy(dtype=bool) for column in columns]
    np.save(sys.argv[2], np.stack(alerts, axis=1))


if __name__ == "__main__":
    main()
