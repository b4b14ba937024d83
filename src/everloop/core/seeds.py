"""Seeds: every random choice follows from the project's one seed and the name of what is chosen."""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(root: int, *names: str) -> int:
    """A seed of 31 bits for one purpose, independent of every other purpose's.

    >>> derive_seed(7, "lightgbm") == derive_seed(7, "lightgbm")
    True
    >>> derive_seed(7, "lightgbm") == derive_seed(8, "lightgbm")
    False
    """
    text = "\x1f".join([str(root), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFF_FFFF
