"""Server processes: their start, their end, their death, and what clients see of a promotion."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from everloop.core.errors import UnavailableError
from everloop.models.lightgbm import LightGBMForecaster
from everloop.models.seasonal_naive import SeasonalNaiveForecaster
from everloop.serve.address import read_address
from everloop.store.engine import open_store
from everloop.store.facts import has_prediction
from workers import children

HEAVY = (
    "mlflow", "pandas", "sklearn", "pyarrow", "polars", "deltalake", "lightgbm", "statsforecast", "matplotlib",
    "prometheus_client", "pydantic", "scipy", "sqlalchemy", "alembic", "ray", "wandb",
)  # fmt: skip
START = """
import json, os, signal, sys, threading, urllib.request
from pathlib import Path
from everloop.core.clock import SystemClock
from everloop.core.project import load_project
from everloop.serve.process import serve

def ask(url):
    try:
        body = json.dumps({"series": ["S0/item%2F1"]}).encode()
        request = urllib.request.Request(url + "/v1/forecast", body, {"content-type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        print(opener.open(request, timeout=20).status, file=sys.stderr)
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
    finally:
        os.kill(os.getpid(), signal.SIGTERM)

serve(load_project(Path(sys.argv[1])), SystemClock(), port=0,
      announce=lambda address: threading.Thread(target=ask, args=(address.url,)).start())
"""


class Clients:
    """Threads that keep asking, each over a connection of its own, until they are told to stop."""

    def __init__(self, url: str, count: int = 4, *, is_dying: bool = False) -> None:
        self.answers: list[tuple[int, str, str]] = []
        self.errors: list[str] = []
        self._url = url
        self._is_dying = is_dying
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    response = client.post("/v1/forecast", json={"series": ["S0/item%2F1"], "horizon": 3})
                except httpx.TransportError as error:
                    self.errors.append(repr(error))
                    if self._is_dying:
                        return
                    continue
                headers = response.headers
                identifier = headers.get("x-everloop-prediction", "")
                self.answers.append((response.status_code, identifier, headers.get("x-everloop-release", "")))


def test_the_start_path_is_light(world) -> None:  # type: ignore[no-untyped-def]
    model = LightGBMForecaster(trees=5, leaf_rows=5, windows=1)
    world.champion(model, name="lightgbm")
    done = subprocess.run(
        [sys.executable, "-c", START, str(world.project.root)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.decode().splitlines()[0] == "200"
    loaded = set(__import__("json").loads(done.stdout))
    assert "uvicorn" in loaded
    assert not loaded & set(HEAVY)


def test_a_promotion_fails_no_request(world, serving: Callable[..., object], until: Callable[..., object]) -> None:  # type: ignore[no-untyped-def]
    releases = [world.champion()] + [world.add(SeasonalNaiveForecaster(season=7 * each)) for each in (2, 3, 4)]
    with serving(world) as running, Clients(running.url) as clients:  # type: ignore[attr-defined]
        for release in [*releases[1:], releases[0]]:
            until(lambda: len(clients.answers) > 20)
            world.deploy("champion", release)
            until(lambda release=release: clients.answers[-1][2] == release)
    assert clients.errors == []
    assert {status for status, _, _ in clients.answers} == {200}
    assert {release for _, _, release in clients.answers} == set(releases)


def test_a_challenger_answers_in_the_shadow(
    world, serving: Callable[..., object], until: Callable[..., object]
) -> None:  # type: ignore[no-untyped-def]
    champion = world.champion()
    challenger = world.add(SeasonalNaiveForecaster(season=14))
    world.deploy("challenger", challenger)
    with serving(world) as running, running.client() as client:  # type: ignore[attr-defined]
        answer = client.post("/v1/forecast", json={"series": ["S0/item%2F1"]}).json()
        rows = client.post("/invocations", json={"instances": [{"store_id": "S0", "item_id": "item/1"}]}).json()

        def shadows() -> list[tuple[str, str, str, str]] | None:
            query = "SELECT twin, release, kind, role FROM predictions WHERE twin IS NOT NULL ORDER BY id"
            with world.store.read() as tx:
                found = [tuple(row) for row in tx.exec_driver_sql(query)]
            return found if len(found) == 2 else None

        found = until(shadows)
    assert answer["release"] == champion
    assert found == [
        (answer["prediction_id"], challenger, "forecast", "shadow"),
        (rows["prediction_id"], challenger, "invocations", "shadow"),
    ]


@pytest.mark.parametrize("round_", range(3))
def test_kill_under_load_loses_no_acknowledged_prediction(  # type: ignore[no-untyped-def]
    world, serving: Callable[..., object], until: Callable[..., object], round_: int
) -> None:
    world.champion()
    with serving(world, is_killed=True) as running:  # type: ignore[attr-defined]
        with Clients(running.url, 6, is_dying=True) as clients:
            until(lambda: len(clients.answers) > 60 + 40 * round_)
            running.process.kill()
            running.process.wait(10)
        acknowledged = [identifier for status, identifier, _ in clients.answers if status == 200]
    store = open_store(world.project.store_url)  # as the next process finds it
    with store.read() as tx:
        assert tx.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert [each for each in acknowledged if not has_prediction(tx, each)] == []
    store.close()
    assert len(acknowledged) > 60


def test_sigterm_answers_what_was_begun(world, serving: Callable[..., object], until: Callable[..., object]) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    with serving(world) as running, Clients(running.url, 4, is_dying=True) as clients:  # type: ignore[attr-defined]
        until(lambda: len(clients.answers) > 40)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
    assert {status for status, _, _ in clients.answers} == {200}
    with world.store.read() as tx:
        assert all(has_prediction(tx, identifier) for _, identifier, _ in clients.answers)
    with pytest.raises(UnavailableError):
        read_address(world.project)


def test_workers_are_replaced_when_they_die(
    world, serving: Callable[..., object], until: Callable[..., object]
) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    with serving(world, "--workers", "2") as running:  # type: ignore[attr-defined]

        def answer() -> int:
            with running.client() as client:
                client.post("/v1/forecast", json={"series": ["S0/item%2F1"]}).raise_for_status()
                return 200

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: answer(), range(20))) == {200}
        workers = children(running.process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: len(children(running.process.pid)) == 2 and workers[0] not in children(running.process.pid))
        assert answer() == 200
        with running.client() as client:
            assert "everloop_predictions_stored_total 21.0" in client.get("/metrics").text
    until(lambda: not any(alive(pid) for pid in workers))


def test_workers_end_with_a_supervisor_that_is_killed(
    world, serving: Callable[..., object], until: Callable[..., object]
) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    with serving(world, "--workers", "2", is_killed=True) as running:  # type: ignore[attr-defined]
        workers = children(running.process.pid)
        assert len(workers) == 2
        running.process.kill()
        running.process.wait(10)
        until(lambda: not any(alive(pid) for pid in workers))
    with pytest.raises(UnavailableError):
        read_address(world.project)


def test_a_slow_sender_is_told_so(world, serving: Callable[..., object]) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    with serving(world, "--set", "access.body_seconds=0.3") as running:  # type: ignore[attr-defined]
        host, port = running.url.removeprefix("http://").split(":")  # type: ignore[attr-defined]
        with socket.create_connection((host, int(port)), timeout=20) as sender:
            head = "POST /v1/forecast HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99"
            sender.sendall(f"{head}\r\n\r\n{{".encode())
            answer = b""
            while part := sender.recv(4096):  # until the server closes the connection
                answer += part
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"body_slow"' in answer


def test_without_a_champion_it_lives_but_is_not_ready(
    world, serving: Callable[..., object], until: Callable[..., object]
) -> None:  # type: ignore[no-untyped-def]
    with serving(world) as running, running.client() as client:  # type: ignore[attr-defined]
        assert client.get("/v2/health/live").status_code == 200
        refused = [client.get("/v2/health/ready"), client.post("/v1/forecast", json={}), client.get("/ping")]
        for response in refused:
            assert response.status_code == 503
            body = response.json()
            parts = body if "code" in body else body["error"]  # below /v2 they stand beside the sentence
            assert parts["code"] == "no_champion"
            assert parts["hint"].endswith("everloop run")
            assert response.headers["retry-after"] == "1"
        world.champion()
        until(lambda: client.get("/v2/health/ready").status_code == 200)


def test_what_the_store_does_not_take_is_kept_on_disk_and_moved(world, serving, until) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    with serving(world) as running, running.client() as client:
        with world.store.write() as tx:
            tx.exec_driver_sql("ALTER TABLE predictions RENAME TO away")
        response = client.post("/v1/forecast", json={"series": ["S0/item%2F1"]})
        assert response.status_code == 200
        assert "everloop_log_spooled_total 1.0" in client.get("/metrics").text
        with world.store.write() as tx:
            tx.exec_driver_sql("ALTER TABLE away RENAME TO predictions")
        prediction = response.json()["prediction_id"]
        until(lambda: client.get(f"/v1/predictions/{prediction}").status_code == 200)


SLOW = """
import time
from everloop.models.seasonal_naive import SeasonalNaiveForecaster

class Slow(SeasonalNaiveForecaster):
    def forecast(self, request):
        if len(request.series) > 4:
            time.sleep(1.5)
        return super().forecast(request)
"""


def test_a_slow_model_times_out_and_too_many_are_refused(world, serving: Callable[..., object]) -> None:  # type: ignore[no-untyped-def]
    (world.project.root / "slow_model.py").write_text(SLOW)
    sys.path.insert(0, str(world.project.root))
    try:
        import slow_model  # type: ignore[import-not-found]

        world.champion(slow_model.Slow())
    finally:
        sys.path.remove(str(world.project.root))
        sys.modules.pop("slow_model", None)
    flags = ("--set", "serve.timeout_seconds=0.5", "--set", "serve.max_waiting=3")
    with serving(world, *flags) as running, running.client() as client:  # type: ignore[attr-defined]
        body = {"series": ["S0/item%2F1"] * 17}
        slow = client.post("/v1/forecast", json=body)
        assert (slow.status_code, slow.json()["error"]["code"]) == (504, "timeout")
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda _: httpx.post(running.url + "/v1/forecast", json=body).status_code, range(8)))
        assert set(codes) == {503, 504}
        assert codes.count(504) <= 3
        assert client.get("/v2/health/live").status_code == 200


def test_a_taken_port_is_told(world) -> None:  # type: ignore[no-untyped-def]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "everloop.cli.main", "serve", "--project", str(world.project.root)]
        done = subprocess.run(
            [*command, "--port", str(taken.getsockname()[1])], capture_output=True, timeout=30, check=False
        )
    assert done.returncode == UnavailableError.exit_status
    assert b"error[port_taken]" in done.stderr


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_serving_leaves_no_announcement_of_a_dead_server(world) -> None:  # type: ignore[no-untyped-def]
    path = world.project.home / "serve.json"
    path.parent.mkdir(exist_ok=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path.write_text(
        f'{{"url": "http://127.0.0.1:1", "host": "127.0.0.1", "port": 1, "pid": {dead.pid}, "workers": 1, '
        f'"started_at": "{time.time()}"}}'
    )
    with pytest.raises(UnavailableError) as caught:
        read_address(world.project)
    assert caught.value.hint == "start one: everloop serve"


def test_workers_tell_each_other_how_many_connections_they_have(world, serving: Callable[..., object], until) -> None:  # type: ignore[no-untyped-def]
    world.champion()
    with serving(world, "--workers", "2") as running:  # type: ignore[attr-defined]
        (file,) = (world.project.home / "metrics").glob("*/connections")

        def held() -> list[int]:
            return sorted(struct.unpack("2q", file.read_bytes()))

        until(lambda: held() == [0, 0])
        clients = [running.client() for _ in range(6)]
        try:
            assert [client.get("/v2/health/live").status_code for client in clients] == [200] * 6
            assert sum(held()) == 6
        finally:
            for client in clients:
                client.close()
        until(lambda: held() == [0, 0])
