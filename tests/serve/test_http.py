"""Every protocol, over a real connection to a real server."""

from __future__ import annotations

import shutil
import subprocess

import httpx
import numpy as np
import pytest

from everloop.serve.address import read_address

KEY = "S0/item%2F1"


@pytest.fixture(scope="module")
def truth(shared_world) -> np.ndarray:  # type: ignore[no-untyped-def]
    """What the seasonal naive says of the key: its last week."""
    return shared_world.panel.y.reshape(6, -1)[1, -7:]


def failure(response: httpx.Response) -> dict[str, str]:
    body = response.json()
    if response.url.path == "/v2" or response.url.path.startswith("/v2/"):  # that protocol's clients show a sentence
        assert body.pop("error").startswith(body["message"])
        body = {"error": body}
    assert list(body) == ["error"]
    assert set(body["error"]) == {"code", "message", "hint", "path"}
    return body["error"]  # type: ignore[no-any-return]


def test_a_forecast_carries_its_id_and_release(server: httpx.Client, truth) -> None:  # type: ignore[no-untyped-def]
    response = server.post("/v1/forecast", json={"series": [KEY], "horizon": 7, "levels": [80]})
    body = response.json()
    assert response.status_code == 200
    assert body["prediction_id"] == response.headers["x-everloop-prediction"]
    assert body["release"] == response.headers["x-everloop-release"]
    assert body["times"][0] == "2026-03-01"
    assert list(body["forecasts"][0]) == ["series", "forecast", "lo-80", "hi-80"]
    assert body["forecasts"][0]["forecast"] == truth.tolist()


def test_all_doors_give_the_same_numbers(server: httpx.Client, truth) -> None:  # type: ignore[no-untyped-def]
    by_get = server.get("/v1/forecast/S0/item%2F1", params={"horizon": 7, "levels": "80,95"}).json()
    everything = server.post("/v1/forecast", json={"horizon": 7}).json()
    tensor = {"name": "series", "datatype": "BYTES", "shape": [1], "data": [KEY]}
    infer = server.post("/v2/models/demand/infer", json={"inputs": [tensor], "parameters": {"horizon": 7}}).json()
    rows = [{"store_id": "S0", "item_id": "item/1"}]
    scored = server.post("/invocations", json={"dataframe_records": rows, "params": {"horizon": 7}}).json()
    assert by_get["forecasts"][0]["forecast"] == truth.tolist()
    assert everything["forecasts"][1] == by_get["forecasts"][0]
    assert infer["outputs"][0]["data"] == truth.tolist()
    assert [row["forecast"] for row in scored["predictions"]] == truth.tolist()
    assert [row["lo-80"] for row in scored["predictions"]] == by_get["forecasts"][0]["lo-80"]


def test_a_prediction_can_be_read_back(server: httpx.Client) -> None:
    asked = {"series": [KEY], "horizon": 3, "future": {"price": [1, 2, None]}}
    answer = server.post("/v1/forecast", json=asked).json()
    stored = server.get(f"/v1/predictions/{answer['prediction_id']}").json()
    assert stored["forecasts"] == answer["forecasts"]
    assert stored["request"]["future"] == {"price": [1, 2, None]}
    assert (stored["kind"], stored["role"], stored["release"]) == ("forecast", "champion", answer["release"])
    assert failure(server.get("/v1/predictions/none"))["code"] == "prediction_unknown"


def test_outcomes_are_told_all_or_none(server: httpx.Client) -> None:
    good = {"series": KEY, "time": "2026-02-28", "value": 2}
    bad = server.post("/v1/outcomes", json={"outcomes": [good, good | {"value": -1}]})
    assert (bad.status_code, failure(bad)["path"]) == (422, "outcomes[1].value")
    told = server.post("/v1/outcomes", json={"outcomes": [good, {"series": "S9/x", "time": "2026-02-28", "value": 1}]})
    assert told.json() == {"stored": 2, "duplicates": 0, "unknown_series": ["S9/x"]}
    assert server.post("/v1/outcomes", json={"outcomes": [good]}).json()["duplicates"] == 1


