"""The description is valid, says what the served model takes, and holds for whatever is sent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from everloop.serve.openapi import describe_api


def check_valid(document: dict[str, Any]) -> None:
    validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed")
    validator.OpenAPIV31SpecValidator(document).validate()


def concrete(path: str, name: str) -> str:
    return path.replace("{model}", name)


def check_examples(url: str, document: dict[str, Any], name: str) -> list[str]:
    """Send every example, and tell where they went."""
    sent = []
    with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
        for path, item in document["paths"].items():
            content = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                response = client.post(concrete(path, name), json=example["value"])
                assert response.status_code == 200, (path, response.text)
                sent.append(path)
    return sent


def test_any_server(server: httpx.Client) -> None:
    document = describe_api("demand")
    check_valid(document)
    identifiers = [
        item[method]["operationId"] for item in document["paths"].values() for method in {"get", "post"} & set(item)
    ]
    assert len(set(identifiers)) == len(identifiers)
    paths = set(server.get("/openapi.json").json()["paths"])
    assert paths == set(document["paths"])


def test_a_forecaster(server: httpx.Client) -> None:
    document = server.get("/openapi.json").json()
    check_valid(document)
    row = document["components"]["schemas"]["Row"]
    assert row["required"] == ["store_id", "item_id"]
    assert set(row["properties"]) == {"store_id", "item_id", "date", "price", "event"}
    assert row["properties"]["event"] == {"enum": ["none", "fair", None]}
    sent = check_examples(str(server.base_url), document, "demand")
    assert sorted(sent) == ["/invocations", "/v1/forecast", "/v1/forecast", "/v2/models/{model}/infer"]


def test_a_model_of_rows(shop: Any) -> None:
    document = httpx.get(f"{shop.url}/openapi.json").json()
    check_valid(document)
    row = document["components"]["schemas"]["Row"]
    assert row["properties"]["price"] == {"type": ["number", "null"]}
    assert not [path for path in document["paths"] if path.startswith("/v1/forecast")]
    assert sorted(check_examples(shop.url, document, "shop")) == ["/invocations", "/v2/models/{model}/infer"]


@pytest.mark.parametrize("which", ["server", "shop"])
def test_another_tool_finds_no_request_that_it_does_not_hold_for(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    served = request.getfixturevalue(which)
    url = str(served.base_url) if which == "server" else served.url
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url.rstrip('/')}/openapi.json"]
    flags = ["--max-examples=3", "--seed=7", "--generation-database=none", "--no-color", "--suppress-health-check=all"]
    # no schema can say which series, columns and versions there are
    checks = ["--checks=all", "--exclude-checks=positive_data_acceptance"]
    done = subprocess.run(
        [*command, *flags, *checks], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
