"""A server of a model of rows, and one of forecasts, that other people's clients ask."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from adopting import adopt, frame, saved
from everloop.core.project import load_project
from everloop.store.deployments import deploy
from everloop.store.engine import open_store
from models.tabular.oracle import numbers

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SHOP = """
[project]
name = "shop"
task = "regression"
[serve]
port = 0
grpc_port = {grpc}
poll_seconds = 0.05
"""


@dataclass
class Asked:
    """A running server: its address, gRPC's, the releases, and what the champion says of ``rows``."""

    url: str
    grpc: str
    champion: str
    challenger: str
    rows: Any
    truth: Any

    @property
    def netloc(self) -> str:
        return self.url.removeprefix("http://")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, serving: Callable[..., Any]) -> Iterator[Asked]:
    """A LightGBM model of three columns of numbers as champion, and another as challenger."""
    import lightgbm

    from models.tabular.oracle import save

    folder = tmp_path_factory.mktemp("shop")
    port = free_port()
    (folder / "everloop.toml").write_text(SHOP.format(grpc=port))
    project = load_project(folder, environ={})
    with closing(open_store(project.store_url)) as store:
        champion = adopt(project, store, saved(folder / "first")).digest
        other = lightgbm.LGBMRegressor(n_estimators=3, n_jobs=1, verbosity=-1).fit(frame(seed=5), numbers(200, 1)[:, 0])
        path = save("lightgbm", other.booster_, folder / "second", frame(), numbers(200, 1)[:, 0])
        challenger = adopt(project, store, path).digest
        with store.write() as tx:
            deploy(tx, "champion", champion, at=NOW, reason="test")
            deploy(tx, "challenger", challenger, at=NOW, reason="test")
    rows = frame(n=5, seed=9)
    booster = lightgbm.Booster(model_file=str(next((folder / "first").glob("**/model.lgb"))))
    with serving(SimpleNamespace(project=project)) as running:
        truth = booster.predict(rows.to_numpy())
        yield Asked(running.url, f"127.0.0.1:{port}", champion, challenger, rows, truth)
