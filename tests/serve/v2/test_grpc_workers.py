"""Several workers answer gRPC on one port."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adopting import adopt, frame, saved, trained
from everloop.core.project import load_project
from everloop.store.deployments import deploy
from everloop.store.engine import open_store
from serve.v2.conftest import NOW, SHOP, free_port
from workers import children

triton = pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")


def ask(port: int, rows: np.ndarray) -> np.ndarray:
    """Answers over a connection of its own, so that any worker may have taken it."""
    client = triton.InferenceServerClient(
        f"127.0.0.1:{port}", channel_args=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    )
    with closing(client):
        whole = triton.InferInput("rows", list(rows.shape), "FP64")
        whole.set_data_from_numpy(rows)
        found: np.ndarray = client.infer("shop", [whole], client_timeout=20).as_numpy("prediction")
        return found


def listening(port: int) -> int:
    """How many sockets listen on a port."""
    lines = [line for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    ends = [line.split() for line in lines]
    return sum(int(each[1].rpartition(":")[2], 16) == port and each[3] == "0A" for each in ends)


def test_two_workers_share_the_port_and_one_that_dies_is_replaced(
    tmp_path: Path, serving: Callable[..., Any], until: Callable[..., Any]
) -> None:
    port = free_port()
    (tmp_path / "everloop.toml").write_text(SHOP.format(grpc=port))
    project = load_project(tmp_path, environ={})
    with closing(open_store(project.store_url)) as store:
        release = adopt(project, store, saved(tmp_path / "model")).digest
        with store.write() as tx:
            deploy(tx, "champion", release, at=NOW, reason="test")
    rows = frame(n=5, seed=9).to_numpy()
    truth = trained().booster_.predict(rows)
    with serving(SimpleNamespace(project=project), "--workers", "2") as running:
        assert listening(port) == 2
        for _ in range(20):
            np.testing.assert_array_equal(ask(port, rows), truth)
        before = children(running.process.pid)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: before[0] not in children(running.process.pid) and listening(port) == 2)
        for _ in range(20):
            np.testing.assert_array_equal(ask(port, rows), truth)
        with running.client() as client:
            assert "everloop_predictions_stored_total 40.0" in client.get("/metrics").text
