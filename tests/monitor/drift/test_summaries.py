"""Summaries say what the rows say, add up, and survive being kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.core.errors import IntegrityError
from everloop.monitor.drift.summaries import ALL, Summary, join_summaries
from everloop.monitor.drift.tables import Watched, period_of, summarize_rows

WATCHED = Watched(("x", "kind"), frozenset({"kind"}), "shop", 2, "at", 1)
START = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def frame_of(rows: list[tuple[int, str, float | None, str | None]]) -> pl.DataFrame:
    schema = {"day": pl.Int64, "shop": pl.String, "x": pl.Float64, "kind": pl.String}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns((pl.lit(START) + pl.duration(days=pl.col("day"))).cast(pl.Datetime("us")).alias("at"))


row = st.tuples(
    st.integers(0, 6),
    st.sampled_from(["a", "b", "c"]),
    st.none() | st.just(float("nan")) | st.floats(-1e6, 1e6),
    st.sampled_from(["red", "blue", None]),
)


@given(st.lists(row, min_size=1, max_size=60))
def test_moments_and_counts_are_those_of_the_rows(rows: list[tuple[int, str, float | None, str | None]]) -> None:
    summary = summarize_rows(frame_of(rows), WATCHED)
    first = (START - datetime(1970, 1, 1)).days  # noqa: DTZ001  # both are naive
    assert summary.periods.tolist() == sorted({first + day for day, *_ in rows})
    for place, period in enumerate(summary.periods.tolist()):
        own = [each for each in rows if first + each[0] == period]
        known = np.arcsinh([x for _, _, x, _ in own if x is not None and np.isfinite(x)])
        moments = summary.numbers["x", ALL]
        assert moments.rows[place] == len(own)
        assert moments.known[place] == len(known)
        assert moments.total[place] == pytest.approx(known.sum(), abs=1e-9)
        if len(known) >= 2:
            assert moments.spread[place] == pytest.approx(known.std(ddof=1), rel=1e-6, abs=1e-4)
        counts = summary.categories["kind"]
        for number, name in enumerate(counts.names):
            assert counts.counts[place, number] == sum(kind == name for *_, kind in own)
        assert counts.rows[place] == len(own)


@given(st.lists(row, min_size=2, max_size=40), st.integers(1, 39))
def test_parts_add_up_in_any_order(rows: list[tuple[int, str, float | None, str | None]], cut: int) -> None:
    whole = summarize_rows(frame_of(rows), WATCHED)
    parts = [summarize_rows(frame_of(part), WATCHED) for part in (rows[:cut], rows[cut:]) if part]
    for joined in (join_summaries(parts), join_summaries(reversed(parts))):
        assert joined.periods.tolist() == whole.periods.tolist()
        for mine, other in zip(
            (joined.numbers["x", ALL].total, joined.categories["kind"].counts),
            (whole.numbers["x", ALL].total, whole.categories["kind"].counts),
            strict=True,
        ):
            np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-6)


@given(st.lists(row, min_size=1, max_size=40))
def test_a_summary_is_kept_bit_for_bit(rows: list[tuple[int, str, float | None, str | None]]) -> None:
    summary = summarize_rows(frame_of(rows), WATCHED)
    again = Summary.unpack(summary.pack())
    assert again.pack() == summary.pack()
    assert again.numbers.keys() == summary.numbers.keys()
    np.testing.assert_array_equal(again.numbers["x", ALL].squares, summary.numbers["x", ALL].squares)


def test_what_is_no_summary_is_refused() -> None:
    with pytest.raises(IntegrityError) as caught:
        Summary.unpack(b"no summary")
    assert caught.value.code == "drift_summary"


def test_the_largest_groups_are_kept() -> None:
    rows = [
        (day, shop, 1.0, None)
        for day in range(3)
        for shop, times in (("a", 1), ("b", 3), ("c", 2))
        for _ in range(times)
    ]
    summary = summarize_rows(frame_of(rows), WATCHED)
    assert {group for column, group in summary.numbers if column == "x"} == {ALL, "b", "c"}


def test_an_identifier_is_no_category() -> None:
    rows = [(0, "a", 1.0, f"order {number}") for number in range(300)]
    summary = summarize_rows(frame_of(rows), WATCHED)
    assert "kind" not in summary.categories
    assert summary.numbers["kind", ALL].known.tolist() == [300]


def test_weeks_begin_on_monday() -> None:
    monday = (datetime(2024, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
    for offset in range(14):
        day = monday + offset
        assert period_of(day, 7) == monday + 7 * (offset // 7)
        assert (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=period_of(day, 7))).weekday() == 0
