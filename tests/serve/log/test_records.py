"""Instants as text: fast, and the same as the store's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from everloop.serve.log.records import instant_text
from everloop.store.schema import Instant

ZONES = [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=9, seconds=1))]
ANY = st.datetimes(timezones=st.just(UTC)).filter(lambda instant: 1900 < instant.year < 9000)
NEAR = st.builds(
    lambda second, micros: datetime(2026, 5, 4, 3, 0, second, micros, tzinfo=UTC),
    st.integers(0, 2),
    st.sampled_from([0, 1, 499_999, 999_998, 999_999]),
)
FIRST = st.builds(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros),
    st.integers(-3_000_000, 3_000_000),
)


@given(st.lists(st.tuples(ANY | NEAR | FIRST, st.sampled_from(ZONES)), max_size=20))
def test_instants_read_as_the_store_writes_them(instants: list[tuple[datetime, timezone]]) -> None:
    written = Instant()
    for moment, zone in instants:
        instant = moment.astimezone(zone)
        assert instant_text(instant) == written.process_bind_param(instant, None)  # type: ignore[arg-type]
