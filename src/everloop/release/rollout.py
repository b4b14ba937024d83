"""Rollout: what share of the traffic a challenger gets, begun and ended with its role in one transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from everloop.core.settings.releasing import ReleaseSettings
from everloop.store.deployments import in_role
from everloop.store.splits import TrafficSplit, end_split, split_in_force, start_split

__all__ = ["begin_rollout", "end_rollout"]

_HALF = 0.5


def begin_rollout(
    connection: Connection, settings: ReleaseSettings, challenger: str, *, at: datetime, reason: str, actor: str
) -> TrafficSplit | None:
    """Give a new challenger its share, as ``release.rollout`` says; ``None`` where it gets none.

    Args:
        connection: the transaction that gives it its role.
        settings: the rollout, the share and the unit.
        challenger: its digest.
        at: when.
        reason: why, for the audit log.
        actor: who or what.
    """
    share = {"canary": settings.canary_share, "ab": _HALF}.get(settings.rollout)
    champion = in_role(connection, "champion")
    if share is None or champion is None or champion == challenger:
        return None
    weights = {champion: 1 - share, challenger: share}
    why = f"release.rollout is {settings.rollout!r}; {reason}"
    return start_split(connection, weights, unit=settings.split_unit, at=at, reason=why, actor=actor)


def end_rollout(
    connection: Connection, *, at: datetime, reason: str, actor: str, release: str | None = None
) -> TrafficSplit | None:
    """End the split in force, where there is one.

    Args:
        connection: the transaction that changes the roles.
        at: when.
        reason: why, for the audit log.
        actor: who or what.
        release: end it only where this release takes part.
    """
    split = split_in_force(connection)
    if split is None or (release is not None and release not in split.weights):
        return None
    return end_split(connection, at=at, reason=reason, actor=actor)
