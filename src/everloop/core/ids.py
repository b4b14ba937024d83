"""Identifiers: unique without asking anybody, sorted by the time they were made."""

from __future__ import annotations

import os
import random
from datetime import datetime

__all__ = ["new_id"]

# seeded by the system for each process: an id must be unique, it is no secret
_random = random.Random(os.urandom(32))
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def new_id(now: datetime) -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits.

    >>> from datetime import UTC
    >>> new_id(datetime(2026, 1, 1, tzinfo=UTC))[:13]
    '019b76da-a800'
    """
    millis = int(now.timestamp() * 1000)
    bits = _random.getrandbits(74)
    return (
        f"{millis >> 16 & 0xFFFF_FFFF:08x}-{millis & 0xFFFF:04x}-7{bits & 0xFFF:03x}"
        f"-{0x8000 | bits >> 12 & 0x3FFF:04x}-{bits >> 26:012x}"
    )
