"""The servers that are measured, each as its own documentation starts it, with its telemetry off."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measuring.environments import Environment, make_environment
from serving.load import Requests
from serving.model import COLUMNS, Model
from serving.server import Contender

__all__ = ["PEERS", "Rows", "bare", "constant", "get", "peer", "read_v2", "v2_binary_requests", "v2_requests"]

HERE = Path(__file__).parent
_LIGHTGBM = "lightgbm==4.7.0"
_JSON = {"Content-Type": "application/json"}
_QUIET = {
    "OMP_NUM_THREADS": "1",  # the booster is slower with more threads than the one core
    "DO_NOT_TRACK": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}

Read = Callable[[bytes, Mapping[str, str]], tuple[list[float], str]]


@dataclass(frozen=True)
class Rows:
    """What is asked.

    Attributes:
        one: rows that are asked one a request, shape ``(n, features)``.
        hundred: rows that are asked a hundred a request, shape ``(m, 100, features)``.
    """

    one: NDArray[np.float64]
    hundred: NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """How a peer is installed and started.

    Attributes:
        requirements: its packages, pinned.
        command: what starts it, given its environment, a model, and a folder of its own.
        path: where it is asked.
        encode: rows as its request's body.
        read: the predictions in its answer.
        environment: more variables.
        is_pausable: see :class:`serving.server.Contender`.
        note: for the table.
    """

    requirements: tuple[str, ...]
    command: Callable[[Environment, Model, Path], list[str]]
    path: str
    encode: Callable[[NDArray[np.float64]], dict[str, Any]]
    read: Read
    environment: Mapping[str, str]
    is_pausable: bool = True
    note: str = ""


def encode_v2(rows: NDArray[np.float64]) -> dict[str, Any]:
    """Rows as one tensor of the V2 protocol."""
    tensor = {"name": "rows", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}
    return {"inputs": [tensor]}


def read_v2(body: bytes, headers: Mapping[str, str]) -> tuple[list[float], str]:
    """The first output, and the release where it is told."""
    return [float(each) for each in json.loads(body)["outputs"][0]["data"]], headers.get("x-everloop-release", "")


def _read_predictions(body: bytes, _headers: Mapping[str, str]) -> tuple[list[float], str]:
    return [float(each) for each in json.loads(body)["predictions"]], ""


def _encode_rows(rows: NDArray[np.float64]) -> dict[str, Any]:
    return {"rows": rows.tolist()}


def _encode_split(rows: NDArray[np.float64]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": COLUMNS, "data": rows.tolist()}}


def _mlserver_command(environment: Environment, model: Model, folder: Path) -> list[str]:
    settings = {
        "name": "regressor",
        "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": str(model.text)},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return [environment.command("mlserver"), "start", str(folder)]


def _mlserver(workers: int, note: str) -> Recipe:
    return Recipe(
        # its worker process does not start with a newer uvloop
        ("mlserver==1.7.1", "mlserver-lightgbm==1.7.1", "uvloop<0.22"),
        _mlserver_command,
        "/v2/models/regressor/infer",
        encode_v2,
        read_v2,
        {
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{port2}",
            "MLSERVER_METRICS_PORT": "{port3}",
            "MLSERVER_PARALLEL_WORKERS": str(workers),
        },
        note=note,
    )


def _uvicorn(python: str, module: str, folder: Path, *flags: str) -> list[str]:
    command = [python, "-m", "uvicorn", module, "--app-dir", str(folder), "--host", "127.0.0.1", "--port", "{port}"]
    return [*command, "--log-level", "warning", "--no-access-log", "--loop", "uvloop", "--http", "httptools", *flags]


PEERS: dict[str, Recipe] = {
    "mlserver": _mlserver(1, "as it comes: one worker process beside the one that listens"),
    "mlserver tuned": _mlserver(0, "parallel_workers=0: the model in the process that listens"),
    "bentoml": Recipe(
        ("bentoml==1.4.39", _LIGHTGBM),
        lambda environment, _model, _folder: [
            environment.command("bentoml"), "serve", "bentoml_app:Regressor",
            "--working-dir", str(HERE / "peers"), "--host", "127.0.0.1", "--port", "{port}",
        ],
        "/predict", _encode_rows, _read_predictions, {},
        note="workers=1",
    ),
    "litserve": Recipe(
        ("litserve==0.2.19", _LIGHTGBM, "numpy==2.4.6"),
        lambda environment, _model, _folder: [
            str(environment.python), str(HERE / "peers" / "litserve_app.py"), "{port}",
        ],
        "/predict", _encode_rows, _read_predictions, {},
        note="workers_per_device=1",
    ),
    "fastapi": Recipe(
        ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", _LIGHTGBM, "numpy==2.4.6"),
        lambda environment, _model, _folder: _uvicorn(
            str(environment.python), "fastapi_app:app", HERE / "peers", "--workers", "1"
        ),
        "/predict", _encode_rows, _read_predictions, {},
        note="async def; uvloop, httptools, no access log",
    ),
    "mlflow": Recipe(
        ("mlflow==3.17.2", _LIGHTGBM),
        lambda environment, model, _folder: [
            environment.command("mlflow"), "models", "serve", "-m", str(model.folder), "--env-manager", "local",
            "--host", "127.0.0.1", "--port", "{port}",
        ],
        "/invocations", _encode_split, _read_predictions, {},
        note="models serve --env-manager local",
    ),
    "ray": Recipe(
        ("ray[serve]==2.60.0", _LIGHTGBM),
        lambda environment, _model, folder: [
            str(environment.python), str(HERE / "peers" / "ray_app.py"), "{port}", str(folder),
        ],
        "/", _encode_rows, _read_predictions, {},
        is_pausable=False,
        note="one replica; not paused, so its rounds follow each other at the end",
    ),
}  # fmt: skip


def peer(name: str, model: Model, rows: Rows, folder: Path) -> tuple[Contender | None, Environment]:
    """A peer that can be started, ``None`` where it cannot be installed, and its environment.

    Args:
        name: one of :data:`PEERS`.
        model: what it serves.
        rows: what it is asked.
        folder: for files of its own; made here.
    """
    recipe = PEERS[name]
    environment = make_environment(name.partition(" ")[0], recipe.requirements)
    if environment.python is None:
        return None, environment
    folder.mkdir()
    path = f"{environment.python.parent}{os.pathsep}{os.environ['PATH']}"
    more = {**_QUIET, **recipe.environment, "BENCH_MODEL": str(model.text), "PATH": path}
    contender = Contender(
        name=name,
        command=recipe.command(environment, model, folder),
        one=requests_of(recipe.path, recipe.encode, rows.one[:, None, :]),
        read=recipe.read,
        folder=folder,
        rows=rows.one,
        environment=more | {"BENTOML_HOME": str(folder)},
        is_pausable=recipe.is_pausable,
        note=recipe.note,
    )
    return contender, environment


def bare(model: Model, rows: Rows) -> Contender:
    """The yardstick: uvicorn, msgspec and the booster's C API, and nothing else."""
    return Contender(
        name="bare",
        command=_uvicorn(sys.executable, "serving.peers.bare:app", HERE.parent, *_LEAN),
        one=v2_requests("/v2/models/regressor/infer", rows.one[:, None, :]),
        hundred=v2_requests("/v2/models/regressor/infer", rows.hundred),
        read=read_v2,
        folder=HERE,
        rows=rows.one,
        environment={**_QUIET, "BENCH_MODEL": str(model.text)},
        note="uvicorn, msgspec, the booster's C API; nothing is checked, stored or counted",
    )


