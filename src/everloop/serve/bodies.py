"""Request bodies: read within bounds, and decoded into records that know their fields."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from everloop.core.errors import RequestError, nearest

__all__ = ["BINARY", "JSON", "TABLE", "decode", "json_response", "read_body"]

Body = TypeVar("Body", bound=msgspec.Struct)

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_PLACE = re.compile(r" - at `\$?(?:\.)?(.*)`$")
JSON = re.compile(r"application/([\w.+-]+\+)?json")
BINARY = re.compile(JSON.pattern + "|application/octet-stream")
TABLE = re.compile(JSON.pattern + "|text/csv")


async def read_body(
    request: Request, *, most: int, kinds: re.Pattern[str] = JSON, is_type_needed: bool = False
) -> bytes:
    """The body, of at most ``most`` bytes.

    Args:
        request: the request.
        most: the most bytes.
        kinds: the content types that are read.
        is_type_needed: whether the request must name its type. A page of another site can make a visitor's browser
            send to a server on loopback, but not with the type of JSON.

    Raises:
        RequestError: its content type is another, it is compressed, or is too long (seen while reading).
    """
    given = request.headers.get("content-type", "" if is_type_needed else "application/json")
    kind = given.partition(";")[0].strip().lower()
    if not kinds.fullmatch(kind):
        more = {BINARY: " or application/octet-stream", TABLE: " or text/csv"}.get(kinds, "")
        raise RequestError(
            "content_type", f"the body must be JSON, not {kind[:80]!r}", hint=f"send application/json{more}"
        )
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise RequestError("content_type", f"a body in {coding[:40]!r} is not read", hint="send it uncompressed")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > most:
        raise _too_large(most)
    chunks, size = [], 0
    request.state.is_body_awaited = True  # whose fault a timeout is; see endpoint.py
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > most:
                raise _too_large(most)
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise RequestError("json", "the caller went away before its body was complete") from error
    request.state.is_body_awaited = False
    return b"".join(chunks)


def decode(content: bytes | memoryview, decoder: msgspec.json.Decoder[Body]) -> Body:
    """A record from JSON.

    Raises:
        RequestError: it is no JSON (code ``json``), or it is of another shape; an unknown field is named with the
            nearest known one.
    """
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise _explain(str(error), decoder.type) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestError("json", f"the body is no JSON: {reason}", hint="see /openapi.json for its form") from None


def json_response(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer in JSON; NaN is null."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def _explain(text: str, cls: Any) -> RequestError:
    place = _PLACE.search(text)
    path = place[1] if place else ""
    sentence = text[: place.start()] if place else text
    unknown = _UNKNOWN.search(sentence)
    if unknown:
        name = unknown[1]
        full = f"{path}.{name}" if path else name
        return RequestError(
            "field_unknown",
            f"{name[:80]!r} is no field here",
            hint=nearest(name[:80], _fields(cls, is_nested=bool(path))),
            path=full[:200],
        )
    return RequestError(
        "field", sentence[0].lower() + sentence[1:400], hint="see /openapi.json for the form", path=path[:200]
    )


def _fields(cls: Any, *, is_nested: bool) -> list[str]:
    """The names of a record's fields, or of those of the records within it."""
    if not is_nested:
        return [field.encode_name for field in msgspec.structs.fields(cls)]
    info: Any = msgspec.inspect.multi_type_info([cls])[0]
    names: list[str] = []
    queue = [field.type for field in info.fields]
    while queue:
        each = queue.pop()
        if isinstance(each, msgspec.inspect.StructType):
            names += [field.encode_name for field in each.fields]
            queue += [field.type for field in each.fields]
        queue += list(getattr(each, "types", ()))
        inner = getattr(each, "item_type", None)
        queue += [inner] if inner is not None else []
    return names


def _too_large(most: int) -> RequestError:
    return RequestError(
        "body_large",
        f"the body is larger than {most} bytes",
        hint="ask in parts, or raise serve.max_body_bytes",
        path="serve.max_body_bytes",
    )
