"""Bounds on what one caller may send: how often, how deep, how many rows, and as what."""

from __future__ import annotations

import socket
import time

import numpy as np

from everloop.core.errors import RequestError

__all__ = ["Limiter", "address_key", "check_depth", "check_rows", "depth_of"]


_MAPPED = b"\x00" * 10 + b"\xff\xff"  # IPv4 within IPv6
_QUOTE, _OPEN, _CLOSE = b'"{}'
_SHORT = 8_192  # bytes, from which on counting takes longer than the scan


class Limiter:
    """A token bucket for each name, in the form of a theoretical arrival time (GCRA; ITU-T I.371, 1996).

    In any span of ``t`` seconds at most ``burst + rate * t`` requests of one name are let through. Each process counts
    for itself. At most ``most`` names are remembered: a tenth of them, those whose buckets are fullest, is forgotten
    when another one comes. So a flood of names costs bounded memory; the bound above holds for a name as long as fewer
    than ``most`` ask at once.

    >>> limiter = Limiter(rate=1, burst=2)
    >>> [limiter.take("key", now=0.0) for _ in range(3)]
    [0.0, 0.0, 1.0]

    Args:
        rate: requests a second; 0 lets everything through.
        burst: how many may come at once; 0 means one second's, and at least 1.
        most: how many names are remembered.
    """

    def __init__(self, rate: float, burst: int = 0, *, most: int = 10_000) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._arrivals: dict[str | bytes, float] = {}

    def take(self, name: str | bytes, *, rate: float | None = None, now: float | None = None) -> float:
        """Take a token: 0.0 where the request may go on, else the seconds until one will be there.

        Args:
            name: whose bucket.
            rate: requests a second of this name instead of the common rate.
            now: seconds of the monotonic clock, by default the present ones.
        """
        pace = self._rate if rate is None else rate
        if pace <= 0:
            return 0.0
        if now is None:
            now = time.monotonic()
        step = 1.0 / pace
        # what fits between the present and the arrival that a full burst would have made
        room = (max(1.0, self._burst or pace) - 1.0) * step
        arrivals = self._arrivals
        arrival = arrivals.get(name, now)
        if arrival < now:
            arrival = now
        wait = arrival - now - room
        if wait > 1e-9:  # less is rounding
            return wait
        if len(arrivals) >= self._most and name not in arrivals:
            self._forget(now)
        arrivals[name] = arrival + step
        return 0.0

    def _forget(self, now: float) -> None:
        """Make room for at least one name; a tenth at once, so that the scan is paid rarely."""
        arrivals = self._arrivals
        order = sorted(arrivals, key=arrivals.__getitem__)
        full = next((place for place, name in enumerate(order) if arrivals[name] > now), len(order))
        for name in order[: max(full, self._most // 10, 1)]:
            del arrivals[name]


def address_key(address: str) -> str | bytes:
    """The bucket of a caller's address: for IPv6 its network of 64 bits, which one host may hold all of.

    >>> address_key("192.0.2.1"), address_key("2001:db8::1") == address_key("2001:db8::2")
    ('192.0.2.1', True)
    """
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    return socket.inet_ntoa(packed[12:]) if packed[:12] == _MAPPED else packed[:8]


def check_depth(body: bytes | bytearray, most: int) -> None:
    """Refuse a JSON body that is nested deeper than ``most``, before it is decoded.

    The decoder is safe by itself: it raises ``RecursionError`` at the interpreter's limit. This bound is lower, and the
    same for every decoder. A short body with few brackets is let through by counting them; all others are scanned, in
    time proportional to their length. What is no JSON may pass: the decoder tells.

    Raises:
        RequestError: it is deeper (``json_depth``).
    """
    if len(body) <= _SHORT and body.count(b"[") + body.count(b"{") <= most:
        return
    if depth_of(body) > most:
        raise RequestError(
            "json_depth",
            f"the body is nested deeper than {most} levels",
            hint="send it flatter, or raise access.max_depth",
            path="access.max_depth",
        )


def depth_of(body: bytes | bytearray) -> int:
    """How deep a JSON text is nested; brackets within strings do not count.

    >>> depth_of(b'{"a": [[1, "[[["], 2]}')
    3
    """
    text: bytes | bytearray = body
    if b"\\" in text:
        # escapes go, pairs of backslashes before quotes, so that every quote that is left begins or ends a string
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    characters = np.frombuffer(text, np.uint8)
    is_quote = characters == _QUOTE
    folded = characters | 0x20  # square brackets become braces, and nothing else does
    marks = np.flatnonzero((folded >= _OPEN) | is_quote)  # the few that matter, and what is not ASCII
    is_outside = np.cumsum(is_quote[marks], dtype=np.int32) % 2 == 0
    found = folded[marks]
    steps = (found == _OPEN).view(np.int8) - (found == _CLOSE).view(np.int8)
    return int(np.cumsum(steps * is_outside, dtype=np.int32).max(initial=0))


def check_rows(count: int, most: int) -> None:
    """Refuse a request of more than ``most`` rows.

    Raises:
        RequestError: it has more (``rows_many``).
    """
    if count > most:
        raise RequestError(
            "rows_many",
            f"the request has {count} rows; at most {most} are taken",
            hint="send it in parts, or raise access.max_rows",
            path="access.max_rows",
        )
