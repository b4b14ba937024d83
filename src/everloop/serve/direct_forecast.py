"""The hot way of a forecast: ``GET /v1/forecast/{series}`` from the snapshot, without a task or a framework."""

from __future__ import annotations

import time
from collections import OrderedDict
from urllib.parse import unquote

from everloop.core.errors import EverloopError
from everloop.core.ids import new_id
from everloop.data.panel import join_key
from everloop.serve.admission import Visit
from everloop.serve.direct import DirectRoute, Passage
from everloop.serve.query import ForecastQuery
from everloop.serve.served import Served
from everloop.serve.service import Service
from everloop.store.records import Prediction

__all__ = ["PREFIX", "DirectForecast", "series_of"]

PREFIX = b"/v1/forecast/"
_MOST_TARGETS = 200_000


def series_of(path: bytes) -> str:
    """The text of the series that a path names: a percent sign or slash within a value is escaped as URLs are.

    >>> series_of(b"/v1/forecast/CA_1/FOODS_1")
    'CA_1/FOODS_1'
    """
    escaped = path.decode("ascii", "replace").partition("?")[0].removeprefix(PREFIX.decode())
    return join_key(tuple(unquote(part) for part in escaped.split("/")))


class DirectForecast(DirectRoute):
    """Answers from the snapshot; :meth:`takes` tells for which requests that can be done."""

    def __init__(self, service: Service, *, method: str, route: str) -> None:
        super().__init__(service, method=method, route=route)
        self._keys: OrderedDict[bytes, str] = OrderedDict()

    def takes(self, target: bytes) -> bool:
        """Whether the champion has this series in its snapshot, and the request asks for nothing special."""
        champion = self.service.host.serving.champion
        if not isinstance(champion, Served) or b"?" in target:
            return False
        key = self._keys.get(target)
        if key is None:
            key = series_of(target)
            if key not in champion.positions:
                return False
            self._keys[target] = key
            if len(self._keys) > _MOST_TARGETS:
                self._keys.popitem(last=False)
        return self.service.snapshots.of(champion) is not None

    def take(self, passage: Passage, visit: Visit) -> None:
        """Look the answer up, and have it stored."""
        service = self.service
        target = passage.exchange.target
        key = self._keys.get(target) or series_of(target)
        choice = service.choose(visit, unit=key)
        served = choice.served
        snapshot = service.snapshots.of(served) if isinstance(served, Served) else None
        entry = snapshot.entry(key) if snapshot is not None else None
        if (
            not isinstance(served, Served) or snapshot is None or entry is None
        ):  # the split chose another release, or what is served has just changed
            self.pass_on(passage)
            return
        now = service.clock.now()
        prediction = Prediction(
            new_id(now),
            now,
            served.release.digest,
            served.state,
            choice.role,
            "forecast",
            None,
            snapshot.first_time,
            snapshot.last_time,
            entry.request,
            entry.response,
            choice.unit,
            choice.experiment,
        )
        computed = time.perf_counter()
        service.metrics.predict.observe(computed - passage.started)

        def done(error: EverloopError | None) -> None:
            service.metrics.store.observe(time.perf_counter() - computed)
            if error is not None:
                self.fail(passage, error)
                return
            begin = b'{"prediction_id":"%b",' % prediction.id.encode()
            self.give(passage, b"content-type: application/json\r\n", prediction, begin, entry.body)
            if service.host.serving.challenger is not None and prediction.role == "champion":
                service.shadow.cast(ForecastQuery((key,)), kind="forecast", twin=prediction.id)

        service.log.put(prediction, done)
