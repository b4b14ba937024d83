"""An ASGI application that decodes a V2 request with msgspec, calls the booster, and encodes the answer.

It checks nothing beyond the types, stores nothing and counts nothing: the yardstick of what Python can do.
``BENCH_MODEL`` names the model's file.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from serving.booster import Booster

_MOST_ROWS = 128


class Input(msgspec.Struct):
    """A tensor that comes."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Call(msgspec.Struct):
    """A request."""

    inputs: list[Input]


class Output(msgspec.Struct):
    """A tensor that goes."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float]


class Answer(msgspec.Struct):
    """An answer."""

    model_name: str
    outputs: list[Output]


_decode = msgspec.json.Decoder(Call).decode
_encode = msgspec.json.Encoder().encode
_booster = Booster(os.environ["BENCH_MODEL"], _MOST_ROWS)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer."""
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    data = _decode(body).inputs[0].data
    if len(data) == _booster.features:
        values = [_booster.one(data)]
    else:
        n = _booster.fill(data)
        values = _booster.many(n) if n > 16 else _booster.each(n)
    answer = _encode(Answer("regressor", [Output("y", "FP64", [len(values)], values)]))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
