"""What the monitor found is shown to Prometheus: read from the store, by the names that the reference gives."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from everloop.serve.standing import STANDING_FAMILIES, read_standing
from everloop.store.alerts import clear_alert, raise_alert
from everloop.store.engine import Store
from everloop.store.marks import set_mark
from everloop.store.standing import ColumnStanding, LevelStanding, keep_drift_standing, keep_live_standing

AT = datetime(2026, 3, 1, 5, tzinfo=UTC)
COLUMNS = (
    ColumnStanding("price", "input", "level", 1.16, "2026-02-20"),
    ColumnStanding('a "b"\\c', "input", "missing", 0.25, None),
)
LEVELS = (
    LevelStanding("error", "1-7", 0.31, None, 0.29, "above"),
    LevelStanding("coverage", "1-7", 0.78, 0.74, 1.0, "within"),
    LevelStanding("bias", "8-14", None, None, None, "cannot tell"),
)


def keep(store: Store) -> None:
    with store.write() as tx:
        keep_drift_standing(tx, "f" * 64, "drift", COLUMNS, at=AT)
        keep_live_standing(tx, "f" * 64, LEVELS, at=AT)
        raise_alert(tx, "drift", "price changed", at=AT, actor="test")


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels, which come in the order of the labels' names."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def told(server: httpx.Client, shared_world) -> Iterator[httpx.Client]:  # type: ignore[no-untyped-def]
    keep(shared_world.store)
    yield server
    with shared_world.store.write() as tx:
        clear_alert(tx, "drift", at=AT, actor="test")


def test_before_anybody_has_looked_nothing_is_claimed(server: httpx.Client) -> None:
    found = samples(server.get("/metrics").text)
    assert found["everloop_monitor_readable", ()] == 1
    assert not [name for name, _ in found if name.startswith(("everloop_drift", "everloop_live", "everloop_alert"))]


def test_what_is_stored_is_shown(told: httpx.Client) -> None:
    found = samples(told.get("/metrics").text)
    assert found["everloop_drift_evidence_ratio", ("level", "price", "input")] == 1.16
    assert found["everloop_drift_evidence_ratio", ("missing", 'a "b"\\c', "input")] == 0.25
    since = datetime(2026, 2, 20, tzinfo=UTC).timestamp()
    assert {key: value for key, value in found.items() if key[0].startswith("everloop_drift_since")} == {
        ("everloop_drift_since_timestamp_seconds", ("level", "price", "input")): since
    }
    assert found["everloop_live_level", ("error", "1-7")] == 0.31
    assert found["everloop_live_upper_bound", ("error", "1-7")] == 0.29
    assert ("everloop_live_lower_bound", ("error", "1-7")) not in found, "it is open"
    assert found["everloop_live_out", ("error", "1-7")] == 1
    assert found["everloop_live_out", ("coverage", "1-7")] == 0
    assert ("everloop_live_out", ("bias", "8-14")) not in found, "nothing can be told"
    assert found["everloop_alert_open", ("drift",)] == 1
    for name in ("everloop_alert_since_timestamp_seconds", "everloop_drift_looked_timestamp_seconds"):
        assert [value for key, value in found.items() if key[0] == name] == [AT.timestamp()]


def test_an_alert_goes_with_its_end(told: httpx.Client, shared_world) -> None:  # type: ignore[no-untyped-def]
    with shared_world.store.write() as tx:
        clear_alert(tx, "drift", at=AT, actor="test")
    assert "everloop_alert_open{" not in told.get("/metrics").text


def test_a_store_that_cannot_be_read_does_not_take_the_metrics_with_it(told: httpx.Client, shared_world) -> None:  # type: ignore[no-untyped-def]
    with shared_world.store.write() as tx:
        set_mark(tx, "standing:drift", {"release": 3}, at=AT)
    response = told.get("/metrics")
    assert response.status_code == 200
    found = samples(response.text)
    assert found["everloop_monitor_readable", ()] == 0
    assert ("everloop_swaps_total", ("champion",)) in found


def test_nothing_kept_reads_as_nothing(shared_world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with shared_world.store.write() as tx:
        for name in ("standing:drift", "standing:live"):
            set_mark(tx, name, None, at=AT)
    found = read_standing(shared_world.store, tmp_path)
    assert (found.is_read, found.drift, found.live) == (True, None, None)


def test_promtool_has_nothing_to_object(told: httpx.Client) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, which Prometheus brings, is not installed")
    text = told.get("/metrics").content
    assert all(f"# HELP {each.name} ".encode() in text for each in STANDING_FAMILIES)
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout.decode(), done.stderr.decode()) == (0, "", "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_real_prometheus_scrapes_and_alerts(told: httpx.Client, tmp_path: Path) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("Prometheus is not installed")
    target = f"{told.base_url.host}:{told.base_url.port}"
    rule = {"alert": "Everloop", "expr": "everloop_alert_open == 1"}
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "everloop", "rules": [rule]}]}))
    settings = {
        "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "everloop", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(settings))
    address = f"127.0.0.1:{free_port()}"
    command = [
        prometheus,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'series'}",
        f"--web.listen-address={address}",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        query = "max(everloop_drift_evidence_ratio) > 1 and on() ALERTS{code='drift',alertstate='firing'}"
        found = ask_until(f"http://{address}/api/v1/query", query)
    finally:
        process.terminate()
        process.wait(20)
    assert [float(each["value"][1]) for each in found] == [1.16], (tmp_path / "log").read_text()[-2000:]


def ask_until(url: str, query: str) -> list[dict[str, list[str]]]:
    """What a query answers as soon as it answers something."""
    deadline = time.monotonic() + 20
    found: list[dict[str, list[str]]] = []
    while not found and time.monotonic() < deadline:
        try:
            answer = httpx.get(url, params={"query": query}, timeout=5).json()
            found = answer["data"]["result"]
        except httpx.TransportError:
            pass
        if not found:
            time.sleep(0.1)
    return found
