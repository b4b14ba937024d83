"""Whatever comes, the caller's fault is a 4xx in the one error shape, and the server goes on."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEYS = ["S0/item%2F1", "S1/item%2F2", "S0", "", "\x00", "é" * 50]
NAMES = [
    "series", "horizon", "levels", "future", "price", "event", "inputs", "outputs", "parameters", "name", "shape",
    "datatype", "data", "id", "store_id", "item_id", "date", "instances", "dataframe_split", "dataframe_records",
    "columns", "index", "params", "outcomes", "time", "value", "prediction_id",
    "measurements", "unit", "metric", "at",
]  # fmt: skip
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-3, 20)
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([*KEYS, "BYTES", "FP64", "2026-03-01", "2026-02-28", "fair", "80", "9999-12-31", "1e400"])
    | st.text(max_size=8)
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def nearly(shape: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Mostly well-formed: each field is right, odd or missing."""
    return st.fixed_dictionaries({}, optional={name: right | trees for name, right in shape.items()})


series = st.lists(
    st.sampled_from(KEYS[:2]) | nearly({"store_id": leaves, "item_id": leaves, "future": trees}), max_size=3
)
future = nearly({"price": st.lists(leaves, min_size=2, max_size=2) | leaves, "event": leaves})
tensor = nearly(
    {
        "name": st.sampled_from(["series", "price", "event", "store_id", "item_id"]),
        "shape": st.lists(st.integers(0, 3), max_size=3),
        "datatype": st.sampled_from(["BYTES", "FP64", "INT64"]),
        "data": st.lists(leaves, max_size=4),
    }
)
row = nearly({"store_id": st.just("S0"), "item_id": st.just("item/1"), "date": st.just("2026-03-02"), "price": leaves})
outcome = nearly({"series": st.sampled_from(KEYS), "time": leaves, "value": leaves, "id": leaves})
measurement = nearly(
    {"unit": st.sampled_from(KEYS), "metric": st.sampled_from(["revenue", "a:b"]), "value": leaves, "at": leaves}
)
levels = st.lists(st.floats(0.001, 99.999) | leaves, max_size=3)
BODIES = {
    "/v1/forecast": nearly({"series": series, "horizon": st.just(2), "levels": levels, "future": future}),
    "/v1/outcomes": nearly({"outcomes": st.lists(outcome, max_size=3)}),
    "/v1/measurements": nearly({"measurements": st.lists(measurement, max_size=3)}),
    "/v2/models/demand/infer": nearly(
        {"inputs": st.lists(tensor, max_size=3), "parameters": nearly({"horizon": st.just(2), "levels": levels})}
    ),
    "/invocations": st.one_of(
        nearly({"instances": st.lists(row, max_size=3), "params": nearly({"levels": levels, "horizon": leaves})}),
        nearly({"inputs": nearly({"store_id": st.just(["S0"]), "item_id": st.just(["item/1"]), "price": trees})}),
        nearly({"dataframe_split": nearly({"columns": st.just(["store_id", "item_id"]), "data": trees})}),
    ),
}


def check(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        body = response.json()
        is_inference = response.url.path.startswith("/v2")
        parts = {name: value for name, value in body.items() if name != "error"} if is_inference else body["error"]
        assert set(parts) == {"code", "message", "hint", "path"}
        assert not is_inference or isinstance(body["error"], str)
    else:
        response.json()


@pytest.mark.parametrize("path", BODIES)
@given(data=st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_odd_bodies(server: httpx.Client, path: str, data: st.DataObject) -> None:
    body = data.draw(BODIES[path] | trees)
    check(server.post(path, content=json.dumps(body), headers={"content-type": "application/json"}))


@pytest.mark.parametrize("path", BODIES)
@given(content=st.binary(max_size=60))
@settings(max_examples=30, deadline=None)
def test_odd_bytes(server: httpx.Client, path: str, content: bytes) -> None:
    check(server.post(path, content=content, headers={"content-type": "application/json"}))


@given(
    key=st.text(min_size=1, max_size=12).filter(lambda text: text.strip("./")),
    horizon=st.text(max_size=4),
    levels=st.text(max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_odd_paths(server: httpx.Client, key: str, horizon: str, levels: str) -> None:
    check(server.get(f"/v1/forecast/{quote(key)}", params={"horizon": horizon, "levels": levels}))