class TestInferenceProtocol:
    """The Open Inference Protocol's endpoints and records."""

    def test_server_and_health(self, server: httpx.Client) -> None:
        assert server.get("/v2").json()["name"] == "everloop"
        assert server.get("/v2/health/live").json() == {"live": True}
        assert server.get("/v2/health/ready").json() == {"ready": True}

    def test_model_and_version(self, server: httpx.Client) -> None:
        model = server.get("/v2/models/demand").json()
        (version,) = model["versions"]
        assert [each["name"] for each in model["inputs"]] == ["series", "event", "price"]
        assert [each["name"] for each in model["outputs"]] == ["time", "forecast", "lo-80", "hi-80", "lo-95", "hi-95"]
        assert server.get(f"/v2/models/demand/versions/{version}").json() == model
        assert server.get(f"/v2/models/demand/versions/{version}/ready").json()["ready"] is True
        assert failure(server.get("/v2/models/other"))["code"] == "model_unknown"
        assert failure(server.get("/v2/models/demand/versions/1/ready"))["code"] == "version_unknown"

    def test_infer_by_columns_with_a_what_if(self, server: httpx.Client) -> None:
        version = server.get("/v2/models/demand").json()["versions"][0]
        body = {
            "id": "42",
            "inputs": [
                {"name": "store_id", "datatype": "BYTES", "shape": [2], "data": ["S0", "S1"]},
                {"name": "item_id", "datatype": "BYTES", "shape": [2, 1], "data": [["item/1"], ["item/2"]]},
                {"name": "price", "datatype": "FP64", "shape": [2, 3], "data": [[1, 2, 3], [4, 5, None]]},
                {"name": "event", "datatype": "BYTES", "shape": [2, 3], "data": ["fair"] * 6},
            ],
            "parameters": {"horizon": 3, "levels": "50"},
            "outputs": [{"name": "hi-50"}, {"name": "time"}],
        }
        response = server.post(f"/v2/models/demand/versions/{version}/infer", json=body)
        answer = response.json()
        assert response.status_code == 200, answer
        assert (answer["id"], answer["model_version"]) == ("42", version)
        assert [(each["name"], each["shape"]) for each in answer["outputs"]] == [("hi-50", [2, 3]), ("time", [3])]
        stored = server.get(f"/v1/predictions/{answer['parameters']['prediction_id']}").json()
        assert stored["kind"] == "infer"
        assert stored["request"]["series"] == ["S0/item%2F1", "S1/item%2F2"]
        assert stored["request"]["future"]["price"] == [[1, 2, 3], [4, 5, None]]

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"inputs": [{"name": "serie", "datatype": "BYTES", "shape": [1], "data": [KEY]}]}, "input_unknown"),
            ({"inputs": [{"name": "series", "datatype": "TEXT", "shape": [1], "data": [KEY]}]}, "input_datatype"),
            ({"inputs": [{"name": "series", "datatype": "BYTES", "shape": [2], "data": [KEY]}]}, "input_shape"),
            ({"inputs": [{"name": "series", "datatype": "BYTES", "shape": [-1], "data": [KEY]}]}, "input_shape"),
            ({"inputs": [{"name": "series", "datatype": "BYTES", "shape": [1], "data": [7]}]}, "input_data"),
            ({"inputs": [{"name": "store_id", "datatype": "BYTES", "shape": [1], "data": ["S0"]}]}, "input_missing"),
            ({"parameters": {"horizn": 3}}, "field_unknown"),
            ({"parameters": {"horizon": 3.5}}, "field"),
            ({"parameters": {"levels": "a,b"}}, "field"),
            ({"outputs": [{"name": "forecasts"}]}, "output_unknown"),
            ({"output": []}, "field_unknown"),
        ],
    )
    def test_what_does_not_fit(self, server: httpx.Client, change: dict[str, object], code: str) -> None:
        tensor = {"name": "series", "datatype": "BYTES", "shape": [1], "data": [KEY]}
        response = server.post("/v2/models/demand/infer", json={"inputs": [tensor]} | change)
        assert (response.status_code, failure(response)["code"]) == (422, code)