def constant(folder: Path, answer: bytes = b"") -> Contender:
    """The most that uvicorn can do: the same bytes for everything; ``GET /file`` gives ``answer``."""
    file = folder / "answer"
    file.write_bytes(answer)
    return Contender(
        name="constant",
        command=_uvicorn(sys.executable, "serving.peers.constant:app", HERE.parent, *_LEAN),
        one=get(["/"]),
        read=lambda _body, _headers: ([], ""),
        folder=HERE,
        environment={"BENCH_ANSWER": str(file)},
        note="uvicorn; the same bytes for everything",
    )


_LEAN = ("--lifespan", "off", "--no-server-header", "--no-date-header")


def v2_requests(
    path: str, batches: NDArray[np.float64], headers: Callable[[int], Mapping[str, str]] = lambda _: {}
) -> Requests:
    """Requests of the V2 protocol; ``headers`` gives more headers for a place."""
    found = requests_of(path, encode_v2, batches)
    return Requests("POST", found.paths, found.bodies, [{**_JSON, **headers(place)} for place in range(len(batches))])


def v2_binary_requests(
    path: str, batches: NDArray[np.float64], headers: Callable[[int], Mapping[str, str]] = lambda _: {}
) -> Requests:
    """The same with the tensors in binary, both ways (the protocol's binary tensor data extension)."""
    bodies, more = [], []
    for place, batch in enumerate(batches):
        data = batch.astype("<f8").tobytes()
        document = encode_v2(batch)
        del document["inputs"][0]["data"]
        document["inputs"][0]["parameters"] = {"binary_data_size": len(data)}
        document["parameters"] = {"binary_data_output": True}
        text = json.dumps(document, separators=(",", ":")).encode()
        length = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
        bodies.append(text + data)
        more.append({**length, **headers(place)})
    return Requests("POST", [path] * len(bodies), bodies, more)


def requests_of(
    path: str, encode: Callable[[NDArray[np.float64]], dict[str, Any]], batches: NDArray[np.float64]
) -> Requests:
    """Requests in JSON for batches of rows, shape ``(n, rows, features)``."""
    bodies: Sequence[bytes] = [json.dumps(encode(batch), separators=(",", ":")).encode() for batch in batches]
    return Requests("POST", [path] * len(bodies), bodies, [_JSON] * len(bodies))


def get(paths: Sequence[str]) -> Requests:
    """Requests without a body."""
    return Requests("GET", paths, [b""] * len(paths), [{}] * len(paths))
