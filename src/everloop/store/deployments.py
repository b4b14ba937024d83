"""Releases, who of them is in charge, and the states they are served from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from everloop.core.errors import NotFoundError
from everloop.store.records import Role
from everloop.store.schema import deployments, releases, states

__all__ = [
    "Deployment",
    "ReleaseRow",
    "Role",
    "StateRow",
    "add_release",
    "add_state",
    "deploy",
    "deployment_history",
    "find_release",
    "find_state",
    "in_role",
    "latest_state",
    "list_releases",
]


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A release as the store knows it; the bundle holds the rest.

    ``metrics`` is the backtest's summary and ``gates`` the gate results, as JSON values.
    """

    digest: str
    model_digest: str
    candidate: str
    run_id: str
    dataset_version: int
    dataset_digest: str
    cutoff: datetime
    created_at: datetime
    metrics: dict[str, Any]
    gates: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Deployment:
    """From ``at`` on, ``release`` (or nothing) has the role."""

    seq: int
    role: str
    release: str | None
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class StateRow:
    """A release brought up to date with a dataset version; ``id`` names its folder below ``states``."""

    id: str
    release: str
    dataset_version: int
    dataset_digest: str
    cutoff: datetime
    at: datetime


def add_release(connection: Connection, row: ReleaseRow) -> None:
    """Register a release; the same one twice changes nothing."""
    known = connection.execute(select(releases.c.digest).where(releases.c.digest == row.digest)).first()
    if known is None:
        connection.execute(insert(releases).values({name: getattr(row, name) for name in row.__dataclass_fields__}))


def find_release(connection: Connection, name: str) -> ReleaseRow:
    """The release that a digest, an unambiguous beginning of one (4 letters at least), or a role names.

    Raises:
        NotFoundError: there is none, or more than one.
    """
    if name in ("champion", "challenger"):
        digest = in_role(connection, name)  # type: ignore[arg-type]
        if digest is None:
            raise NotFoundError("role_empty", f"there is no {name}", hint="promote a release: everloop promote DIGEST")
        name = digest
    query = select(releases).where(releases.c.digest.startswith(name, autoescape=True)).limit(2)
    found = connection.execute(query).all() if len(name) >= 4 else []
    if len(found) != 1:
        problem = "more than one release begins with" if found else "there is no release"
        raise NotFoundError("release_unknown", f"{problem} {name!r}", hint="list them: everloop release --list")
    return ReleaseRow(**found[0]._mapping)


def list_releases(connection: Connection, *, limit: int = 100) -> list[ReleaseRow]:
    """The newest releases, newest first."""
    query = select(releases).order_by(releases.c.created_at.desc(), releases.c.digest).limit(limit)
    return [ReleaseRow(**row._mapping) for row in connection.execute(query)]


def deploy(connection: Connection, role: Role, release: str | None, *, at: datetime, reason: str) -> None:
    """Give a role to a release, or to none; servers follow."""
    connection.execute(insert(deployments).values(role=role, release=release, at=at, reason=reason))


def in_role(connection: Connection, role: Role) -> str | None:
    """The digest of the release that has a role now."""
    query = select(deployments.c.release).where(deployments.c.role == role).order_by(deployments.c.seq.desc()).limit(1)
    return connection.execute(query).scalar()


def deployment_history(connection: Connection, role: Role) -> list[Deployment]:
    """Who had a role, newest first."""
    query = select(deployments).where(deployments.c.role == role).order_by(deployments.c.seq.desc())
    return [Deployment(**row._mapping) for row in connection.execute(query)]


def add_state(connection: Connection, row: StateRow) -> None:
    """Register a serving state whose folder is complete; the same one twice changes nothing."""
    if connection.execute(select(states.c.id).where(states.c.id == row.id)).first() is None:
        connection.execute(insert(states).values({name: getattr(row, name) for name in row.__dataclass_fields__}))


def latest_state(connection: Connection, release: str) -> StateRow | None:
    """The newest serving state of a release."""
    columns = [column for column in states.c if column.name != "seq"]
    query = select(*columns).where(states.c.release == release).order_by(states.c.seq.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else StateRow(**row._mapping)


def find_state(connection: Connection, identifier: str) -> StateRow:
    """A serving state, also one whose folder is gone.

    Raises:
        NotFoundError: it was never made here.
    """
    columns = [column for column in states.c if column.name != "seq"]
    row = connection.execute(select(*columns).where(states.c.id == identifier)).first()
    if row is None:
        raise NotFoundError(
            "state_unknown", f"there is no serving state {identifier[:12]}", hint="see: everloop status"
        )
    return StateRow(**row._mapping)
