"""One request's identity: its request id, and its place in a W3C trace (Trace Context, level 2).

A trace that comes with a request is continued by a new span, and told in the answer, so that a caller finds this
server's part of it. Ids are random, not secret; they need no system call.
"""

from __future__ import annotations

import os
import random
import re

__all__ = ["Trace", "begin_trace"]

_random = random.Random(os.urandom(32))
if hasattr(os, "register_at_fork"):  # two processes must not make the same ids
    os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))

_PARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(rb"[ \t]*(?:[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,256})?[ \t]*")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_MOST_MEMBERS, _MOST_STATE = 32, 512
_NOT_ZERO = 1 << 64 | 1  # an id of zeros is not valid, of a trace or of a span


class Trace:
    """A request's ids.

    Attributes:
        request_id: the caller's ``X-Request-Id``, or a new one: 32 hexadecimal digits, the trace id.
        trace_id: 32 hexadecimal digits, the caller's or new.
        parent_id: the caller's span, 16 hexadecimal digits; empty where the trace begins here.
        span_id: this server's span, 16 hexadecimal digits.
        is_sampled: whether the caller records its trace; ``None`` where the trace begins here.
        state: the caller's ``tracestate``, to be passed on as it is; empty where there is none or it is not valid.
    """

    __slots__ = ("is_sampled", "parent_id", "request_id", "span_id", "state", "trace_id")

    def __init__(
        self, request_id: str, trace_id: str, span_id: str, parent_id: str, is_sampled: bool | None, state: str
    ) -> None:
        self.request_id = request_id
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.is_sampled = is_sampled
        self.state = state

    def answer_headers(self) -> bytes:
        """The lines of an answer: ``x-request-id``, and ``traceresponse`` where the caller sent a trace."""
        line = b"x-request-id: %b\r\n" % self.request_id.encode()
        if not self.parent_id:
            return line
        flags = b"01" if self.is_sampled else b"00"
        ids = (self.trace_id.encode(), self.span_id.encode(), flags)
        return line + b"traceresponse: 00-%b-%b-%b\r\n" % ids


def begin_trace(headers: list[tuple[bytes, bytes]]) -> Trace:
    """The ids of a request, from its headers where they are valid, else new.

    A ``traceparent`` or ``X-Request-Id`` that is not valid, or comes twice, counts as none: a bad trace never fails a
    request.

    >>> trace = begin_trace([(b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")])
    >>> trace.trace_id, trace.parent_id, trace.is_sampled
    ('0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331', True)

    Args:
        headers: names in lower case, and values.
    """
    parents: list[bytes] = []
    states: list[bytes] = []
    request_ids: list[bytes] = []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name == b"tracestate":
            states.append(value)
        elif name == b"x-request-id":
            request_ids.append(value)
    fresh = f"{_random.getrandbits(192) | _NOT_ZERO:048x}"
    trace_id, span_id = fresh[:32], fresh[32:]
    parent_id, is_sampled, state = "", None, ""
    parent = _parse_parent(parents[0]) if len(parents) == 1 else None
    if parent is not None:
        trace_id, parent_id, is_sampled = parent
        state = _parse_state(b",".join(states)) if states else ""
    request_id = trace_id
    if len(request_ids) == 1 and _REQUEST_ID.fullmatch(request_ids[0]):
        request_id = request_ids[0].decode("ascii")
    return Trace(request_id, trace_id, span_id, parent_id, is_sampled, state)


def _parse_parent(value: bytes) -> tuple[str, str, bool] | None:
    """Trace id, span id and the sampled flag; ``None`` where it is not valid (section 3.2.2)."""
    found = _PARENT.fullmatch(value.strip())
    if found is None or (found[1] == b"00" and found[5] is not None):  # only later versions may say more
        return None
    return found[2].decode(), found[3].decode(), bool(int(found[4], 16) & 1)


def _parse_state(value: bytes) -> str:
    """The state, or nothing where a member is not valid or there are too many (section 3.3.1)."""
    members = value.split(b",")
    if len(value) > _MOST_STATE or len(members) > _MOST_MEMBERS:
        return ""
    if not all(_MEMBER.fullmatch(member) for member in members):
        return ""
    names = [member.strip().partition(b"=")[0] for member in members if member.strip()]
    return value.decode("ascii") if len(names) == len(set(names)) else ""
