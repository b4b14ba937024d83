"""API keys: made once, shown once, and stored only as a hash.

A key reads ``evl_<id>_<secret>``. The id (48 random bits, hexadecimal) names the row; the secret (256 random bits,
URL-safe Base64) is known to its holder alone. With so many bits a single SHA-256 is enough: there is nothing to guess,
so no slow hash is needed, and a server can check a key in microseconds.

Rows are never deleted: a revoked key stays, so that what was logged under its id can still be explained.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from everloop.core.errors import NotFoundError, UsageError, nearest
from everloop.store.events import record_event
from everloop.store.records import KEY_PREFIX, SCOPES, Key, Scope
from everloop.store.schema import keys

__all__ = [
    "KEY_PREFIX",
    "SCOPES",
    "Key",
    "Scope",
    "find_key",
    "hash_secret",
    "list_keys",
    "make_key",
    "revoke_key",
]


_ID_BYTES = 6
_SECRET_BYTES = 32
_MOST_NAME = 128


def hash_secret(secret: bytes) -> str:
    """What is stored of a secret.

    >>> hash_secret(b"secret")[:16]
    '2bb80d537b1da3e3'
    """
    return hashlib.sha256(secret).hexdigest()


def make_key(
    connection: Connection,
    *,
    name: str,
    scopes: Sequence[str],
    rate: float | None = None,
    at: datetime,
    actor: str,
) -> tuple[Key, str]:
    """A new key, and its text: the only time that the text is known.

    Args:
        connection: a writing transaction.
        name: who or what it is for; 1 to 128 printable characters.
        scopes: at least one of :data:`SCOPES`; ``admin`` includes the others.
        rate: requests a second; ``None`` means ``access.rate``.
        at: the present.
        actor: who makes it, for the audit log.

    Raises:
        UsageError: the name, a scope or the rate cannot be.
    """
    _check(name, scopes, rate)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    chosen = tuple(scope for scope in SCOPES if scope in scopes)
    key = Key(secrets.token_hex(_ID_BYTES), name, hash_secret(secret.encode()), chosen, rate, at)
    row = {"id": key.id, "name": name, "hash": key.hash, "scopes": list(chosen), "rate": rate, "created_at": at}
    connection.execute(insert(keys).values(row))
    evidence = {"name": name, "scopes": list(chosen), "rate": rate}
    message = f"key {key.id} ({name}) may {', '.join(chosen)}"
    record_event(connection, at, "key_made", message, actor=actor, subject=key.id, evidence=evidence)
    return key, f"{KEY_PREFIX}{key.id}_{secret}"


def revoke_key(connection: Connection, key_id: str, *, at: datetime, actor: str) -> Key:
    """Refuse a key from now on; one that is revoked already stays as it is.

    Raises:
        NotFoundError: there is no such key.
    """
    key = find_key(connection, key_id)
    if key.revoked_at is not None:
        return key
    connection.execute(update(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None)).values(revoked_at=at))
    record_event(
        connection,
        at,
        "key_revoked",
        f"key {key_id} ({key.name}) is refused from now on",
        actor=actor,
        subject=key_id,
        evidence={"name": key.name},
    )
    return find_key(connection, key_id)


def find_key(connection: Connection, key_id: str) -> Key:
    """A key by its id.

    Raises:
        NotFoundError: there is no such key.
    """
    row = connection.execute(select(keys).where(keys.c.id == key_id)).first()
    if row is None:
        known = connection.execute(select(keys.c.id).order_by(keys.c.created_at.desc()).limit(100)).scalars()
        # whoever pastes a whole key by mistake must not find its secret in an error message
        shown = key_id.removeprefix(KEY_PREFIX)[: 2 * _ID_BYTES]
        raise NotFoundError(
            "key_id_unknown", f"there is no key {shown!r}", hint=nearest(shown, known) + "; see: everloop keys list"
        )
    return _key(row)


def list_keys(connection: Connection, *, is_active: bool = False) -> list[Key]:
    """All keys, oldest first; only those that hold, where ``is_active``."""
    query = select(keys).order_by(keys.c.created_at, keys.c.id)
    if is_active:
        query = query.where(keys.c.revoked_at.is_(None))
    return [_key(row) for row in connection.execute(query)]


def _key(row: Row[Any]) -> Key:
    return Key(row.id, row.name, row.hash, tuple(row.scopes), row.rate, row.created_at, row.revoked_at)


def _check(name: str, scopes: Sequence[str], rate: float | None) -> None:
    if not (0 < len(name) <= _MOST_NAME and name.isprintable() and name.strip()):
        raise UsageError(
            "key_name", f"a key needs a name of 1 to {_MOST_NAME} printable characters", hint="say who uses it"
        )
    if not scopes:
        raise UsageError("key_scopes", "a key needs at least one scope", hint=f"one or more of: {', '.join(SCOPES)}")
    for scope in scopes:
        if scope not in SCOPES:
            raise UsageError("key_scopes", f"there is no scope {scope[:40]!r}", hint=nearest(scope[:40], SCOPES))
    if rate is not None and not 0 < rate < float("inf"):
        raise UsageError(
            "key_rate", f"a rate of {rate:g} requests a second cannot be", hint="a number above 0, or none at all"
        )
