"""The routes of MLflow's scoring protocol, for forecasters and models of rows.

Rows for a forecaster hold the series' columns, the time, and known-ahead values; ``params`` are ``horizon`` and
``levels``. Rows for another model hold the columns of its signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everloop import __version__
from everloop.core.errors import ModelError, RequestError, nearest
from everloop.serve.admission import Visit
from everloop.serve.answers import no_champion
from everloop.serve.bodies import TABLE, json_response
from everloop.serve.endpoint import route, routes
from everloop.serve.invocations.decode import InvocationsCall, decode_invocations, encode_invocations
from everloop.serve.invocations.forms import Forms, is_csv, read_csv, read_forms
from everloop.serve.recording import encode_request
from everloop.serve.rows import RowQuery
from everloop.serve.served import Served
from everloop.serve.service import Service, rows_of
from everloop.serve.tabular.desk import Job

__all__ = ["scoring_routes"]


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
    kind = request.headers.get("content-type", "application/json")
    body = await service.read_body(request, kinds=TABLE)
    if isinstance(service.champion(), Served):
        return await _forecasts(service, request.state.visit, body, kind)
    return await _predictions(service, request.state.visit, body, kind)


async def _predictions(service: Service, visit: Visit, body: bytes, kind: str) -> Response:
    """Predictions of a model of rows: its main output alone, as MLflow's ``predict`` would give."""
    choice = service.choose(visit)
    served = rows_of(choice)
    call = decode_invocations(body, served.decoder, kind)
    if choice.experiment is not None and visit.unit is None:
        choice = service.choose_rows(visit, call.rows, served)
        drawn = rows_of(choice)
        if drawn.signature != served.signature:
            call = decode_invocations(body, drawn.decoder, kind)
    main = tuple(each.name for each in rows_of(choice).signature.outputs[:1])
    job = await service.predict(_job(call, body, kind, choice, main))
    answered, prediction = job.answered, job.prediction
    if answered is None or prediction is None:
        raise ModelError("no_answer", "the model gave no answer", hint="the server's log tells why")
    outputs = {name: array for name, array in answered.value.items() if name in main or not main}
    content = encode_invocations(outputs, prediction_id=prediction.id, release=prediction.release)
    headers = _headers(prediction.id, prediction.release, answered.reason)
    return Response(content, headers=headers, media_type="application/json")


def _job(call: InvocationsCall, body: bytes, kind: str, choice: Any, outputs: tuple[str, ...]) -> Job:
    return Job(
        choice,
        call.rows,
        kind="invocations",
        request=encode_request(call.rows, call.parameters, outputs) if is_csv(kind) else body,
        parameters=call.parameters,
        outputs=outputs,
        finish=lambda job: None,  # the service waits in its own way
    )


async def _forecasts(service: Service, visit: Visit, body: bytes, kind: str) -> Response:
    """Forecasts of the rows' series, in the order of the rows."""
    if is_csv(kind):
        columns: Mapping[str, list[Any]] = _typed(read_csv(body), service.champion())
        params: Mapping[str, Any] = {}
    else:
        forms, params = read_forms(body)
        columns = _columns_of(forms)
    for name in params:
        if name not in ("horizon", "levels"):
            hint = nearest(name[:80], ["horizon", "levels"])
            raise RequestError("field_unknown", f"{name[:80]!r} is no parameter", hint=hint, path=f"params.{name[:80]}")
    query = RowQuery(columns, _horizon(params.get("horizon")), _levels(params.get("levels")))
    choice = service.choose(visit, unit=service.unit_of_columns(columns))
    scored, prediction, fallback = await service.score(query, choice=choice)
    names = list(scored)
    predictions = [dict(zip(names, row, strict=True)) for row in zip(*scored.values(), strict=True)]
    return json_response(
        {"predictions": predictions, "prediction_id": prediction.id, "release": prediction.release},
        headers=_headers(prediction.id, prediction.release, fallback),
    )


def _headers(prediction_id: str, release: str, fallback: str) -> dict[str, str]:
    headers = {"x-everloop-prediction": prediction_id, "x-everloop-release": release}
    return headers | {"x-everloop-fallback": fallback} if fallback else headers


def _columns_of(forms: Forms) -> dict[str, list[Any]]:
    """The rows as columns of one length."""
    if forms.columns is not None:
        if len({len(values) for values in forms.columns.values()}) > 1:
            raise RequestError("columns", "the columns have different lengths", hint="one value a row", path=forms.path)
        return forms.columns
    grid, names = forms.grid or [], forms.names
    if names is None:
        if not grid:
            raise RequestError("rows_empty", "no rows are given", hint="give at least one", path=forms.path)
        raise RequestError(
            "columns", "the rows name no columns", hint='{"instances": [{"store_id": "CA_1"}]}', path=forms.path
        )
    if len(set(names)) < len(names):
        raise RequestError("columns", "a column is named twice", hint="name each once", path="dataframe_split.columns")
    for place, row in enumerate(grid):
        if len(row) != len(names):
            raise RequestError(
                "columns",
                f"row {place} has {len(row)} values for {len(names)} columns",
                hint="give one value for each column",
                path=f"{forms.path}[{place}]",
            )
    return {name: [row[place] for row in grid] for place, name in enumerate(names)}


def _typed(columns: Mapping[str, Sequence[str]], served: object) -> dict[str, list[Any]]:
    """The texts of CSV: known-ahead columns of numbers as numbers, an empty value as a missing one."""
    numbers = set(served.panel.known) - set(served.panel.categories) if isinstance(served, Served) else set()
    return {
        name: [_number(value) if name in numbers else value or None for value in values]
        for name, values in columns.items()
    }


def _number(text: str) -> float | str | None:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return text


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
