"""MLflow's scoring protocol: ``/invocations`` takes rows, so a client of ``mlflow models serve`` needs no change.

See https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/. Rows hold the series' columns, the time, and
known-ahead values; ``params`` are ``horizon`` and ``levels``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everloop import __version__
from everloop.core.errors import RequestError, nearest
from everloop.serve.answers import no_champion
from everloop.serve.bodies import decode, json_response, read_body
from everloop.serve.endpoint import route, routes
from everloop.serve.rows import RowQuery
from everloop.serve.service import Service

__all__ = ["InvocationsBody", "scoring_routes"]

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


class SplitFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frame in pandas' ``split`` orientation."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None


class InvocationsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scoring request: exactly one of the four forms of rows, and perhaps parameters."""

    dataframe_split: SplitFrame | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[dict[str, Any]] | None = None
    inputs: list[dict[str, Any]] | dict[str, Any] | None = None
    params: dict[str, Any] | None = None


_INVOCATIONS = msgspec.json.Decoder(InvocationsBody)


def scoring_routes(service: Service) -> list[Route]:
    """The routes of this protocol."""
    health = [
        route(service, path, handler, is_bounded=False)
        for path, handler in (("/ping", _ping), ("/health", _ping), ("/version", _version))
    ]
    return health + routes(service, [("POST", "/invocations", _invocations, "predict")])


async def _ping(service: Service, request: Request) -> Response:
    if service.host.serving.champion is None:
        raise no_champion()
    return Response("\n", media_type="text/plain")


async def _version(service: Service, request: Request) -> Response:
    return Response(__version__, media_type="text/plain")


async def _invocations(service: Service, request: Request) -> Response:
    body = decode(await read_body(request, most=service.settings.max_body_bytes), _INVOCATIONS)
    columns = _columns_of(body)
    params = body.params or {}
    for name in params:
        if name not in ("horizon", "levels"):
            hint = nearest(name[:80], ["horizon", "levels"])
            raise RequestError("field_unknown", f"{name[:80]!r} is no parameter", hint=hint, path=f"params.{name[:80]}")
    query = RowQuery(columns, _horizon(params.get("horizon")), _levels(params.get("levels")))
    choice = service.choose(request.state.visit, unit=service.unit_of_columns(columns))
    scored, prediction, fallback = await service.score(query, choice=choice)
    names = list(scored)
    predictions = [dict(zip(names, row, strict=True)) for row in zip(*scored.values(), strict=True)]
    return json_response(
        {"predictions": predictions, "prediction_id": prediction.id, "release": prediction.release},
        headers={"x-everloop-prediction": prediction.id, "x-everloop-release": prediction.release}
        | ({"x-everloop-fallback": fallback} if fallback else {}),
    )


def _columns_of(body: InvocationsBody) -> dict[str, list[Any]]:
    """The rows as columns."""
    given = [name for name in _FORMS if getattr(body, name) is not None]
    if len(given) != 1:
        raise RequestError(
            "field",
            f"expected exactly one of {', '.join(_FORMS)}; got {', '.join(given) or 'none'}",
            hint='{"dataframe_records": [{"store_id": "CA_1", ...}]}',
        )
    if body.dataframe_split is not None:
        return _from_split(body.dataframe_split)
    if isinstance(body.inputs, dict):
        return _from_columns(body.inputs)
    records = body.dataframe_records or body.instances or body.inputs or []
    return _from_records(records)


def _from_split(frame: SplitFrame) -> dict[str, list[Any]]:
    if len(set(frame.columns)) < len(frame.columns):
        raise RequestError("columns", "a column is named twice", hint="name each once", path="dataframe_split.columns")
    for place, row in enumerate(frame.data):
        if len(row) != len(frame.columns):
            raise RequestError(
                "columns",
                f"row {place} has {len(row)} values for {len(frame.columns)} columns",
                hint="give one value for each column",
                path=f"dataframe_split.data[{place}]",
            )
    return {name: [row[place] for row in frame.data] for place, name in enumerate(frame.columns)}


def _from_records(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for record in records for name in record))
    return {name: [record.get(name) for record in records] for name in names}


def _from_columns(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    lists = {name: values if isinstance(values, list) else [values] for name, values in columns.items()}
    if len({len(values) for values in lists.values()}) > 1:
        raise RequestError("columns", "the columns have different lengths", hint="one value a row", path="inputs")
    return lists


def _horizon(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError("field", f"expected a whole number, got {value!r:.40}", hint="steps", path="params.horizon")
    return value


def _levels(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    levels = value if isinstance(value, list) else [value]
    if not all(isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < 1e6 for each in levels):
        raise RequestError("field", f"expected levels in percent, got {value!r:.60}", hint="[80]", path="params.levels")
    return tuple(float(each) for each in levels)
