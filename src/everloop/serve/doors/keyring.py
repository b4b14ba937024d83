"""The keyring: API keys in memory, so that a request is checked without asking the store."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

from everloop.core.errors import EverloopError, RequestError, UnavailableError
from everloop.store.engine import Store
from everloop.store.records import KEY_PREFIX, SCOPES, Key
from everloop.store.wanted import active_keys, keys_version

__all__ = ["ANONYMOUS", "Caller", "Keyring"]

_log = logging.getLogger(__name__)

_PREFIX = KEY_PREFIX.encode()
_ID_AT, _SECRET_AT, _LENGTH = 4, 17, 60
_MISS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        id: the key's id, empty for a caller without a key.
        name: the key's name.
        scopes: what the caller may do.
        rate: requests a second of this key; ``None`` means ``access.rate``.
    """

    id: str
    name: str
    scopes: frozenset[str]
    rate: float | None = None


ANONYMOUS = Caller("", "", frozenset())
"""A caller without a key who may do nothing."""


class Keyring:
    """The keys that hold, followed in the store by a thread.

    A key that is revoked is refused ``poll_seconds`` later at the latest, a new one is known by then. As long as the
    store is away, the keys that were read last hold; before they were read once, nobody gets in.

    The check takes the same steps for a key that is known and one that is not: look up, hash, compare in constant time.

    Args:
        store: where the keys are.
        poll_seconds: how often it is looked at.
        anonymous: what callers without a key may do; where it is not empty, credentials that are no key of Everloop
            (as those of a proxy) are not looked at.
    """

    def __init__(self, store: Store, poll_seconds: float, *, anonymous: frozenset[str] = frozenset()) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._anonymous = Caller("", "", anonymous)
        self._keys: dict[bytes, tuple[bytes, Caller]] = {}
        self._version: tuple[Any, ...] | None = None
        # what an unknown key is compared with; random, so that nothing hashes to it
        self._nobody = (os.urandom(32), ANONYMOUS)
        self._missed_at = float("-inf")
        self._wake = threading.Event()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._follow, name="everloop-keys", daemon=True)

    def start(self) -> None:
        """Read the keys, then follow them in a thread; a store that is away is asked again."""
        self._try_refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._is_stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def refresh(self) -> bool:
        """Look at the store once; tells whether a key came or went.

        Raises:
            UnavailableError: the store does not answer; the keys stay as they were.
        """
        with self._store.look() as look:
            version = keys_version(look)
            if version == self._version:
                return False
            found = active_keys(look)
        self._keys = {key.id.encode(): _entry(key) for key in found}  # one assignment: a request sees all or nothing
        self._version = version
        return True

    def admit(self, authorization: bytes | None, api_key: bytes | None, scope: str) -> Caller:
        """Who asks, if they may.

        Args:
            authorization: the value of ``Authorization``; ``Bearer KEY`` counts.
            api_key: the value of ``X-API-Key``; it goes before the other.
            scope: what they want to do.

        Raises:
            RequestError: there is no key (``key_missing``), it is not known or revoked (``key_unknown``), or it may
                not do this (``key_scope``).
            UnavailableError: the store has not answered yet, so nobody is known (``keys_unavailable``).
        """
        if api_key is not None:
            text = api_key
        elif authorization is not None:
            text = authorization[7:].strip() if authorization[:7].lower() == b"bearer " else b""
        else:
            return self._admit_anonymous(scope)
        if text[:4] != _PREFIX and self._anonymous.scopes:
            return self._admit_anonymous(scope)
        expected, caller = self._keys.get(text[_ID_AT : _SECRET_AT - 1], self._nobody)
        presented = hashlib.sha256(text[_SECRET_AT:_LENGTH]).digest()
        is_known = hmac.compare_digest(presented, expected)
        if not is_known or len(text) != _LENGTH or text[:4] != _PREFIX or text[_SECRET_AT - 1] != 0x5F:
            raise self._unknown()
        if scope not in caller.scopes:
            raise _no_scope(caller, scope)
        return caller

    def _admit_anonymous(self, scope: str) -> Caller:
        if scope in self._anonymous.scopes:
            return self._anonymous
        raise RequestError(
            "key_missing",
            f"this needs an API key that may {scope!r}",
            hint="send: Authorization: Bearer KEY; a key is made by: everloop keys make",
            path="authorization",
        )

    def _unknown(self) -> EverloopError:
        """The error for a key that is not known; it may be newer than what was read, so the thread looks soon."""
        now = time.monotonic()
        if now - self._missed_at >= _MISS_SECONDS:
            self._missed_at = now
            self._wake.set()
        if self._version is None:
            return UnavailableError(
                "keys_unavailable", "API keys cannot be checked, the store is away", hint="try again in a moment"
            )
        return RequestError(
            "key_unknown",
            "the API key is not known, or was revoked",
            hint="is it complete? see: everloop keys list",
            path="authorization",
        )

    def _follow(self) -> None:
        while True:
            self._wake.wait(self._poll_seconds)
            self._wake.clear()
            if self._is_stopped:
                return
            self._try_refresh()

    def _try_refresh(self) -> None:
        try:
            self.refresh()
        except UnavailableError as error:
            _log.warning("cannot follow the API keys, those that were read last hold: %s", error)
        except Exception:
            # The thread must outlive any surprise, or a revoked key would hold for ever.
            _log.exception("following the API keys failed")


def _entry(key: Key) -> tuple[bytes, Caller]:
    scopes = frozenset(SCOPES) if "admin" in key.scopes else frozenset(key.scopes)
    return bytes.fromhex(key.hash), Caller(key.id, key.name, scopes, key.rate)


def _no_scope(caller: Caller, scope: str) -> RequestError:
    return RequestError(
        "key_scope",
        f"key {caller.id} may {', '.join(sorted(caller.scopes))}, not {scope}",
        hint=f"make another: everloop keys make --name NAME --scope {scope}",
        path="authorization",
    )
