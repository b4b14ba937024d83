"""What servers ask by the driver alone: the same answers as SQLAlchemy's, whatever happened before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from everloop.core.errors import SettingsError, UnavailableError
from everloop.core.ids import new_id
from everloop.store import deployments, keys, splits, wanted
from everloop.store.deployments import ReleaseRow, StateRow
from everloop.store.engine import Store, open_store
from everloop.store.place import place_of

NOW = datetime(2026, 5, 4, 3, tzinfo=UTC)
DIGESTS = ["a" * 64, "b" * 64, "c" * 64]

Opener = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgresql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens a new store each time."""
    if request.param == "sqlite":
        return lambda: open_store(f"sqlite:///{tmp_path}/{new_id(NOW)}.db")
    server = make_url(request.getfixturevalue("postgres_url"))

    def opened() -> Store:
        name = f"wanted_{new_id(NOW)[-12:]}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return open_store(server.set(database=name).render_as_string(hide_password=False))

    return opened


@contextmanager
def a_store(opener: Opener) -> Iterator[Store]:
    store = opener()
    try:
        yield store
    finally:
        store.close()


def act(store: Store, step: str, digest: str, at: datetime) -> None:
    """One thing that happens to a store."""
    with store.write() as tx:
        if step in ("champion", "challenger"):
            deployments.deploy(tx, step, digest, at=at, reason="test")  # type: ignore[arg-type]
        elif step == "nobody":
            deployments.deploy(tx, "challenger", None, at=at, reason="test")
        elif step == "state":
            deployments.add_state(tx, StateRow(new_id(at), digest, 1, "d" * 64, at, at))
        elif step == "release":
            deployments.add_release(tx, ReleaseRow(digest, "m", "lightgbm", "run", 1, "d", at, at, {}, []))
        elif step == "split":
            splits.start_split(tx, {digest: 0.25, "d" * 64: 0.75}, unit="series", at=at, reason="it's ?", actor="test")
        elif step == "change" and splits.split_in_force(tx) is not None:
            splits.change_split(tx, {digest: 0.5, "d" * 64: 0.5}, at=at, reason="half", actor="test")
        elif step == "end":
            splits.end_split(tx, at=at, reason="over", actor="test")
        elif step == "key":
            keys.make_key(tx, name="it's 100 %", scopes=["read", "predict"], rate=2.5, at=at, actor="test")
        elif step == "revoke":
            for key in keys.list_keys(tx, is_active=True)[:1]:
                keys.revoke_key(tx, key.id, at=at, actor="test")


STEPS = ["champion", "challenger", "nobody", "state", "release", "split", "change", "end", "key", "revoke"]


def assert_agrees(store: Store) -> None:
    with store.read() as tx, store.look() as look:
        for role in ("champion", "challenger"):
            assert wanted.in_role(look, role) == deployments.in_role(tx, role)  # type: ignore[arg-type]
        for digest in DIGESTS:
            state = deployments.latest_state(tx, digest)
            assert wanted.state_of(look, digest) == (state.id if state else "")
            assert wanted.is_release(look, digest) == (
                digest in {each.digest for each in deployments.list_releases(tx)}
            )
        assert wanted.split_in_force(look) == splits.split_in_force(tx)
        assert wanted.active_keys(look) == keys.list_keys(tx, is_active=True)
        assert wanted.count_keys(look) == len(keys.list_keys(tx, is_active=True))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(DIGESTS)), max_size=12))
def test_both_ways_of_asking_agree(tmp_path: Path, steps: list[tuple[str, str]]) -> None:
    with a_store(lambda: open_store(f"sqlite:///{tmp_path}/{new_id(NOW)}.db")) as store:
        for number, (step, digest) in enumerate(steps):
            act(store, step, digest, NOW + timedelta(seconds=number))
        assert_agrees(store)


def test_both_ways_agree_on_each_database(opener: Opener) -> None:
    with a_store(opener) as store:
        assert_agrees(store)
        for number, step in enumerate([*STEPS, *reversed(STEPS), "split", "change", "state", "key"]):
            act(store, step, DIGESTS[number % 3], NOW + timedelta(seconds=number))
            assert_agrees(store)


