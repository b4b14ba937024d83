"""``everloop predict``: one forecast, from the running server or computed here."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Annotated, Any

import msgspec
import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption, opened, project_of
from everloop.cli.output import print_json, print_table, say
from everloop.core.clock import SystemClock
from everloop.core.errors import EverloopError, NotFoundError, RequestError, UnavailableError, UsageError
from everloop.serve.address import read_address
from everloop.serve.answers import Answerer
from everloop.serve.forecasting import ForecastBody, answer_tree

_TIMEOUT_SECONDS = 60


def command(
    series: Annotated[
        list[str], typer.Argument(metavar="SERIES...", help="Series by their column values, such as CA_1/FOODS_1_001.")
    ],
    horizon: Annotated[
        int | None, typer.Option("--horizon", help="Steps ahead instead of forecast.horizon.", min=1)
    ] = None,
    level: Annotated[
        list[float] | None, typer.Option("--level", help="An interval level in percent; may be repeated.")
    ] = None,
    what_if: Annotated[
        list[str] | None,
        typer.Option("--what-if", "-w", metavar="COLUMN=VALUE", help="A known-ahead value, or one a step with commas."),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="The series are in no data yet: forecast them by others.")] = False,
    static: Annotated[
        list[str] | None, typer.Option("--static", metavar="COLUMN=VALUE", help="A static column of new series.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Ask this server; 'auto' asks the one of this project.")
    ] = None,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for one forecast: computed here by the champion, or asked of a running server with --url.

    The answer is stored as a prediction; everloop trace leads from its id back to model, code and data.

    A series that is in no data yet is forecast from what it shares with others: say --new, and each static column.

    Example: everloop predict CA_1/FOODS_1_001 --horizon 7 --what-if price=2.49
    """
    columns = dict(_assignment(each, "--static") for each in static or [])
    asked: list[str | dict[str, Any]] = [*series]
    if new or columns:
        asked = [{"series": each, "static": columns} for each in series]
    body = ForecastBody(asked, horizon, level, dict(_assignment(each, "--what-if") for each in what_if or []))
    if url is not None:
        address = read_address(project_of(project, set_)).url if url == "auto" else url.rstrip("/")
        tree = ask_server(address, body)
    else:
        with opened(project, set_) as (found, store):
            answer = Answerer(found, store, SystemClock()).answer_forecast(body.query())
        tree = msgspec.json.decode(msgspec.json.encode(answer_tree(answer)))
    if as_json:
        print_json(tree)
        return
    for each in tree["forecasts"]:
        names = [name for name in each if name != "series"]
        rows = list(zip(tree["times"], *(each[name] for name in names), strict=True))
        print_table(["time", *names], rows, title=each["series"])
    for note in tree["notes"]:
        say(f"note: {note}")
    say(f"prediction {tree['prediction_id']} by release {tree['release'][:12]}")


def ask_server(url: str, body: ForecastBody) -> dict[str, Any]:
    """A server's answer to a forecast request, as JSON values.

    Raises:
        UnavailableError: it cannot be reached, is overloaded, or no release is in charge.
        RequestError: the request does not fit.
        EverloopError: the server failed.
    """
    content = msgspec.json.encode(body)
    if not url.startswith(("http://", "https://")):
        raise UsageError("url", f"{url!r} is no HTTP address", hint="--url http://127.0.0.1:8000", path="--url")
    request = urllib.request.Request(f"{url}/v1/forecast", content, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            tree: dict[str, Any] = json.load(response)
            return tree
    except urllib.error.HTTPError as error:
        raise _refusal(error.code, error.read()) from error
    except (OSError, ValueError) as error:
        raise UnavailableError(
            "server_away", f"{url} does not answer: {error}", hint="start a server: everloop serve"
        ) from error


def _refusal(status: int, content: bytes) -> EverloopError:
    try:
        error = json.loads(content)["error"]
        code, message, hint, path = error["code"], error["message"], error["hint"], error["path"]
    except (ValueError, KeyError, TypeError):
        return UnavailableError("server_answer", f"the server answered {status}", hint="is it an everloop server?")
    cls: type[EverloopError] = EverloopError
    if status == 404:
        cls = NotFoundError
    elif status < 500:
        cls = RequestError
    elif status in (503, 504):
        cls = UnavailableError
    return cls(code, message, hint=hint, path=path)


def _assignment(text: str, option: str) -> tuple[str, Any]:
    """A column and its value or values from ``price=2.5`` or ``price=2.5,2.4``."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError("what_if", f"{text!r} is no value", hint=f"{option} COLUMN=VALUE", path=option)
    parts = [_value(part.strip()) for part in value.split(",")]
    return name.strip(), parts if len(parts) > 1 else parts[0]


def _value(text: str) -> Any:
    """A number where it reads as one; nothing keeps the stored value."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return text
