"""What a server asks of the store: who is in charge, how the traffic is split, and which keys hold.

These are the same questions that ``deployments``, ``splits`` and ``keys`` answer in transactions that also write; here
they are asked by the driver alone, since a server asks them before its first answer and then every second.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from everloop.store.reader import Look
from everloop.store.records import Key, Role, Stage, TrafficSplit

__all__ = ["active_keys", "count_keys", "in_role", "is_release", "keys_version", "split_in_force", "state_of"]


def in_role(look: Look, role: Role) -> str | None:
    """The digest of the release that has a role now."""
    row = look.row("SELECT release FROM deployments WHERE role = ? ORDER BY seq DESC LIMIT 1", role)
    return None if row is None else row[0]


def state_of(look: Look, release: str) -> str:
    """The id of the newest serving state of a release, empty where it has none."""
    row = look.row("SELECT id FROM states WHERE release = ? ORDER BY seq DESC LIMIT 1", release)
    return "" if row is None else str(row[0])


def is_release(look: Look, digest: str) -> bool:
    """Whether a release was made or adopted here."""
    return look.row("SELECT digest FROM releases WHERE digest = ?", digest) is not None


def split_in_force(look: Look) -> TrafficSplit | None:
    """The split that requests are drawn by now."""
    rows = look.rows(
        "SELECT experiment, salt, unit, weights, at, reason FROM splits"
        " WHERE experiment = (SELECT experiment FROM splits ORDER BY seq DESC LIMIT 1) ORDER BY seq"
    )
    if not rows or not _json(rows[-1][3]):  # a split ends by a row without weights
        return None
    stages = tuple(Stage(_json(row[3]), datetime.fromisoformat(row[4]), row[5]) for row in rows)
    experiment, salt, unit = rows[0][:3]
    return TrafficSplit(experiment, salt, unit, stages)


def count_keys(look: Look) -> int:
    """How many API keys hold."""
    return len(look.rows("SELECT id FROM keys WHERE revoked_at IS NULL"))


def keys_version(look: Look) -> tuple[Any, ...]:
    """A value that changes with each key that is made or revoked; cheaper than reading them all."""
    return look.rows("SELECT count(*), count(revoked_at), max(created_at), max(revoked_at) FROM keys")[0]


def active_keys(look: Look) -> list[Key]:
    """The keys that hold, oldest first."""
    rows = look.rows(
        "SELECT id, name, hash, scopes, rate, created_at FROM keys WHERE revoked_at IS NULL ORDER BY created_at, id"
    )
    return [Key(row[0], row[1], row[2], tuple(_json(row[3])), row[4], datetime.fromisoformat(row[5])) for row in rows]


def _json(value: Any) -> Any:
    """A JSON value, which psycopg has read already and sqlite3 has not."""
    return msgspec.json.decode(value) if isinstance(value, str) else value
