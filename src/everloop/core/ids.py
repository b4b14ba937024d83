"""Identifiers: unique without asking anybody, sorted by the time they were made."""

from __future__ import annotations

import os
from datetime import datetime

__all__ = ["new_id"]


def new_id(now: datetime) -> str:
    """A UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then random bits.

    >>> from datetime import UTC
    >>> new_id(datetime(2026, 1, 1, tzinfo=UTC))[:13]
    '019b76da-a800'
    """
    millis = int(now.timestamp() * 1000)
    value = (millis & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
