"""The server over PostgreSQL, which is stricter than SQLite: no NUL in texts, lengths and types that hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from everloop.store.facts import find_prediction

KEY = "S0/item%2F1"


@pytest.fixture(scope="module")
def postgres_world(  # type: ignore[no-untyped-def]
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory, make_world: Callable[..., Any]
):
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS serving"))
        connection.execute(text("CREATE DATABASE serving"))
    engine.dispose()
    url = make_url(postgres_url).set(database="serving").render_as_string(hide_password=False)
    with make_world(tmp_path_factory.mktemp("postgres"), f'[store]\nurl = "{url}"\n') as made:
        yield made


@pytest.fixture(scope="module")
def client(postgres_world, serving: Callable[..., Any]) -> Iterator[httpx.Client]:  # type: ignore[no-untyped-def]
    postgres_world.champion()
    with serving(postgres_world) as running, running.client() as found:
        yield found


def test_an_answer_is_stored(client: httpx.Client, postgres_world) -> None:  # type: ignore[no-untyped-def]
    answer = client.post("/v1/forecast", json={"series": [KEY], "horizon": 2})
    assert answer.status_code == 200
    with postgres_world.store.read() as tx:
        assert find_prediction(tx, answer.json()["prediction_id"]).release == answer.json()["release"]
    assert client.get(f"/v1/predictions/{answer.json()['prediction_id']}").json()["kind"] == "forecast"


MEASUREMENT = {"unit": "u", "metric": "revenue", "value": 1, "at": "2026-02-01"}
OUTCOME = {"series": KEY, "time": "2026-02-27", "value": 3}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/predictions/%00", None, 404),
        ("GET", "/v1/predictions/" + "x" * 5000, None, 404),
        ("POST", "/v1/outcomes", {"outcomes": [OUTCOME | {"series": "S0/it\x00em"}]}, 422),
        ("POST", "/v1/outcomes", {"outcomes": [OUTCOME | {"series": {"store_id": "S\x00", "item_id": "a"}}]}, 422),
        ("POST", "/v1/outcomes", {"outcomes": [OUTCOME | {"id": "\x00"}]}, 422),
        ("POST", "/v1/outcomes", {"outcomes": [OUTCOME | {"prediction_id": "x" * 64}]}, 422),
        ("POST", "/v1/outcomes", {"outcomes": [OUTCOME | {"time": "0001-01-01"}]}, 200),
        ("POST", "/v1/outcomes", {"outcomes": [OUTCOME | {"value": 1e308}]}, 200),
        ("POST", "/v1/outcomes", {"outcomes": [OUTCOME | {"value": 5e-324}]}, 200),
        ("POST", "/v1/measurements", {"measurements": [MEASUREMENT | {"unit": "a\x00"}]}, 200),
        ("POST", "/v1/measurements", {"measurements": [MEASUREMENT | {"unit": "x" * 5000}]}, 200),
        ("POST", "/v1/measurements", {"measurements": [MEASUREMENT | {"metric": "\x00"}]}, 422),
        ("POST", "/v1/measurements", {"measurements": [MEASUREMENT | {"id": "\x00"}]}, 422),
        ("POST", "/v1/measurements", {"measurements": [MEASUREMENT | {"at": "0001-01-01"}]}, 200),
        ("POST", "/v1/forecast", {"series": ["\x00"]}, 422),
        ("POST", "/v1/forecast", {"series": [KEY], "future": {"event": "\x00"}}, 422),
    ],
)
def test_odd_texts_and_numbers_are_the_callers_fault(
    client: httpx.Client, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    response = client.request(method, path, json=body)
    assert response.status_code == status, response.text


def test_the_server_outlives_the_database(  # type: ignore[no-untyped-def]
    client: httpx.Client, postgres_world, until: Callable[..., object]
) -> None:
    with postgres_world.store.write() as tx:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        tx.execute(text(f"{query} AND datname = 'serving'"))
    until(lambda: client.post("/v1/forecast", json={"series": [KEY]}).status_code == 200)


def test_the_same_told_by_many_at_once_is_stored_once(client: httpx.Client) -> None:
    told = [{"unit": "u", "metric": "race", "value": value, "at": "2026-02-01"} for value in (1, 2, 1)]

    def tell(_: int) -> httpx.Response:
        return client.post("/v1/measurements", json={"measurements": told})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(tell, range(16)))
    # who lost a race twice is told to send it again; nobody stores a part or stores it twice
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert sum(answer.json()["stored"] for answer in answers if answer.status_code == 200) == 3
    assert tell(0).json() == {"stored": 0, "duplicates": 3}
