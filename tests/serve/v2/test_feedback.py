"""The truth of rows and measurements of units come back over HTTP."""

from __future__ import annotations

from typing import Any

import httpx


def test_the_truth_of_rows(shop: Any) -> None:
    rows = {"dataframe_split": {"columns": list(shop.rows.columns), "data": [[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]}}
    asked = httpx.post(f"{shop.url}/invocations", json=rows)
    identifier = asked.headers["x-everloop-prediction"]
    told = [{"prediction_id": identifier, "row": row, "value": row + 0.5} for row in (0, 1)]
    early = {"prediction_id": "not-yet", "value": 1}
    answer = httpx.post(f"{shop.url}/v1/outcomes", json={"outcomes": [*told, early]})
    assert answer.json() == {"stored": 3, "duplicates": 0, "unknown_predictions": ["not-yet"]}
    assert httpx.post(f"{shop.url}/v1/outcomes", json={"outcomes": told}).json()["duplicates"] == 2
    bad = httpx.post(f"{shop.url}/v1/outcomes", json={"outcomes": [told[0], told[1] | {"row": 2}]})
    assert bad.status_code == 422
    error = bad.json()["error"]
    assert (error["code"], error["path"]) == ("outcome_row", "outcomes[1].row")


def test_measurements(shop: Any, server: httpx.Client) -> None:
    good = {"unit": "north", "metric": "revenue", "value": 12.5, "at": "2026-02-01"}
    for url in (shop.url, str(server.base_url).rstrip("/")):
        told = httpx.post(f"{url}/v1/measurements", json={"measurements": [good, good | {"metric": "returns"}]})
        assert told.json() == {"stored": 2, "duplicates": 0}
        again = httpx.post(f"{url}/v1/measurements", json={"measurements": [good]})
        assert again.json() == {"stored": 0, "duplicates": 1}
        bad = httpx.post(f"{url}/v1/measurements", json={"measurements": [good | {"value": "x"}]})
        assert (bad.status_code, bad.json()["error"]["code"]) == (422, "measurement_value")
        # a page of another site cannot send this without asking first
        assert httpx.post(f"{url}/v1/measurements", content=b"{}").status_code == 415