class TestScoringProtocol:
    """MLflow's endpoints and its four forms of rows."""

    @pytest.mark.parametrize(
        "form",
        [
            {"dataframe_split": {"columns": ["store_id", "item_id"], "data": [["S0", "item/1"]], "index": [0]}},
            {"dataframe_records": [{"store_id": "S0", "item_id": "item/1"}]},
            {"instances": [{"store_id": "S0", "item_id": "item/1"}]},
            {"inputs": {"store_id": ["S0"], "item_id": ["item/1"]}},
            {"inputs": [{"store_id": "S0", "item_id": "item/1"}]},
        ],
    )
    def test_every_form_says_the_same(self, server: httpx.Client, form: dict[str, object], truth) -> None:  # type: ignore[no-untyped-def]
        response = server.post("/invocations", json=form | {"params": {"horizon": 7, "levels": [80]}})
        body = response.json()
        assert response.status_code == 200, body
        first = body["predictions"][0]
        assert list(first) == ["store_id", "item_id", "date", "forecast", "lo-80", "hi-80"]
        assert [row["forecast"] for row in body["predictions"]] == truth.tolist()
        stored = server.get(f"/v1/predictions/{body['prediction_id']}").json()
        assert stored["kind"] == "invocations"
        assert stored["forecasts"][0]["forecast"] == truth.tolist()

    def test_rows_with_times_come_back_in_their_order(self, server: httpx.Client, truth) -> None:  # type: ignore[no-untyped-def]
        data = [["S0", "item/1", "2026-03-03", 2.0], ["S0", "item/1", "2026-03-01", None]]
        frame = {"columns": ["store_id", "item_id", "date", "price"], "data": data}
        rows = server.post("/invocations", json={"dataframe_split": frame}).json()["predictions"]
        assert [(row["date"], row["forecast"]) for row in rows] == [("2026-03-03", truth[2]), ("2026-03-01", truth[0])]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "field"),
            ({"instances": [], "inputs": []}, "field"),
            ({"instances": []}, "rows_empty"),
            ({"dataframe_split": {"columns": ["store_id"], "data": [["S0", 1]]}}, "columns"),
            ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "columns"),
            ({"dataframe_split": {"columns": ["store_id", "item_id"], "data": []}}, "rows_empty"),
            ({"inputs": {"store_id": ["S0"], "item_id": []}}, "columns"),
            ({"instances": [{"store_id": "S0"}]}, "column_missing"),
            ({"instances": [{"store_id": "S0", "item_id": "item/1", "date": "9999-01-01"}]}, "time_far"),
            ({"instances": [{"store_id": "S0", "item_id": "item/1"}], "params": {"horizon": 99}}, "horizon"),
            ({"instances": [{"store_id": "S0", "item_id": "item/1"}], "params": {"level": 99}}, "field_unknown"),
        ],
    )
    def test_what_does_not_fit(self, server: httpx.Client, body: dict[str, object], code: str) -> None:
        response = server.post("/invocations", json=body)
        assert (response.status_code, failure(response)["code"]) == (422, code)

    def test_health_and_version(self, server: httpx.Client) -> None:
        assert server.get("/ping").status_code == 200
        assert server.get("/health").status_code == 200
        assert server.get("/version").text == server.get("/").json()["everloop"]


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("POST", "/v1/forecast", {"content": b"{"}, 400, "json"),
        ("POST", "/v1/forecast", {"content": b"\xff"}, 400, "json"),
        ("POST", "/v1/forecast", {"content": b"[" * 100_000}, 400, "json_depth"),
        ("POST", "/v1/forecast", {"content": b'{"future": {"price":' + b"[" * 100_000}, 400, "json_depth"),
        ("POST", "/v1/forecast", {"content": b"{}", "headers": {"content-type": "text/csv"}}, 415, "content_type"),
        ("POST", "/v1/forecast", {"content": b"{}", "headers": {"content-encoding": "gzip"}}, 415, "content_type"),
        ("POST", "/v1/forecast", {"json": {"horizn": 3}}, 422, "field_unknown"),
        ("POST", "/v1/forecast", {"json": {"horizon": "3"}}, 422, "field"),
        ("POST", "/v1/forecast", {"json": {"horizon": 10**30}}, 422, "horizon"),
        ("GET", "/v1/forecast/S0/none", {}, 404, "series_unknown"),
        ("GET", "/v1/forecast/S0/item%2F1?horizon=x", {}, 422, "field"),
        ("GET", "/v1/forecast/S0/item%2F1?levels=x", {}, 422, "field"),
        ("GET", "/v1/forecast/S0/item%2F1?horizn=3", {}, 422, "field_unknown"),
        ("GET", "/v1/forecast", {}, 405, "method"),
        ("DELETE", "/v2", {}, 405, "method"),
        ("GET", "/v1/forcast", {}, 404, "path_unknown"),
        ("POST", "/v1/outcomes", {"json": {"outcomes": [3]}}, 422, "field"),
        ("POST", "/v1/measurements", {"json": {"measurement": []}}, 422, "field_unknown"),
    ],
)
def test_one_error_shape(  # type: ignore[no-untyped-def]
    server: httpx.Client, method: str, path: str, options, status: int, code: str
) -> None:
    options = {"headers": {}, **options}
    options["headers"].setdefault("content-type", "application/json")
    response = server.request(method, path, **options)
    error = failure(response)
    assert (response.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert error["hint"]


def test_a_body_is_cut_off_while_it_is_read(server: httpx.Client) -> None:
    def endless():  # type: ignore[no-untyped-def]
        while True:
            yield b" " * 65536

    announced = server.post("/v1/forecast", content=b" " * 17_000_000, headers={"content-type": "application/json"})
    assert (announced.status_code, failure(announced)["code"]) == (413, "body_large")
    try:
        chunked = server.post("/v1/forecast", content=endless(), headers={"content-type": "application/json"})
        assert chunked.status_code == 413
    except (httpx.WriteError, httpx.RemoteProtocolError):
        pass  # the server closed the connection before the client had read the answer


def test_metrics_count_by_route_and_never_by_series(server: httpx.Client) -> None:
    server.get("/v1/forecast/S0/item%2F1")
    text = server.get("/metrics").text
    assert 'everloop_requests_total{code="200",method="GET",route="/v1/forecast/{series:path}"}' in text
    assert 'everloop_release_info{candidate="seasonal_naive"' in text
    assert "item%2F1" not in text
    for name in (
        "predictions_stored_total",
        "log_commit_seconds_count",
        "data_cutoff_timestamp_seconds",
        "swaps_total",
    ):
        assert f"everloop_{name}" in text


def test_prometheus_accepts_the_metrics(server: httpx.Client) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, which Prometheus brings, is not installed")
    server.get("/v1/forecast/S0/item%2F1")
    text = server.get("/metrics").content
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, "", "")


