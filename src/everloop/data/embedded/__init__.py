"""Real retail sales that come with Everloop, for the demonstration and the tests; see the README beside them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["retail_path"]


def retail_path() -> Path:
    """The Parquet file of daily sales: columns ``product``, ``date``, ``units``, ``price``.

    >>> retail_path().name
    'online_retail.parquet'
    """
    return Path(__file__).parent / "online_retail.parquet"
