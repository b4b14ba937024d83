from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from everloop.cli.main import main
from everloop.core.errors import NotFoundError, UsageError
from everloop.store.engine import Store, open_store
from everloop.store.events import list_events
from everloop.store.keys import (
    find_key,
    hash_secret,
    list_keys,
    make_key,
    revoke_key,
)
from everloop.store.schema import events, keys

NOW = datetime(2026, 5, 4, 3, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def make(store: Store, name: str = "shop", *scopes: str, rate: float | None = None) -> tuple[str, str]:
    with store.write() as tx:
        key, text = make_key(tx, name=name, scopes=scopes or ("predict",), rate=rate, at=NOW, actor="test")
    return key.id, text


def test_a_key_is_found_as_it_was_made(store: Store) -> None:
    key_id, text = make(store, "shop", "read", "predict", rate=2.5)
    with store.read() as tx:
        key = find_key(tx, key_id)
    assert (key.name, key.scopes, key.rate, key.created_at, key.revoked_at) == (
        "shop",
        ("predict", "read"),
        2.5,
        NOW,
        None,
    )
    prefix, found_id, secret = text.split("_", 2)
    assert (prefix, found_id) == ("evl", key_id)
    assert hash_secret(secret.encode()) == key.hash


def test_the_secret_is_stored_nowhere(store: Store) -> None:
    _, text = make(store)
    secret = text.split("_", 2)[2]
    with store.read() as tx:
        rows = [*tx.execute(select(keys)), *tx.execute(select(events))]
    assert rows
    assert secret not in repr(rows)
    store.close()
    path = Path(store.engine.url.database or "")
    assert all(secret.encode() not in each.read_bytes() for each in path.parent.iterdir())


def test_no_two_keys_are_alike(store: Store) -> None:
    texts = {make(store)[1] for _ in range(20)}
    assert len(texts) == 20
    assert {len(text) for text in texts} == {60}


def test_a_revoked_key_stays_and_counts_no_more(store: Store) -> None:
    first, _ = make(store)
    make(store)
    with store.write() as tx:
        revoke_key(tx, first, at=NOW + timedelta(hours=1), actor="test")
        again = revoke_key(tx, first, at=NOW + timedelta(hours=2), actor="test")
    assert again.revoked_at == NOW + timedelta(hours=1)
    with store.read() as tx:
        assert len(list_keys(tx, is_active=True)) == 1
        assert len(list_keys(tx)) == 2
        assert first not in {key.id for key in list_keys(tx, is_active=True)}
        assert [event.kind for event in list_events(tx)] == ["key_made", "key_made", "key_revoked"]


@pytest.mark.parametrize(
    ("name", "scopes", "rate", "code"),
    [
        ("", ["predict"], None, "key_name"),
        ("  ", ["predict"], None, "key_name"),
        ("a\nb", ["predict"], None, "key_name"),
        ("x" * 129, ["predict"], None, "key_name"),
        ("x", [], None, "key_scopes"),
        ("x", ["predikt"], None, "key_scopes"),
        ("x", ["predict"], 0, "key_rate"),
        ("x", ["predict"], float("nan"), "key_rate"),
        ("x", ["predict"], float("inf"), "key_rate"),
    ],
)
def test_what_cannot_be_is_refused(store: Store, name: str, scopes: list[str], rate: float | None, code: str) -> None:
    with pytest.raises(UsageError) as caught, store.write() as tx:
        make_key(tx, name=name, scopes=scopes, rate=rate, at=NOW, actor="test")
    assert caught.value.code == code
    with store.read() as tx:
        assert list_keys(tx) == []


def test_a_whole_key_given_for_an_id_is_not_repeated_in_the_error(store: Store) -> None:
    key_id, text = make(store)
    with pytest.raises(NotFoundError) as caught, store.read() as tx:
        find_key(tx, text)
    assert text.split("_", 2)[2][:8] not in str(caught.value.to_dict())
    assert key_id in caught.value.hint


SETTINGS = """
[project]
name = "demand"
task = "regression"
"""


def test_the_command_makes_lists_and_revokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "everloop.toml").write_text(SETTINGS)

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["keys", *words, "--project", str(tmp_path)])
        out, err = capsys.readouterr()
        return status, out, err

    assert run("list")[1] == ""
    status, out, err = run("make", "--name", "floor", "--scope", "predict", "--scope", "read", "--rate", "50")
    assert status == 0
    text = out.strip()
    assert text.startswith("evl_")
    assert text.split("_", 2)[2] not in err
    listed = json.loads(run("list", "--json")[1])
    assert [(each["name"], each["scopes"], each["rate"]) for each in listed] == [("floor", ["predict", "read"], 50.0)]
    assert set(listed[0]) == {"id", "name", "scopes", "rate", "created_at", "revoked_at"}
    assert "floor" in run("list")[1]

    key_id = listed[0]["id"]
    assert "would revoke" in run("revoke", key_id, "--dry-run")[2]
    assert json.loads(run("list", "--json")[1])[0]["revoked_at"] is None
    assert run("revoke", key_id)[0] == 0
    assert json.loads(run("list", "--json")[1])[0]["revoked_at"] is not None

    assert run("revoke")[0] == 2
    assert run("list", key_id)[0] == 2
    assert run("revoke", "000000000000")[0] == 3
    assert run("make", "--name", "x", "--scope", "everything")[0] == 2
    made = json.loads(run("make", "--name", "ops", "--scope", "admin", "--json")[1])
    assert made["key"].startswith(f"evl_{made['id']}_")
