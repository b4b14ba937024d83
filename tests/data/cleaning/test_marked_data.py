"""Marks on the way from the table: what is read, what judges live forecasts, what a run and a person are told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.project import Project
from everloop.data.cleaning.listing import stretches
from everloop.data.ingest import ingest
from everloop.data.loading import load_panel, unscored

Make = Callable[..., Project]
DAYS = 700
FIRST = date(2022, 7, 1)


def sold(seed: int = 4) -> pl.DataFrame:
    """Sales of twenty items in one shop; item 3 is out of stock at the end, item 5 in between; Christmas is closed."""
    random = np.random.default_rng(seed)
    rows = []
    for item in range(20):
        begin = 640 if item == 7 else 0
        for day in range(begin, DAYS):
            at = FIRST + timedelta(days=day)
            out = (item == 3 and day >= DAYS - 9) or (item == 5 and 500 <= day < 515)
            count = 0 if out or (at.month, at.day) == (12, 25) else int(random.poisson(7))
            rows.append(("a", f"i{item:02d}", at, float(count), 2.0, 0 if item == 5 and 500 <= day < 515 else 1))
    names = ["shop", "item", "date", "units", "price", "stock"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.lit("none").alias("event"), pl.lit("food").alias("kind")
    )


@pytest.fixture
def filled(make_project: Make, clock: ManualClock) -> Callable[..., Project]:
    def make(**cleaning: Any) -> Project:
        project = make_project(cleaning=cleaning)
        sold().write_parquet(project.root / "sales.parquet")
        ingest(project, clock, source="sales.parquet")
        return project

    return make


def test_nothing_is_marked_where_nothing_is_treated(filled: Callable[..., Project]) -> None:
    panel, _ = load_panel(filled(), horizon=7)
    assert panel.marks is None
    assert unscored(filled(), since=datetime(2024, 1, 1, tzinfo=UTC)).is_empty()


def test_training_and_the_live_state_see_the_same_marks(filled: Callable[..., Project]) -> None:
    """The state of a release is made of a tail of the data; its values are those of the whole."""
    project = filled(inferred_stock_outs="impute", closed_days="leave_out", stock_column="stock")
    whole, _ = load_panel(project, horizon=7)
    for history in (10, 80, 200, 690):
        tail, _ = load_panel(project, history=history, horizon=7)
        expected = whole.since(whole.cutoff - history + 1)
        assert tail.keys == expected.keys
        assert np.array_equal(tail.offsets, expected.offsets)
        assert np.array_equal(tail.y, expected.y, equal_nan=True)
        assert np.array_equal(tail.scored(), expected.scored(), equal_nan=True)
    assert whole.marks is not None
    assert whole.marks.counts() == {"closed_day": 38, "stock_out": 15, "inferred_stock_out": 9}
    assert "stock" in whole.observed


def test_since_is_reading_from_then_on(filled: Callable[..., Project]) -> None:
    project = filled()
    whole, _ = load_panel(project, horizon=7)
    for history in (1, 30, 61, 300):
        read, _ = load_panel(project, history=history, horizon=7)
        cut = whole.since(whole.cutoff - history + 1)
        assert read.keys == cut.keys
        assert np.array_equal(read.y, cut.y, equal_nan=True)
        assert np.array_equal(read.offsets, cut.offsets)
        assert np.array_equal(read.known["price"], cut.known["price"], equal_nan=True)
        assert np.array_equal(read.future.columns["price"], cut.future.columns["price"], equal_nan=True)


def test_live_truth_leaves_out_what_training_leaves_out(filled: Callable[..., Project]) -> None:
    project = filled(inferred_stock_outs="leave_out", stock_column="stock")
    since = datetime(2024, 5, 1, tzinfo=UTC)
    frame = unscored(project, since=since)
    expected = {
        ("a/i03", datetime.combine(FIRST, datetime.min.time()) + timedelta(days=DAYS - back)) for back in range(1, 10)
    }
    assert set(frame.iter_rows()) == expected
    earlier = unscored(project, since=datetime(2023, 11, 1, tzinfo=UTC))
    assert set(earlier.filter(pl.col("series") == "a/i05")["time"].dt.date()) == {
        FIRST + timedelta(days=day) for day in range(500, 515)
    }


def test_stretches_are_listed_newest_first(filled: Callable[..., Project]) -> None:
    panel, _ = load_panel(filled(inferred_stock_outs="leave_out", closed_days="leave_out"), horizon=7)
    listed, total = stretches(panel, kinds=("inferred_stock_out",))
    assert total == 2
    newest, older = listed
    assert (newest.series, newest.periods, newest.observed) == ("a/i03", 9, 0.0)
    assert newest.last == panel.frequency.label(panel.frequency.times(np.array([panel.cutoff]))[0])
    assert (older.series, older.periods) == ("a/i05", 15)
    assert newest.usual == pytest.approx(7, abs=2)
    assert stretches(panel, series="a/i05", limit=1)[0][0].first == "2023-12-25"
    assert stretches(panel, kinds=("return",)) == ([], 0)