def test_the_description_names_every_route(server: httpx.Client) -> None:
    document = server.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    for path, item in document["paths"].items():
        concrete = path.replace("{series}", "S0/item%2F1").replace("{model}", "demand").replace("{id}", "x")
        concrete = concrete.replace("{version}", "x")
        for method in {"get", "post"} & set(item):
            response = server.request(method, concrete)
            assert response.status_code not in (405, 500, 501), path
            assert response.status_code == 200 or failure(response)["code"] != "path_unknown", path
    names = set(document["components"]["schemas"])
    assert {"ForecastBody", "InferBody", "InvocationsBody", "OutcomesBody", "FailureAnswer"} <= names


def test_other_commands_find_the_server(server: httpx.Client, shared_world) -> None:  # type: ignore[no-untyped-def]
    assert read_address(shared_world.project).url == str(server.base_url).rstrip("/")


def test_a_body_that_is_nested_too_deeply_is_refused(server: httpx.Client) -> None:
    deep = b'{"series": ' + b"[" * 100 + b"]" * 100 + b"}"
    for path in ("/v1/forecast", "/v1/outcomes", "/v1/measurements", "/invocations", "/v2/models/demand/infer"):
        response = server.post(path, content=deep, headers={"content-type": "application/json"})
        assert response.status_code == 400
        assert "json_depth" in response.text
