"""``everloop serve``: the server."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from everloop.cli.options import JsonOption, ProjectOption, SetOption
from everloop.cli.starting import Start


def command(
    host: Annotated[str | None, typer.Option("--host", help="The address to listen on instead of serve.host.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="The port instead of serve.port; 0 takes a free one.", min=0, max=65535)
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", help="How many processes answer, instead of serve.workers.", min=1)
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", metavar="INSTANT", help="Pretend that it is this instant (UTC) now, for past data."),
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", help="With --as-of: seconds that pass in a real one.", min=0)
    ] = 1.0,
    project: ProjectOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer forecasts over HTTP, and follow promotions and new data without a restart.

    It speaks the Open Inference Protocol V2 (/v2), MLflow's scoring protocol (/invocations), and a forecasting
    protocol of its own (/v1/forecast, /v1/outcomes); see /openapi.json. SIGTERM ends it when what was begun is
    answered. With --json the line that tells the address is JSON, on stdout.

    Example: everloop serve --port 8000
    """
    Start(
        host=host,
        port=port,
        workers=workers,
        project=project,
        overrides=set_ or (),
        is_json=as_json,
        as_of=as_of,
        speed=speed,
    ).run()
