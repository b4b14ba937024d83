from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from everloop.cli.main import main
from everloop.core.errors import EverloopError, SettingsError
from everloop.core.project import parse_settings
from everloop.core.settings.whole import Settings
from everloop.serve.doors.doorway import Doorway
from everloop.serve.doors.rules import Exposure, check_exposure, is_loopback
from everloop.serve.failures import error_headers, status_of
from everloop.store.engine import Store, open_store
from everloop.store.keys import SCOPES, make_key

EVERYTHING = frozenset(SCOPES)
CALLERS = frozenset({"predict", "read", "outcomes"})
NOTHING: frozenset[str] = frozenset()
HERE, THERE = "127.0.0.1", "0.0.0.0"


def settings(**access: Any) -> Settings:
    return parse_settings({"project": {"name": "x", "task": "regression"}, "access": access})


@pytest.mark.parametrize(
    ("access", "host", "has_keys", "anonymous"),
    [
        ({}, HERE, False, EVERYTHING),
        ({}, HERE, True, EVERYTHING),
        ({"keys": "off"}, HERE, True, EVERYTHING),
        ({"keys": "required"}, HERE, True, NOTHING),
        ({"keys": "required"}, HERE, False, NOTHING),
        ({}, THERE, True, NOTHING),
        ({"keys": "required"}, THERE, True, NOTHING),
        ({"allow_anonymous": True}, THERE, False, CALLERS),
        ({"allow_anonymous": True}, THERE, True, CALLERS),
        ({"allow_anonymous": True, "keys": "off"}, THERE, False, CALLERS),
    ],
)
def test_who_may_ask(access: dict[str, Any], host: str, has_keys: bool, anonymous: frozenset[str]) -> None:
    exposure = check_exposure(settings(**access), host, has_keys)
    assert exposure.anonymous == anonymous


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "2001:db8::1", "shop.internal"])
@pytest.mark.parametrize("access", [{}, {"keys": "required"}, {"keys": "off"}])
def test_an_open_server_does_not_start(host: str, access: dict[str, Any]) -> None:
    for has_keys in (False, True):
        if has_keys and access.get("keys") != "off":
            continue
        with pytest.raises(SettingsError) as caught:
            check_exposure(settings(**access), host, has_keys)
        assert caught.value.code == "access_open"


def test_the_hint_names_commands_that_help(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        check_exposure(settings(), THERE, False)
    hint = caught.value.hint
    make = hint.partition("everloop ")[2].partition(";")[0].split()
    (tmp_path / "everloop.toml").write_text('[project]\nname = "x"\ntask = "regression"\n')
    assert main([*make, "--project", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("evl_")
    allow = hint.rpartition("--set ")[2]
    override = parse_settings({"project": {"name": "x", "task": "regression"}}, overrides=[allow])
    assert check_exposure(override, THERE, False).anonymous == CALLERS


def test_settings_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        check_exposure(settings(keys="required", allow_anonymous=True), THERE, True)
    assert caught.value.code == "access_keys"


def test_keys_in_clear_text_and_open_doors_are_warned_of() -> None:
    def warnings(host: str, has_keys: bool, **access: Any) -> str:
        return " ".join(check_exposure(settings(**access), host, has_keys).warnings)

    assert "clear text" in warnings(THERE, True)
    assert warnings(THERE, True, tls_certificate="server.pem") == ""
    assert warnings(HERE, True) == ""
    assert "anybody" in warnings(THERE, False, allow_anonymous=True)
    assert "there is none yet" in warnings(HERE, False, keys="required")


def test_loopback_is_this_machine_only() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("127.0.0.1.example.org", "localhost.example.org", "0", "::ffff:0:0")))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def key(store: Store, *scopes: str, rate: float | None = None) -> bytes:
    with store.write() as tx:
        return make_key(tx, name="x", scopes=scopes, rate=rate, at=datetime(2026, 1, 1, tzinfo=UTC), actor="test")[
            1
        ].encode()


def doorway(store: Store, exposure: Exposure, **access: Any) -> Doorway:
    made = Doorway(settings(**access), store, exposure=exposure)
    made.keyring.refresh()
    return made


def codes(door: Doorway, count: int, headers: list[tuple[bytes, bytes]], address: str = "192.0.2.1") -> list[str]:
    found = []
    for _ in range(count):
        try:
            door.admit(headers, "predict", address)
            found.append("")
        except EverloopError as error:
            found.append(error.code)
    return found


def test_a_key_has_its_own_rate_whatever_its_address(store: Store) -> None:
    slow, free = key(store, "predict", rate=0.001), key(store, "predict")
    door = doorway(store, Exposure(NOTHING))
    headers = [(b"host", b"x"), (b"authorization", b"Bearer " + slow)]
    assert codes(door, 2, headers) == ["", "rate_limited"]
    assert codes(door, 1, headers, "192.0.2.2") == ["rate_limited"]
    assert codes(door, 20, [(b"x-api-key", free)]) == [""] * 20
    with pytest.raises(EverloopError) as caught:
        door.admit(headers, "predict")
    assert status_of(caught.value) == 429
    assert 990 <= int(error_headers(caught.value)["retry-after"]) <= 1000


def test_without_keys_each_address_has_a_rate(store: Store) -> None:
    door = doorway(store, Exposure(EVERYTHING), rate=0.001, burst=2)
    assert codes(door, 3, []) == ["", "", "rate_limited"]
    assert codes(door, 1, [], "192.0.2.9") == [""]


def test_who_tries_keys_is_slowed_down(store: Store) -> None:
    door = doorway(store, Exposure(NOTHING), rate=0.001, burst=3)
    assert codes(door, 5, [(b"x-api-key", b"evl_guess")]) == ["key_unknown"] * 3 + ["rate_limited"] * 2


def test_public_paths_and_bounds_come_from_the_settings(store: Store) -> None:
    door = doorway(store, Exposure(NOTHING), public_paths=["/health", "/metrics"], max_depth=4, max_rows=2)
    assert [door.is_public(path) for path in (b"/health", b"/metrics", b"/health/", b"/ping")] == [
        True,
        True,
        False,
        False,
    ]
    door.check_body(b"[[[[]]]]")
    door.check_rows(2)
    for check in (lambda: door.check_body(b"[[[[[]]]]]"), lambda: door.check_rows(3)):
        with pytest.raises(EverloopError):
            check()


def test_the_doorway_starts_and_stops(store: Store) -> None:
    made = key(store, "predict")
    door = Doorway(settings(), store, exposure=Exposure(NOTHING))
    door.start()
    assert door.admit([(b"x-api-key", made)], "predict").id == made[4:16].decode()
    door.stop()
