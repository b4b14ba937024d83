from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.core.errors import EverloopError, UnavailableError
from everloop.serve.doors import keyring as module
from everloop.serve.doors.keyring import Keyring
from everloop.serve.failures import error_headers, status_of
from everloop.store.engine import Store, open_store
from everloop.store.keys import SCOPES, make_key, revoke_key

NOW = datetime(2026, 5, 4, 3, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def make(store: Store, *scopes: str, rate: float | None = None) -> bytes:
    with store.write() as tx:
        return make_key(tx, name="shop", scopes=scopes, rate=rate, at=NOW, actor="test")[1].encode()


def id_of(key: bytes) -> str:
    return key[4:16].decode()


def ring(store: Store, anonymous: frozenset[str] = frozenset()) -> Keyring:
    made = Keyring(store, 3600.0, anonymous=anonymous)
    made.refresh()
    return made


def refusal(keys: Keyring, authorization: bytes | None, api_key: bytes | None = None, scope: str = "predict") -> str:
    with pytest.raises(EverloopError) as caught:
        keys.admit(authorization, api_key, scope)
    return caught.value.code


def test_a_key_lets_in_by_either_header(store: Store) -> None:
    key = make(store, "predict", rate=3.0)
    keys = ring(store)
    for caller in (
        keys.admit(b"Bearer " + key, None, "predict"),
        keys.admit(b"bearer  " + key + b" ", None, "predict"),
        keys.admit(None, key, "predict"),
        keys.admit(b"Basic abc", key, "predict"),
    ):
        assert (caller.id, caller.name, caller.rate) == (id_of(key), "shop", 3.0)


def test_a_key_may_do_what_its_scopes_say_and_admin_everything(store: Store) -> None:
    reader, admin = make(store, "read", "outcomes"), make(store, "admin")
    keys = ring(store)
    assert {scope for scope in SCOPES if _is_let_in(keys, reader, scope)} == {"read", "outcomes"}
    assert all(_is_let_in(keys, admin, scope) for scope in SCOPES)
    assert refusal(keys, None, reader, "predict") == "key_scope"


def _is_let_in(keys: Keyring, key: bytes, scope: str) -> bool:
    try:
        return keys.admit(None, key, scope).id == id_of(key)
    except EverloopError:
        return False


def test_without_a_key_nobody_gets_in(store: Store) -> None:
    make(store, "predict")
    assert refusal(ring(store), None) == "key_missing"


def test_a_key_differs_in_one_place_and_is_refused(store: Store) -> None:
    key = make(store, "predict")
    keys = ring(store)
    for place in range(len(key)):
        changed = bytearray(key)
        changed[place] ^= 1
        assert refusal(keys, None, bytes(changed)) == "key_unknown", place
    other = make(store, "predict")  # newer than what was read
    for text in (b"", b"evl_", key[:-1], key + b"a", key[:17], other, key[:17] + other[17:], b"\xff" * 60):
        assert refusal(keys, None, text) == "key_unknown"


@given(st.binary(max_size=80))
def test_no_bytes_get_in_or_break_the_check(text: bytes) -> None:
    keys = Keyring(None, 1.0)  # type: ignore[arg-type]  # the store is not asked
    keys._version = (0, 0, None, None)
    assert refusal(keys, text) == refusal(keys, None, text) == "key_unknown"


def test_a_known_and_an_unknown_id_take_the_same_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make(store, "predict")
    keys = ring(store)
    compared: list[tuple[int, int]] = []
    hashed: list[int] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return real_compare(left, right)

    def sha256(text: bytes) -> Any:
        hashed.append(len(text))
        return real(text)

    real, real_compare = hashlib.sha256, hmac.compare_digest
    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    monkeypatch.setattr(module.hashlib, "sha256", sha256)
    refusal(keys, None, key[:-1] + b"!")
    refusal(keys, None, b"evl_" + b"0" * 12 + key[16:])
    assert compared == [(32, 32), (32, 32)]
    assert hashed == [43, 43]


def test_a_key_is_never_told_in_an_error(store: Store) -> None:
    key = make(store, "read")
    keys = ring(store)
    for scope, text in (("predict", key), ("read", key[:-1] + b"!")):
        with pytest.raises(EverloopError) as caught:
            keys.admit(None, text, scope)
        assert key[17:40].decode() not in str(caught.value.to_dict())


def test_a_revoked_key_is_refused_after_a_look_at_the_store(store: Store) -> None:
    key, other = make(store, "predict"), make(store, "predict")
    keys = ring(store)
    assert keys.refresh() is False
    with store.write() as tx:
        revoke_key(tx, id_of(key), at=NOW, actor="test")
    assert keys.refresh() is True
    assert refusal(keys, None, key) == "key_unknown"
    assert keys.admit(None, other, "predict").id == id_of(other)


class Watched(Keyring):
    """A keyring that tells when its thread has looked."""

    def __init__(self, store: Store, poll_seconds: float) -> None:
        super().__init__(store, poll_seconds)
        self.looked = threading.Semaphore(0)

    def refresh(self) -> bool:
        try:
            return super().refresh()
        finally:
            self.looked.release()


def test_the_thread_follows_the_store(store: Store) -> None:
    key = make(store, "predict")
    keys = Watched(store, 0.01)
    keys.start()
    try:
        assert keys.admit(None, key, "predict").id == id_of(key)
        with store.write() as tx:
            revoke_key(tx, id_of(key), at=NOW, actor="test")
        for _ in range(100):  # what had begun before the change, and the next ones
            assert keys.looked.acquire(timeout=10)
            if not _is_let_in(keys, key, "predict"):
                break
        assert refusal(keys, None, key) == "key_unknown"
    finally:
        keys.stop()
    assert not keys._thread.is_alive()


def test_an_unknown_key_makes_the_thread_look_soon_but_not_for_each(store: Store) -> None:
    keys = Watched(store, 3600.0)
    keys.start()
    try:
        assert keys.looked.acquire(timeout=10)
        key = make(store, "predict")
        assert refusal(keys, None, key) == "key_unknown"
        assert keys.looked.acquire(timeout=10)
        assert keys.admit(None, key, "predict").id == id_of(key)
        for _ in range(50):
            refusal(keys, None, b"evl_" + b"1" * 56)
        assert not keys._wake.is_set()
    finally:
        keys.stop()


def test_while_the_store_is_away_the_keys_that_were_read_hold(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    key = make(store, "predict")
    keys = Away(store, 3600.0)
    keys.start()
    try:
        assert refusal(keys, None, key) == "keys_unavailable"
        assert refusal(keys, None, None) == "key_missing"
        keys.is_away = False
        keys.refresh()
        keys.is_away = True
        keys._try_refresh()
        assert keys.admit(None, key, "predict").id == id_of(key)
    finally:
        keys.stop()
    assert "cannot follow the API keys" in caplog.text


class Away(Keyring):
    """A keyring whose store may be away."""

    is_away = True

    def refresh(self) -> bool:
        if self.is_away:
            raise UnavailableError("store_unavailable", "away")
        return super().refresh()


def test_where_callers_without_a_key_may_enter_a_key_is_checked_all_the_same(store: Store) -> None:
    reader = make(store, "read")
    keys = ring(store, anonymous=frozenset({"predict", "read"}))
    assert keys.admit(None, None, "predict").id == ""
    assert keys.admit(b"Basic c2hvcDpzaG9w", None, "predict").id == ""
    assert keys.admit(None, reader, "read").id == id_of(reader)
    assert refusal(keys, None, reader) == "key_scope"
    assert refusal(keys, None, reader[:-1] + b"!") == "key_unknown"
    assert refusal(keys, None, None, "admin") == "key_missing"
    assert refusal(keys, b"Basic c2hvcDpzaG9w", None, "admin") == "key_missing"


@pytest.mark.parametrize(
    ("code", "status", "challenge"),
    [
        ("key_missing", 401, 'Bearer realm="everloop"'),
        ("key_unknown", 401, 'Bearer realm="everloop", error="invalid_token"'),
        ("key_scope", 403, 'Bearer realm="everloop", error="insufficient_scope"'),
    ],
)
def test_refusals_are_answered_as_rfc_6750_says(code: str, status: int, challenge: str) -> None:
    error = EverloopError(code, "no")
    assert status_of(error) == status
    assert error_headers(error) == {"www-authenticate": challenge}