def test_the_keys_version_changes_with_each_change_even_at_one_instant(opener: Opener) -> None:
    with a_store(opener) as store:
        seen = set()
        for step in ("key", "key", "revoke", "key", "revoke"):
            act(store, step, "", NOW)
            with store.look() as look:
                seen.add(wanted.keys_version(look))
        assert len(seen) == 5


def test_a_look_sees_one_moment(tmp_path: Path) -> None:
    with a_store(lambda: open_store(f"sqlite:///{tmp_path}/store.db")) as store:
        with store.look() as look:
            assert wanted.in_role(look, "champion") is None
            act(store, "champion", DIGESTS[0], NOW)
            assert wanted.in_role(look, "champion") is None
        with store.look() as look:
            assert wanted.in_role(look, "champion") == DIGESTS[0]


def test_a_broken_store_is_told_and_looked_at_anew(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with a_store(lambda: open_store(f"sqlite:///{path}")) as store:
        act(store, "champion", DIGESTS[0], NOW)
        with pytest.raises(UnavailableError, match="does not answer"), store.look() as look:
            look.rows("SELECT nothing FROM nowhere")
        with store.look() as look:
            assert wanted.in_role(look, "champion") == DIGESTS[0]


@pytest.mark.parametrize("opener", ["postgresql"], indirect=True)
def test_a_connection_that_was_cut_is_made_anew(opener: Opener) -> None:
    with a_store(opener) as store:
        with store.look() as look:
            own = look.row("SELECT pg_backend_pid()")
        with store.read() as tx:
            tx.execute(text(f"SELECT pg_terminate_backend({own[0] if own else 0})"))
        with store.look() as look:
            assert wanted.in_role(look, "champion") is None


def test_no_transaction_stays_open(opener: Opener) -> None:
    with a_store(opener) as store:
        with store.look() as look:
            wanted.in_role(look, "champion")
        if store.place.is_sqlite:
            act(store, "champion", DIGESTS[0], NOW)
            with store.read() as tx:  # a reader that is left open would hold the log of changes back
                busy, *_ = tx.connection.driver_connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # type: ignore[union-attr]
            assert busy == 0
        else:
            with store.read() as tx:
                query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                assert tx.execute(text(f"{query} AND state = 'idle in transaction'")).scalar() == 0


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////srv/shop.db",
        "sqlite:///shop.db",
        "sqlite+pysqlite:////srv/shop.db",
        "postgresql+psycopg://shop",
        "postgresql+psycopg:///shop",
        "postgresql+psycopg://host/shop",
        "postgresql+psycopg://me@host:5433/shop",
        "postgresql+psycopg://me:se%40c%2Fret@host:5433/shop?sslmode=require&application_name=a+b",
        "postgresql+psycopg://me:@host/shop",
        "postgresql+psycopg://me:x@[::1]:5433/shop",
        "postgresql+psycopg:///shop?host=/run/postgresql",
        "postgresql+psycopg://me:p%25w@/shop?host=a&host=b",
    ],
)
def test_a_url_means_what_sqlalchemy_reads(url: str) -> None:
    place, parsed = place_of(url), make_url(url)
    assert (place.is_sqlite, place.database) == (parsed.get_backend_name() == "sqlite", parsed.database or "")
    assert make_url(place.shown) == make_url(parsed.render_as_string(hide_password=True))
    if place.is_sqlite:
        return
    query = {name: value for name, value in parsed.query.items() if isinstance(value, str)}
    expected = {
        "host": parsed.host,
        "port": parsed.port,
        "user": parsed.username,
        "password": parsed.password,
        "dbname": parsed.database,
    }
    fitting = {name: value or None for name, value in (expected | query).items()}
    assert {name: value or None for name, value in place.login.items()} == fitting
    assert "ret@" not in repr(place)


@pytest.mark.parametrize("url", ["shop.db", "mysterydb://x", "mysql://host/shop", "postgresql+psycopg://host:port/x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        place_of(url)
    assert (caught.value.code, caught.value.path) == ("store_url", "store.url")
