"""An ASGI application that answers the same bytes to everything: the most that uvicorn can do.

``BENCH_ANSWER`` may name a file; ``/file`` answers its bytes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_ANSWER = b'{"model_name":"regressor","outputs":[{"name":"y","datatype":"FP64","shape":[1],"data":[0.5]}]}'
_FILE = Path(os.environ["BENCH_ANSWER"]).read_bytes() if os.environ.get("BENCH_ANSWER") else b""


def _messages(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return {"type": "http.response.start", "status": 200, "headers": headers}, {
        "type": "http.response.body",
        "body": body,
    }


_SMALL, _LARGE = _messages(_ANSWER), _messages(_FILE)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer."""
    head, body = _LARGE if scope["path"] == "/file" else _SMALL
    await send(head)
    await send(body)
