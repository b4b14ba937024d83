"""What the soak asks, and what each release must answer: by the models themselves, past the server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import lightgbm
import numpy as np
import pandas as pd

from everloop.data.panel import Panel
from everloop.models.forecaster import Forecaster, ForecastRequest


@dataclass(frozen=True)
class Request:
    """An HTTP request."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def wire(self, *, is_last: bool = False) -> bytes:
        """Its bytes."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: soak"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {len(self.body)}"] if self.body else []
        lines += ["Connection: close"] if is_last else []
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Questions(Protocol):
    """What can be asked of one server."""

    requests: Sequence[Request]

    def release_of(self, answer: Any) -> str:
        """Who says that it answered."""

    def numbers_of(self, place: int, answer: Any) -> Any:
        """The numbers in an answer to the request at a place."""

    def expected(self, place: int, release: str) -> Any:
        """The numbers that a release's own model gives."""


class RowQuestions:
    """Rows of three numbers, over V2 and MLflow's protocol.

    Args:
        models: by release.
        rows: what is asked, with the columns that the models were trained with.
    """

    def __init__(self, models: Mapping[str, lightgbm.Booster], rows: pd.DataFrame) -> None:
        self._models = models
        self._parts = [rows[place : place + size] for place, size in _slices(len(rows))]
        self.requests = [self._request(place, part) for place, part in enumerate(self._parts)]
        self._known: dict[tuple[int, str], list[float]] = {}

    def release_of(self, answer: Any) -> str:
        release: str = answer.get("model_version") or answer["release"]
        return release

    def numbers_of(self, place: int, answer: Any) -> Any:
        return answer["predictions"] if place % 4 == 3 else answer["outputs"][0]["data"]

    def expected(self, place: int, release: str) -> Any:
        key = (place, release)
        if key not in self._known:
            values = self._models[release].predict(self._parts[place].to_numpy(), num_threads=1)
            self._known[key] = np.asarray(values).tolist()
        return self._known[key]

    def _request(self, place: int, part: pd.DataFrame) -> Request:
        values = [[None if value != value else value for value in row] for row in part.to_numpy().tolist()]
        headers = {"Content-Type": "application/json"}
        if place % 3:
            headers["X-Everloop-Unit"] = f"customer {place}"
        if place % 4 == 3:
            split = {"dataframe_split": {"columns": list(part.columns), "data": values}}
            return Request("POST", "/invocations", json.dumps(split).encode(), headers)
        flat = [value for row in values for value in row]
        tensor = {"name": "rows", "shape": list(part.shape), "datatype": "FP64", "data": flat}
        return Request("POST", "/v2/models/shop/infer", json.dumps({"inputs": [tensor]}).encode(), headers)


class ForecastQuestions:
    """Forecasts of a few series: from the snapshot, of another length, and what-ifs.

    Args:
        models: by release.
        panel: what they were fitted to.
        horizon: how far they reach.
        levels: of the intervals when none are asked for.
    """

    def __init__(self, models: Mapping[str, Forecaster], panel: Panel, horizon: int, levels: tuple[float, ...]) -> None:
        self._models = models
        self._panel = panel
        every = list(range(panel.n_series))
        self._asked: list[ForecastRequest] = []
        self.requests: list[Request] = []
        for number in every:
            self._add(ForecastRequest(horizon, levels, np.array([number])))
            self._add(ForecastRequest(1 + number, (50.0,), np.array([number])))
            self._add_what_if(number, price=1.0 + number / 4, horizon=2 + number, level=80.0)
        self._add(ForecastRequest(horizon, levels, np.array(every)), is_post=True)
        self._known: dict[tuple[int, str], list[dict[str, Any]]] = {}

    def release_of(self, answer: Any) -> str:
        release: str = answer["release"]
        return release

    def numbers_of(self, place: int, answer: Any) -> Any:
        return [{name: values for name, values in each.items() if name != "series"} for each in answer["forecasts"]]

    def expected(self, place: int, release: str) -> Any:
        key = (place, release)
        if key not in self._known:
            asked = self._asked[place]
            found = self._models[release].forecast(asked)
            assert asked.series is not None
            rows: list[dict[str, Any]] = []
            for row in range(len(asked.series)):
                rows.append({"forecast": found.mean[row].tolist()})
                for level in asked.levels:
                    rows[-1][f"lo-{level:g}"] = found.lower[level][row].tolist()
                    rows[-1][f"hi-{level:g}"] = found.upper[level][row].tolist()
            self._known[key] = rows
        return self._known[key]

    def _add(self, asked: ForecastRequest, *, is_post: bool = False) -> None:
        assert asked.series is not None
        texts = [self._text(number) for number in asked.series.tolist()]
        self._asked.append(asked)
        if is_post:
            self.requests.append(_post({"series": texts}))
            return
        is_base = len(asked.levels) > 1
        query = "" if is_base else f"?horizon={asked.horizon}&levels={asked.levels[0]:g}"
        self.requests.append(Request("GET", f"/v1/forecast/{texts[0]}{query}"))

    def _add_what_if(self, number: int, *, price: float, horizon: int, level: float) -> None:
        future = {"price": np.full((1, horizon), price, dtype=np.float32)}
        self._asked.append(ForecastRequest(horizon, (level,), np.array([number]), future))
        body = {"series": [self._text(number)], "horizon": horizon, "levels": [level], "future": {"price": price}}
        self.requests.append(_post(body))

    def _text(self, number: int) -> str:
        return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in self._panel.keys[number])


def _post(body: Mapping[str, Any]) -> Request:
    return Request("POST", "/v1/forecast", json.dumps(body).encode(), {"Content-Type": "application/json"})


def _slices(rows: int) -> list[tuple[int, int]]:
    """Many single rows, and some of several."""
    return [(place, (1, 1, 1, 2, 1, 5, 1, 40)[place % 8]) for place in range(rows - 40)]
