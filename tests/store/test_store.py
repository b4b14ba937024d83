from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from everloop.core.errors import ConflictError, NotFoundError, SettingsError, UnavailableError
from everloop.core.ids import new_id
from everloop.store.deployments import (
    ReleaseRow,
    StateRow,
    add_release,
    add_state,
    deploy,
    find_release,
    in_role,
    latest_state,
)
from everloop.store.engine import REVISION, Store, open_store
from everloop.store.events import list_events, record_event
from everloop.store.facts import (
    Outcome,
    Prediction,
    add_outcomes,
    add_predictions,
    find_prediction,
    outcomes_since,
    predictions_reaching,
)
from everloop.store.leases import acquire_lease, check_lease, release_lease
from everloop.store.marks import get_mark, set_mark
from everloop.store.schema import metadata
from everloop.store.trials import decide_trial, list_trials, open_trial, start_trial
from everloop.store.values import ForecastValues

NOW = datetime(2011, 12, 9, 3, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store, on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/store.db"
    else:
        # a database of its own: other tests fill the session's with their tables
        server = make_url(request.getfixturevalue("postgres_url"))
        name = f"store_{new_id(NOW)[-12:]}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = server.set(database=name).render_as_string(hide_password=False)
    opened = open_store(url)
    yield opened
    opened.close()


def release(digest: str) -> ReleaseRow:
    return ReleaseRow(digest, "m" * 64, "lightgbm", "run", 3, "d" * 64, NOW, NOW, {"wape": 0.5}, [{"code": "bias"}])


def prediction(at: datetime, last: datetime) -> Prediction:
    values = ForecastValues(("a",), np.array([0]), np.array([[1.5]]))
    return Prediction(new_id(at), at, "r", "", "champion", "forecast", None, at, last, b"{}", values.pack())


def test_opening_twice_keeps_what_is_there(store: Store) -> None:
    with store.write() as tx:
        set_mark(tx, "ingest", {"version": 3}, at=NOW)
    again = open_store(store.engine.url.render_as_string(hide_password=False))
    with again.read() as tx:
        assert get_mark(tx, "ingest") == {"version": 3}
        assert tx.execute(text("SELECT version_num FROM alembic_version")).scalar() == REVISION
    again.close()


def test_the_migrations_make_the_schema_that_the_code_declares(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx), metadata) == []


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def half_a_promotion() -> None:
        with store.write() as tx:
            record_event(tx, NOW, "promoted", "half a promotion", actor="test")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_a_promotion()
    with store.read() as tx:
        assert list_events(tx) == []


def test_events_come_back_in_order_with_their_evidence(store: Store) -> None:
    with store.write() as tx:
        for day in range(5):
            record_event(tx, NOW + timedelta(days=day), "tick", f"day {day}", actor="loop", evidence={"day": day})
        record_event(tx, NOW, "promoted", "a release", actor="loop")
    with store.read() as tx:
        assert [event.evidence["day"] for event in list_events(tx, kinds=("tick",), limit=3)] == [2, 3, 4]
        assert list_events(tx, kinds=("promoted",))[0].at == NOW


def test_roles_follow_the_last_deployment(store: Store) -> None:
    first, second = "a" * 64, "b" * 64
    with store.write() as tx:
        assert in_role(tx, "champion") is None
        for digest in (first, second, first):
            add_release(tx, release(digest))
        deploy(tx, "champion", first, at=NOW, reason="first")
        deploy(tx, "champion", second, at=NOW, reason="better")
    with store.read() as tx:
        assert find_release(tx, "champion").digest == second
        assert find_release(tx, "aaaa") == release(first)
        with pytest.raises(NotFoundError, match="no release"):
            find_release(tx, "cccc")
        with pytest.raises(NotFoundError, match="no challenger"):
            find_release(tx, "challenger")


def test_the_latest_state_of_a_release(store: Store) -> None:
    with store.write() as tx:
        assert latest_state(tx, "r") is None
        for version in (1, 2):
            add_state(tx, StateRow(f"s{version}", "r", version, "d" * 64, NOW, NOW))
            add_state(tx, StateRow(f"s{version}", "r", version, "d" * 64, NOW, NOW))
    with store.read() as tx:
        state = latest_state(tx, "r")
    assert state is not None
    assert state.id == "s2"


def test_predictions_are_found_by_id_and_by_what_they_reach(store: Store) -> None:
    old, new = prediction(NOW, NOW + timedelta(days=2)), prediction(NOW, NOW + timedelta(days=9))
    with store.write() as tx:
        add_predictions(tx, [old, new])
    with store.read() as tx:
        assert find_prediction(tx, old.id) == old
        assert [each.id for each in predictions_reaching(tx, NOW + timedelta(days=5))] == [new.id]
        with pytest.raises(NotFoundError):
            find_prediction(tx, "nothing")


def test_the_same_outcome_twice_is_stored_once(store: Store) -> None:
    def outcome(value: float) -> Outcome:
        return Outcome(Outcome.content_id("a", NOW, value, None), NOW, None, "a", NOW, value, "test")

    with store.write() as tx:
        assert add_outcomes(tx, [outcome(1.0), outcome(1.0)]) == 1
        assert add_outcomes(tx, [outcome(1.0), outcome(2.0)]) == 1
    with store.read() as tx:
        assert [each.value for each in outcomes_since(tx, NOW)] == [1.0, 2.0]


def test_one_of_many_holds_the_lease(store: Store) -> None:
    with store.write() as tx:
        first = acquire_lease(tx, "loop", "a", now=NOW, seconds=60)
    with pytest.raises(ConflictError), store.write() as tx:
        acquire_lease(tx, "loop", "b", now=NOW + timedelta(seconds=59), seconds=60)
    with store.write() as tx:
        assert acquire_lease(tx, "loop", "a", now=NOW + timedelta(seconds=30), seconds=60).fence == first.fence
        second = acquire_lease(tx, "loop", "b", now=NOW + timedelta(seconds=91), seconds=60)
        with pytest.raises(ConflictError):
            check_lease(tx, first)
        check_lease(tx, second)
        release_lease(tx, second)
        assert acquire_lease(tx, "loop", "c", now=NOW + timedelta(seconds=92), seconds=60).fence > second.fence


def test_a_trial_is_decided_once(store: Store) -> None:
    with store.write() as tx:
        start_trial(tx, "b", "a", at=NOW)
        trial = open_trial(tx)
        assert trial is not None
        decide_trial(tx, trial, "keep", {"n": 3}, at=NOW)
        decide_trial(tx, trial, "promote", {"n": 4}, at=NOW)
        assert open_trial(tx) is None
        assert [(each.decision, each.evidence) for each in list_trials(tx)] == [("keep", {"n": 3})]


@pytest.mark.parametrize("url", ["nonsense", "mysterydb://x"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        open_store(url)


def test_a_database_that_is_away_is_said_to_be_away() -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        open_store("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=1")


def test_values_keep_every_bit() -> None:
    rng = np.random.default_rng(7)
    mean = rng.normal(size=(40, 28))
    mean[0, 0] = np.nan
    values = ForecastValues(
        tuple(f"s{i}" for i in range(40)),
        np.arange(28) * 86_400_000_000,
        mean,
        {80.0: mean - 1},
        {80.0: mean + 1},
        ("n",),
    )
    back = ForecastValues.unpack(values.pack())
    assert back.equals(values)
    assert back.mean.tobytes() == mean.tobytes()
    assert not back.equals(ForecastValues(values.series, values.times, mean + 1e-12))
