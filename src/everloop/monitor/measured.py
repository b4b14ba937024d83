"""Measurements of units as a table, for whoever compares the arms of a split by them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection

from everloop.store.measurements import measurements_between

__all__ = ["measured_frame"]

_INSTANT = pl.Datetime("us", "UTC")
_SCHEMA: dict[str, Any] = {
    "unit": pl.String,
    "metric": pl.String,
    "at": _INSTANT,
    "value": pl.Float64,
    "received_at": _INSTANT,
}


def measured_frame(
    connection: Connection, *, start: datetime, end: datetime, metrics: Sequence[str] = ()
) -> pl.DataFrame:
    """What is known now of the instants from ``start`` until before ``end``.

    Args:
        connection: the store.
        start: the first instant.
        end: the first one after the last.
        metrics: their names; all by default.

    Returns:
        ``unit``, ``metric``, ``at``, ``value`` and ``received_at``: of each unit, metric and instant the value told
        last, in the order of instants.
    """
    found = measurements_between(connection, start, end, metrics)
    lines = [(each.unit, each.metric, each.at, each.value, each.received_at) for each in found]
    return pl.DataFrame(lines, schema=_SCHEMA, orient="row")
