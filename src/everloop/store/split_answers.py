"""The answers that a stage of a split drew, as far as a comparison of its arms needs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from everloop.store.schema import predictions
from everloop.store.splits import TrafficSplit

__all__ = ["SplitAnswer", "answers_of_stage"]

_CLOCK_SKEW = timedelta(days=1)
_SPLIT_ROLES = ("champion", "challenger", "fallback", "baseline")


@dataclass(frozen=True, slots=True)
class SplitAnswer:
    """One answer to a unit.

    Attributes:
        unit: the unit as it is kept.
        release: the release that answered.
        role: ``"champion"`` or ``"challenger"``; ``"fallback"`` or ``"baseline"`` where the arm's release failed.
        at: when.
    """

    unit: str
    release: str
    role: str
    at: datetime

    @property
    def is_failure(self) -> bool:
        """Whether another release had to step in."""
        return self.role in ("fallback", "baseline")


def answers_of_stage(connection: Connection, split: TrafficSplit) -> Iterator[SplitAnswer]:
    """The answers of the split's present stage that named a unit, in order of their ids."""
    columns = (predictions.c.unit, predictions.c.release, predictions.c.role, predictions.c.at)
    query = (
        select(*columns)
        .where(
            predictions.c.experiment == split.label,
            predictions.c.at >= split.stages[-1].at - _CLOCK_SKEW,
            predictions.c.unit.is_not(None),
            predictions.c.role.in_(_SPLIT_ROLES),
        )
        .order_by(predictions.c.id)
    )
    for row in connection.execute(query):
        yield SplitAnswer(**row._mapping)
