"""Identifiers: unique without asking anybody, sorted by the time they were made."""

from __future__ import annotations

import os
import random
from datetime import datetime

__all__ = ["new_id"]

_VARIANT = "89ab"
_last: tuple[int | None, str] = (None, "")

# seeded by the system for each process: an id must be unique, it is no secret
_random = random.Random(os.urandom(32))
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def new_id(now: datetime) -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits.

    >>> from datetime import UTC
    >>> new_id(datetime(2026, 1, 1, tzinfo=UTC))[:13]
    '019b76da-a800'
    """
    global _last
    millis = int(now.timestamp() * 1000)
    known, begin = _last
    if millis != known:  # many are made within a millisecond
        begin = f"{millis >> 16 & 0xFFFF_FFFF:08x}-{millis & 0xFFFF:04x}-7"
        _last = (millis, begin)  # in one assignment: threads ask too
    bits = _random.getrandbits(74)
    text = f"{bits >> 2:018x}"
    return f"{begin}{text[:3]}-{_VARIANT[bits & 3]}{text[3:6]}-{text[6:]}"
