"""The forecasting protocol: ``/v1/forecast`` and ``/v1/predictions``."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everloop.core.errors import NotFoundError, RequestError, nearest
from everloop.data.panel import join_key
from everloop.serve.answers import Answer, forecast_rows
from everloop.serve.bodies import decode
from everloop.serve.endpoint import routes
from everloop.serve.query import ForecastQuery
from everloop.serve.service import Service
from everloop.store.row_values import are_row_values, unpack_rows
from everloop.store.values import ForecastValues

__all__ = ["ForecastBody", "answer_headers", "answer_tree", "forecasting_routes"]


class ForecastBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A forecast request.

    Attributes:
        series: each a text such as "CA_1/FOODS_1_001" or an object of the series columns, which may hold a "future" of
            its own, and the "static" columns of a series that is new; left out, all series.
        horizon: steps.
        levels: interval levels in percent.
        future: known-ahead values of a what-if, by column: one value, one for each step, or a list for each series.
    """

    series: list[str | dict[str, Any]] | None = None
    horizon: int | None = None
    levels: list[float] | None = None
    future: dict[str, Any] = {}

    def query(self) -> ForecastQuery:
        """The question."""
        return ForecastQuery(
            series=None if self.series is None else tuple(self.series),
            horizon=self.horizon,
            levels=None if self.levels is None else tuple(self.levels),
            future=self.future,
        )


_SERIES_PREFIX = "/v1/forecast/"
_FORECAST = msgspec.json.Decoder(ForecastBody)


def forecasting_routes(service: Service) -> list[Route]:
    """The routes of this protocol."""
    return routes(
        service,
        [
            ("POST", "/v1/forecast", _post_forecast, "predict"),
            ("GET", "/v1/forecast/{series:path}", _get_forecast, "predict"),
            ("GET", "/v1/predictions/{id}", _get_prediction, "read"),
        ],
    )


def answer_headers(answer: Answer) -> dict[str, str]:
    """The headers that every answer carries."""
    headers = {"x-everloop-prediction": answer.prediction_id, "x-everloop-release": answer.release}
    return headers | {"x-everloop-fallback": answer.fallback} if answer.fallback else headers


def answer_tree(answer: Answer) -> dict[str, Any]:
    """An answer as JSON values."""
    return {
        "prediction_id": answer.prediction_id,
        "release": answer.release,
        "state": answer.state,
        "cutoff": answer.cutoff.isoformat(),
        "times": answer.labels,
        "forecasts": forecast_rows(answer.values),
        "notes": answer.notes,
    }


async def _post_forecast(service: Service, request: Request) -> Response:
    body = decode(await service.read_body(request), _FORECAST)
    return await _respond(service, request, body.query())


async def _get_forecast(service: Service, request: Request) -> Response:
    for name in request.query_params:
        if name not in ("horizon", "levels"):
            hint = nearest(name[:80], ["horizon", "levels"])
            raise RequestError("field_unknown", f"{name[:80]!r} is no parameter here", hint=hint, path=name[:80])
    levels = request.query_params.get("levels")
    query = ForecastQuery(
        series=(_series(request),),
        horizon=_whole(request.query_params.get("horizon")),
        levels=None if levels is None else _levels(levels),
    )
    try:
        return await _respond(service, request, query)
    except RequestError as error:
        if error.code == "series_unknown":  # here the series is the resource
            raise NotFoundError(error.code, error.message, hint=error.hint, path="series") from error
        raise


async def _respond(service: Service, request: Request, query: ForecastQuery) -> Response:
    choice = service.choose_forecast(request.state.visit, query)
    answer = await service.forecast(query, kind="forecast", choice=choice)
    if len(answer.values.series) * len(answer.labels) > 10_000:
        content = await service.in_thread(lambda: msgspec.json.encode(answer_tree(answer)))
    else:
        content = msgspec.json.encode(answer_tree(answer))
    return Response(content, headers=answer_headers(answer), media_type="application/json")


async def _get_prediction(service: Service, request: Request) -> Response:
    identifier = request.path_params["id"].replace("\x00", "?")  # which PostgreSQL would not even look for

    def read() -> tuple[bytes, dict[str, str]]:
        from everloop.store.facts import find_prediction  # what no server needs before it answers

        with service.store.read() as tx:
            prediction = find_prediction(tx, identifier)
        tree = {
            "prediction_id": prediction.id,
            "at": prediction.at.isoformat(),
            "release": prediction.release,
            "state": prediction.state,
            "role": prediction.role,
            "kind": prediction.kind,
            "twin": prediction.twin,
            "unit": prediction.unit,
            "experiment": prediction.experiment,
            "request": msgspec.Raw(prediction.request or b"null"),
        } | _stored_answer(prediction.response)
        headers = {"x-everloop-prediction": prediction.id, "x-everloop-release": prediction.release}
        return msgspec.json.encode(tree), headers

    content, headers = await service.in_thread(read)
    return Response(content, headers=headers, media_type="application/json")


def _stored_answer(response: bytes) -> dict[str, Any]:
    """What was answered, as JSON values."""
    if are_row_values(response):
        return {"outputs": {name: values.tolist() for name, values in unpack_rows(response).items()}}
    values = ForecastValues.unpack(response)
    return {
        "times": [time.isoformat() + "Z" for time in values.times.astype("M8[us]").tolist()],
        "forecasts": forecast_rows(values),
        "notes": values.notes,
    }


def _series(request: Request) -> str:
    """The series that the path names: a percent sign or slash within a value is escaped as URLs are."""
    raw = request.scope.get("raw_path") or quote(request.url.path).encode()
    escaped = raw.decode("ascii", "replace").partition("?")[0].removeprefix(_SERIES_PREFIX)
    return join_key(tuple(unquote(part) for part in escaped.split("/")))


def _whole(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise RequestError(
            "field", f"expected a whole number, got {text[:40]!r}", hint="?horizon=14", path="horizon"
        ) from None


def _levels(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise RequestError(
            "field", f"expected numbers with commas between, got {text[:40]!r}", hint="?levels=80,95", path="levels"
        ) from None
