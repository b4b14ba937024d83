"""Leases: of many controllers one acts, and when it dies another takes over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from everloop.core.errors import ConflictError
from everloop.store.schema import leases

__all__ = ["Lease", "acquire_lease", "check_lease", "find_lease", "release_lease"]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act until ``expires_at``; ``fence`` grows with each new holder."""

    name: str
    holder: str
    expires_at: datetime
    fence: int


def acquire_lease(connection: Connection, name: str, holder: str, *, now: datetime, seconds: float) -> Lease:
    """Take or renew a lease.

    Raises:
        ConflictError: another holds it and is not late.
    """
    row = connection.execute(select(leases).where(leases.c.name == name).with_for_update()).first()
    expires = now + timedelta(seconds=seconds)
    if row is None:
        connection.execute(insert(leases).values(name=name, holder=holder, expires_at=expires, fence=1))
        return Lease(name, holder, expires, 1)
    if row.holder != holder and row.holder and row.expires_at > now:
        raise ConflictError(
            "lease_held",
            f"{row.holder} holds the lease {name!r} until {row.expires_at.isoformat()}",
            hint="another controller is at work; it is safe to try again later",
        )
    fence = row.fence if row.holder == holder else row.fence + 1
    connection.execute(
        update(leases).where(leases.c.name == name).values(holder=holder, expires_at=expires, fence=fence)
    )
    return Lease(name, holder, expires, fence)


def check_lease(connection: Connection, lease: Lease) -> None:
    """Make sure, within a writing transaction, that nobody took the lease over.

    Raises:
        ConflictError: another holder has a newer fence.
    """
    row = connection.execute(select(leases).where(leases.c.name == lease.name)).first()
    if row is None or row.fence != lease.fence or row.holder != lease.holder:
        raise ConflictError(
            "lease_lost",
            f"the lease {lease.name!r} was taken over",
            hint="this controller was late; nothing was changed",
        )


def release_lease(connection: Connection, lease: Lease) -> None:
    """Give a lease back, so that the next one need not wait for it to run out."""
    query = update(leases).where(leases.c.name == lease.name, leases.c.fence == lease.fence)
    connection.execute(query.values(holder="", expires_at=lease.expires_at))


def find_lease(connection: Connection, name: str) -> Lease | None:
    """A lease as it stands; an empty holder has given it back."""
    row = connection.execute(select(leases).where(leases.c.name == name)).first()
    return None if row is None else Lease(**row._mapping)
