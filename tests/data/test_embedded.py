"""The data that come with Everloop are what their README says."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from everloop.data.embedded import retail_path


@pytest.fixture(scope="module")
def sales() -> pl.DataFrame:
    return pl.read_parquet(retail_path())


def test_the_columns_and_types_are_as_told(sales: pl.DataFrame) -> None:
    assert dict(sales.schema) == {
        "product": pl.String,
        "date": pl.Date,
        "units": pl.Int32,
        "price": pl.Float64,
    }
    assert sum(sales.null_count().row(0)) == 0


def test_the_file_is_small() -> None:
    assert retail_path().stat().st_size < 1_000_000


def test_both_years_are_there_without_saturdays(sales: pl.DataFrame) -> None:
    assert (sales["date"].min(), sales["date"].max()) == (date(2009, 12, 1), date(2011, 12, 9))
    assert sales["date"].n_unique() == 603
    assert 6 not in sales["date"].dt.weekday().unique()


def test_a_product_has_one_row_for_each_trading_day_of_its_span(sales: pl.DataFrame) -> None:
    assert sales["product"].n_unique() == 120
    assert not sales.select("product", "date").is_duplicated().any()
    days = sales["date"].unique().sort()
    spans = sales.group_by("product").agg(
        pl.col("date").min().alias("first"), pl.col("date").max().alias("last"), pl.len()
    )
    for first, last, rows in spans.select("first", "last", "len").iter_rows():
        assert rows == days.is_between(first, last).sum()


def test_spans_begin_and_end_with_a_sale_and_prices_are_positive(sales: pl.DataFrame) -> None:
    ends = (
        sales.sort("date")
        .group_by("product")
        .agg(pl.col("units").first().alias("a"), pl.col("units").last().alias("b"))
    )
    assert (ends.select(pl.min_horizontal("a", "b")).to_series() > 0).all()
    assert (sales["units"] >= 0).all()
    assert (sales["price"] > 0).all()


def test_the_days_of_both_sheets_are_counted_once(sales: pl.DataFrame) -> None:
    """Counted twice, the nine days of the overlap would stand out by a factor of two."""
    daily = sales.group_by("date").agg(pl.col("units").sum()).sort("date")
    overlap = daily.filter(pl.col("date").is_between(date(2010, 12, 1), date(2010, 12, 9)))["units"].mean()
    before = daily.filter(pl.col("date").is_between(date(2010, 11, 21), date(2010, 11, 30)))["units"].mean()
    assert overlap < 1.5 * before


def test_no_single_day_carries_a_product(sales: pl.DataFrame) -> None:
    share = sales.group_by("product").agg((pl.col("units").max() / pl.col("units").sum()).alias("share"))
    assert share["share"].max() < 0.15


def test_known_days(sales: pl.DataFrame) -> None:
    """Counted apart from the script, line by line with the standard library's csv."""
    found = {(row[0], row[1]): row[2:] for row in sales.iter_rows()}
    assert found["85123A", date(2010, 12, 1)] == (454, 2.55)
    assert found["22423", date(2010, 12, 1)] == (115, 12.75)
    assert found["22423", date(2011, 6, 1)] == (16, 12.75)
    assert found["85123A", date(2011, 6, 1)] == (29, 2.95)
