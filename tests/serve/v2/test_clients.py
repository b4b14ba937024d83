"""Clients that others wrote ask a real server, and understand what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest


def matrix(shop: Any) -> np.ndarray:
    return shop.rows.to_numpy(dtype=np.float64)  # type: ignore[no-any-return]


class TestTritonOverHttp:
    @pytest.fixture
    def triton(self, shop: Any) -> Any:
        http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
        return http, http.InferenceServerClient(shop.netloc)

    def test_health_and_metadata(self, triton: Any, shop: Any) -> None:
        _, client = triton
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("shop")
        assert client.is_model_ready("shop", shop.challenger)
        assert not client.is_model_ready("shop", "0" * 64)
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        metadata = client.get_model_metadata("shop")
        assert metadata["versions"] == [shop.champion, shop.challenger]
        assert metadata["inputs"][0] == {"name": "price", "datatype": "FP64", "shape": [-1]}
        assert metadata["parameters"]["flavor"] == "lightgbm"
        assert client.get_model_metadata("shop", shop.challenger)["name"] == "shop"

    @pytest.mark.parametrize("is_binary", [True, False])
    def test_infer(self, triton: Any, shop: Any, *, is_binary: bool) -> None:
        http, client = triton
        values = np.nan_to_num(matrix(shop)) if not is_binary else matrix(shop)  # its JSON has no form for NaN
        whole = http.InferInput("rows", list(values.shape), "FP64").set_data_from_numpy(values, binary_data=is_binary)
        output = http.InferRequestedOutput("prediction", binary_data=is_binary)
        result = client.infer("shop", [whole], outputs=[output], request_id="7")
        columns = [
            http.InferInput(name, [len(values), 1], "FP64").set_data_from_numpy(values[:, [place]], is_binary)
            for place, name in enumerate(shop.rows.columns)
        ]
        again = client.infer("shop", columns)
        np.testing.assert_array_equal(result.as_numpy("prediction"), again.as_numpy("prediction"))
        if is_binary:
            np.testing.assert_array_equal(result.as_numpy("prediction"), shop.truth)
        response = result.get_response()
        assert (response["id"], response["model_version"]) == ("7", shop.champion)
        stored = httpx.get(f"{shop.url}/v1/predictions/{response['parameters']['prediction_id']}").json()
        assert stored["outputs"]["prediction"] == result.as_numpy("prediction").tolist()

    def test_a_version(self, triton: Any, shop: Any) -> None:
        http, client = triton
        whole = http.InferInput("rows", [5, 3], "FP64").set_data_from_numpy(matrix(shop))
        result = client.infer("shop", [whole], model_version=shop.challenger)
        assert result.get_response()["model_version"] == shop.challenger
        assert (result.as_numpy("prediction") != shop.truth).any()

    def test_errors_can_be_read(self, triton: Any, shop: Any) -> None:
        http, client = triton
        utils = pytest.importorskip("tritonclient.utils")
        wrong = http.InferInput("rows", [1, 2], "FP64").set_data_from_numpy(np.zeros((1, 2)))
        with pytest.raises(utils.InferenceServerException) as caught:
            client.infer("shop", [wrong])
        text = str(caught.value)
        assert text.startswith("[422] 'rows' has 2 columns; the model takes 3; in this order: 'price'")
        for ask in (lambda: client.get_model_metadata("other"), lambda: client.get_model_metadata("shop", "x")):
            with pytest.raises(utils.InferenceServerException, match="404"):
                ask()


class TestTritonOverGrpc:
    @pytest.fixture
    def triton(self, shop: Any) -> Any:
        grpc = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
        with grpc.InferenceServerClient(shop.grpc) as client:
            yield grpc, client

    def test_health_and_metadata(self, triton: Any, shop: Any) -> None:
        _, client = triton
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("shop", shop.challenger)
        assert list(client.get_model_metadata("shop").versions) == [shop.champion, shop.challenger]

    def test_infer(self, triton: Any, shop: Any) -> None:
        grpc, client = triton
        whole = grpc.InferInput("rows", [5, 3], "FP64").set_data_from_numpy(matrix(shop))
        result = client.infer("shop", [whole], request_id="7")
        np.testing.assert_array_equal(result.as_numpy("prediction"), shop.truth)
        response = result.get_response()
        assert (response.id, response.model_version) == ("7", shop.champion)
        stored = httpx.get(f"{shop.url}/v1/predictions/{response.parameters['prediction_id'].string_param}").json()
        assert stored["outputs"]["prediction"] == shop.truth.tolist()
        other = client.infer("shop", [whole], model_version=shop.challenger)
        assert other.get_response().model_version == shop.challenger

    def test_errors_have_codes(self, triton: Any, shop: Any) -> None:
        grpc, client = triton
        utils = pytest.importorskip("tritonclient.utils")
        whole = grpc.InferInput("rows", [5, 3], "FP64").set_data_from_numpy(matrix(shop))
        with pytest.raises(utils.InferenceServerException, match="NOT_FOUND"):
            client.infer("other", [whole])
        with pytest.raises(utils.InferenceServerException, match=r"INVALID_ARGUMENT.*'price'"):
            client.infer("shop", [grpc.InferInput("prise", [1], "FP64").set_data_from_numpy(np.zeros(1))])

    def test_calls_are_counted(self, triton: Any, shop: Any) -> None:
        _, client = triton
        client.is_server_live()
        assert 'route="/inference.GRPCInferenceService/ServerLive"' in httpx.get(f"{shop.url}/metrics").text


@pytest.mark.filterwarnings("ignore::UserWarning:mlflow")
class TestMlflow:
    def client(self, url: str) -> Any:
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient

        host, _, port = url.removeprefix("http://").rpartition(":")
        return ScoringServerClient(host, int(port))

    def test_rows(self, shop: Any) -> None:
        client = self.client(shop.url)
        client.wait_server_ready()
        assert client.get_version()
        rows = shop.rows.astype(object).where(shop.rows.notna(), None)
        assert client.invoke(rows)["predictions"] == shop.truth.tolist()
        assert client.invoke(rows).get_predictions()[0].tolist() == shop.truth.tolist()
        with pytest.raises(Exception, match=r"column_unknown.*price"):
            client.invoke(rows.rename(columns={"price": "prise"}))

    def test_csv(self, shop: Any) -> None:
        headers = {"content-type": "text/csv"}
        response = httpx.post(f"{shop.url}/invocations", content=shop.rows.to_csv(index=False), headers=headers)
        body = response.json()
        np.testing.assert_allclose(body["predictions"], shop.truth, rtol=1e-12)
        assert response.headers["x-everloop-prediction"] == body["prediction_id"]

    def test_forecasts(self, server: httpx.Client) -> None:
        pd = pytest.importorskip("pandas")
        client = self.client(str(server.base_url).rstrip("/"))
        rows = pd.DataFrame({"store_id": ["S0", "S1"], "item_id": ["item/1", "item/2"]})
        answer = client.invoke(rows, params={"horizon": 3, "levels": [80]})
        assert [row["item_id"] for row in answer["predictions"]] == ["item/1"] * 3 + ["item/2"] * 3
        content = "store_id,item_id,date,price\nS0,item/1,2026-03-01,2.5\nS0,item/1,2026-03-02,\n"
        csv = server.post("/invocations", content=content, headers={"content-type": "text/csv"}).json()
        assert [row["forecast"] for row in csv["predictions"]] == [row["forecast"] for row in answer["predictions"][:2]]


class TestForecastsByTheInferenceProtocol:
    def test_binary(self, server: httpx.Client) -> None:
        http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
        client = http.InferenceServerClient(server.base_url.netloc.decode())
        keys = np.array(["S0/item%2F1", "S1/item%2F2"], dtype=object)
        series = http.InferInput("series", [2], "BYTES").set_data_from_numpy(keys)
        price = http.InferInput("price", [2, 3], "FP32").set_data_from_numpy(np.full((2, 3), 2.5, np.float32))
        result = client.infer("demand", [series, price], parameters={"horizon": 3, "levels": "80"})
        truth = server.post(
            "/v1/forecast", json={"series": keys.tolist(), "horizon": 3, "levels": [80], "future": {"price": 2.5}}
        ).json()
        for name in ("forecast", "lo-80", "hi-80"):
            assert result.as_numpy(name).tolist() == [each[name] for each in truth["forecasts"]]
        assert [each.decode() for each in result.as_numpy("time")] == truth["times"]

    def test_models(self, server: httpx.Client) -> None:
        assert server.get("/v2/models").json() == {"models": ["demand"]}


def test_kserve(shop: Any) -> None:
    """Its client needs older versions of what others need, so that it may live in an environment of its own."""
    python = os.environ.get("EVERLOOP_KSERVE_PYTHON", sys.executable)
    script = Path(__file__).with_name("kserve_client.py")
    asked = {"rows": np.nan_to_num(matrix(shop)).tolist(), "url": shop.url, "grpc": shop.grpc}
    done = subprocess.run(
        [python, str(script)], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode == 77:
        pytest.skip("kserve is not installed; EVERLOOP_KSERVE_PYTHON may name a Python that has it")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    truth = httpx.post(f"{shop.url}/invocations", json={"inputs": asked["rows"]}).json()["predictions"]
    assert told["json"] == told["binary"] == told["grpc"] == truth
    assert (told["live"], told["ready"], told["model_ready"]) == (True, True, True)
    assert "'rows' has 2 columns" in told["error"]
