"""Outcomes of rows and measurements on PostgreSQL, in the order in which they were told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, make_url, text

from everloop.store.engine import Store, open_store
from everloop.store.measurements import Measurement, add_measurements, measurements_between
from everloop.store.row_outcomes import RowOutcome, add_row_outcomes, row_outcomes_after

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS truth"))
        connection.execute(text("CREATE DATABASE truth"))
    engine.dispose()
    opened = open_store(make_url(postgres_url).set(database="truth").render_as_string(hide_password=False))
    yield opened
    opened.close()


def test_the_order_of_telling_is_kept(store: Store) -> None:
    told = [RowOutcome(NOW, "p", 0, float(each), None, None, "test") for each in (3, 4, 3, 5)]
    with store.write() as tx:
        assert add_row_outcomes(tx, told) == 4
        assert add_row_outcomes(tx, told) == 0
    with store.read() as tx:
        assert [each.value for each in row_outcomes_after(tx, 0)] == [3, 4, 3, 5]
    extreme = [
        Measurement(NOW, "u", "m", NOW + timedelta(days=day), value, "test")
        for day, value in enumerate((5e-324, 1e308))
    ]
    with store.write() as tx:
        assert add_measurements(tx, extreme) == 2
    with store.read() as tx:
        assert [each.value for each in measurements_between(tx, NOW, NOW + timedelta(days=9))] == [5e-324, 1e308]
