"""The panel beside a naive one, at earlier cutoffs, with planted leaks, on every kind of grid; the truth beside SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import DataError
from everloop.core.project import Project
from everloop.data import table_files
from everloop.data.ingest import ingest, ingest_frame
from everloop.data.loading import load_panel, truth
from everloop.data.panel import Panel, join_key

Make = Callable[..., Project]
Sales = Callable[..., pl.DataFrame]


def filled(make_project: Make, clock: ManualClock, frame: pl.DataFrame, name: str = "p", **data: Any) -> Project:
    project = make_project(name=name, **data)
    frame.write_parquet(project.root / "sales.parquet")
    ingest(project, clock, source="sales.parquet")
    return project


def naive(frame: pl.DataFrame, series: list[str], cutoff: date, column: str) -> dict[tuple[str, ...], list[Any]]:
    """A column by series, from the first day with a target to the cutoff, ``None`` where there is no row."""
    known = {(tuple(map(str, row[:-2])), row[-2]): row[-1] for row in frame.select(*series, "date", column).rows()}
    told = {
        (tuple(map(str, row[:-2])), row[-2])
        for row in frame.select(*series, "date", "units").rows()
        if row[-1] is not None
    }
    out = {}
    for key in sorted({key for key, day in told if day <= cutoff}):
        day = min(day for each, day in told if each == key)
        values = []
        while day <= cutoff:
            values.append(known.get((key, day)))
            day += timedelta(days=1)
        out[key] = values
    return out


def series_of(panel: Panel, values: Any, name: str) -> dict[tuple[str, ...], list[Any]]:
    """A column of a panel in the form of :func:`naive`; codes become texts again."""
    labels = panel.categories.get(name)
    return {
        key: [
            None if np.isnan(each) else labels[int(each)] if labels else each
            for each in values[panel.offsets[place] : panel.offsets[place + 1]].tolist()
        ]
        for place, key in enumerate(panel.keys)
    }


def same(left: dict[Any, list[Any]], right: dict[Any, list[Any]]) -> bool:
    return list(left) == list(right) and all(
        len(left[key]) == len(right[key])
        and all(a == b or np.float32(a) == np.float32(b) for a, b in zip(left[key], right[key], strict=True))
        for key in left
    )


def panels_equal(left: Panel, right: Panel) -> None:
    assert (left.keys, left.cutoff, left.frequency) == (right.keys, right.cutoff, right.frequency)
    np.testing.assert_array_equal(left.offsets, right.offsets)
    np.testing.assert_array_equal(left.y, right.y)
    assert left.categories == right.categories
    for part in ("known", "observed", "static"):
        assert getattr(left, part).keys() == getattr(right, part).keys()
        for name, values in getattr(left, part).items():
            np.testing.assert_array_equal(values, getattr(right, part)[name], err_msg=name)
    assert left.future.steps == right.future.steps
    for name, values in left.future.columns.items():
        np.testing.assert_array_equal(values, right.future.columns[name], err_msg=name)


@pytest.mark.parametrize("observed", [[], ["price"]])
def test_the_panel_is_what_a_naive_reading_gives(
    make_project: Make, sales: Sales, clock: ManualClock, observed: list[str]
) -> None:
    frame = sales()
    known = [name for name in ("price", "event") if name not in observed]
    project = filled(
        make_project, clock, frame.sample(fraction=1, shuffle=True, seed=3), known_ahead=known, observed=observed
    )
    panel, version = load_panel(project, horizon=7)
    end = frame["date"].max()
    assert isinstance(end, date)
    assert version.rows == frame.height
    assert panel.y.dtype == np.float32
    assert same(series_of(panel, panel.y, "units"), naive(frame, ["shop", "item"], end, "units"))
    for name in ("price", "event"):
        values = panel.observed[name] if name in observed else panel.known[name]
        assert same(series_of(panel, values, name), naive(frame, ["shop", "item"], end, name))
    kinds = [panel.categories["kind"][int(code)] for code in panel.static["kind"]]
    assert kinds == ["toys" if key[1] == "z" else "food" for key in panel.keys]
    assert panel.categories["event"] == ("Ostern", "fair", "none")
    assert panel.future.steps == 7
    assert all(np.isnan(values).all() for values in panel.future.columns.values())


def test_a_table_read_in_small_batches_is_the_same_panel(
    make_project: Make, sales: Sales, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = filled(
        make_project, clock, sales().sample(fraction=1, shuffle=True, seed=3), known_ahead=["event"], observed=["price"]
    )
    cutoff = datetime(2024, 4, 20, tzinfo=UTC)
    at_once, _ = load_panel(project, cutoff=cutoff, horizon=7)
    monkeypatch.setattr(table_files, "ROWS_IN_PART", 11)
    monkeypatch.setattr(table_files, "_BYTES_AT_ONCE", 0)
    in_batches, _ = load_panel(project, cutoff=cutoff, horizon=7)
    panels_equal(in_batches, at_once)


@pytest.mark.parametrize(("day", "horizon"), [(10, 7), (25, 7), (58, 7), (59, 7), (40, 1)])
def test_an_earlier_cutoff_is_the_later_panel_cut(
    make_project: Make, sales: Sales, clock: ManualClock, day: int, horizon: int
) -> None:
    project = filled(make_project, clock, sales())
    cutoff = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=day)
    whole, _ = load_panel(project, horizon=horizon)
    early, _ = load_panel(project, cutoff=cutoff, horizon=horizon)
    cut = whole.until(early.cutoff, horizon=horizon)
    if cut.future.steps < horizon:  # nothing is known after the last row: the panel cut ends there
        steps = cut.future.steps
        assert all(np.isnan(values[:, steps:]).all() for values in early.future.columns.values())
    assert (early.keys, early.cutoff) == (cut.keys, cut.cutoff)
    np.testing.assert_array_equal(early.y, cut.y)
    for name, values in early.known.items():
        np.testing.assert_array_equal(values, cut.known[name])
        np.testing.assert_array_equal(early.future.columns[name][:, : cut.future.steps], cut.future.columns[name])


def test_planted_rows_of_the_future_do_not_leak(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    """After the cutoff targets, observed values, statics and whole series are replaced by nonsense."""
    frame = sales().with_columns(pl.col("units").alias("visits"))
    cutoff = date(2024, 4, 10)
    late = pl.col("date") > cutoff
    poisoned = frame.with_columns(
        pl.when(late).then(-1.0e6).otherwise(pl.col("units")).alias("units"),
        pl.when(late).then(9.9e6).otherwise(pl.col("visits")).alias("visits"),
        pl.when(late).then(pl.lit("poison")).otherwise(pl.col("kind")).alias("kind"),
    )
    planted = poisoned.filter(late, pl.col("shop") == "a").with_columns(pl.lit("0-new").alias("shop"))
    contract = {"negative_target": "accept"}
    made = {}
    for name, rows in (("clean", frame), ("poisoned", pl.concat([poisoned, planted]))):
        project = filled(make_project, clock, rows, name=name, observed=["visits"], contract=contract)
        made[name], _ = load_panel(project, cutoff=datetime(2024, 4, 10, tzinfo=UTC), horizon=7)
    panels_equal(made["poisoned"], made["clean"])


def test_a_shorter_history_is_the_tail(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    frame = sales()
    project = filled(make_project, clock, frame)
    short, _ = load_panel(project, history=20, horizon=7)
    start = date(2024, 4, 30) - timedelta(days=20)
    recent = frame.filter(pl.col("date") >= start)
    assert same(series_of(short, short.y, "units"), naive(recent, ["shop", "item"], date(2024, 4, 29), "units"))
    assert short.lengths.max() <= 20


def test_future_values_come_from_rows_without_target_and_from_the_second_source(
    make_project: Make, sales: Sales, clock: ManualClock
) -> None:
    frame = sales()
    project = make_project(source="sales.parquet", future_source="ahead.csv")
    keys = list(product(("a", "b/1"), "xyz"))
    open_rows = pl.DataFrame(
        [(shop, item, date(2024, 6, 2), None, 7.5, "fair", None) for shop, item in keys],
        schema=frame.schema,
        orient="row",
    )
    base = frame.with_columns(pl.col("date") + timedelta(days=33))  # the last day is the clock's present, 1 June
    pl.concat([base, open_rows]).write_parquet(project.root / "sales.parquet")
    ahead = [
        (shop, item, f"2024-06-0{day}", 1.0 + day, "fest" if day == 4 else "none")
        for shop, item in keys
        for day in (3, 4)
    ]
    pl.DataFrame(ahead, schema=["shop", "item", "date", "price", "event"], orient="row").write_csv(
        project.root / "ahead.csv"
    )
    ingest(project, clock)
    panel, _ = load_panel(project, horizon=5)
    assert panel.frequency.label(panel.frequency.times(np.array([panel.cutoff]))[0]) == "2024-06-01"
    np.testing.assert_array_equal(panel.future.columns["price"], np.tile([7.5, 4, 5, np.nan, np.nan], (6, 1)))
    codes = panel.future.columns["event"][0, :3]
    assert [panel.categories["event"][int(code)] for code in codes] == ["fair", "none", "fest"]


def test_a_missing_value_ahead_is_an_error_where_the_settings_say_so(
    make_project: Make, sales: Sales, clock: ManualClock
) -> None:
    project = filled(make_project, clock, sales(), missing_ahead="error")
    with pytest.raises(DataError, match="'price' of series 'a/x' is not known for 2024-04-30"):
        load_panel(project, horizon=7)


def test_the_second_source_takes_nothing_from_the_past(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    frame = sales()
    project = make_project(source="sales.parquet", future_source="ahead.parquet")
    frame.write_parquet(project.root / "sales.parquet")
    plan = frame.select("shop", "item", "date", (pl.col("price") + 100).alias("price"), pl.lit("fair").alias("event"))
    gone = pl.DataFrame({"shop": ["a"], "item": ["x"], "date": [date(2024, 3, 1) - timedelta(days=3)], "price": [1.0]})
    pl.concat([plan, gone.with_columns(pl.lit("fair").alias("event"))]).write_parquet(project.root / "ahead.parquet")
    ingest(project, clock)
    panel, _ = load_panel(project, horizon=7)
    alone = filled(make_project, clock, frame, name="alone")
    expected, _ = load_panel(alone, horizon=7)
    np.testing.assert_array_equal(panel.y, expected.y)
    has_row = ~np.isnan(expected.known["price"])
    np.testing.assert_array_equal(panel.known["price"][has_row], expected.known["price"][has_row])


@pytest.mark.parametrize(
    ("frequency", "every", "first"),
    [
        ("1w", "1w", datetime(2023, 1, 4, tzinfo=UTC)),
        ("1mo", "1mo", datetime(2022, 2, 1, tzinfo=UTC)),
        ("1h", "1h", datetime(2024, 5, 1, 5, tzinfo=UTC)),
        ("15min", "15m", datetime(2024, 5, 30, 5, 15, tzinfo=UTC)),
        ("2d", "2d", datetime(2024, 1, 2, tzinfo=UTC)),
    ],
)
def test_other_grids(make_project: Make, clock: ManualClock, frequency: str, every: str, first: datetime) -> None:
    times = pl.datetime_range(first, first + timedelta(days=800), every, eager=True).head(25)
    frame = pl.DataFrame({"shop": "a", "date": times, "units": np.arange(25.0)}).filter(pl.col("units") != 7)
    project = filled(make_project, clock, frame, frequency=frequency, series=["shop"], known_ahead=[], static=[])
    panel, _ = load_panel(project, horizon=3)
    np.testing.assert_array_equal(panel.y, [np.nan if value == 7 else value for value in range(25)])
    found = panel.frequency.times(panel.index_of_rows())
    np.testing.assert_array_equal(found, times.dt.replace_time_zone(None).to_numpy())


def test_a_version_of_the_past_gives_its_own_panel(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    frame = sales()
    project = filled(make_project, clock, frame)
    before, first = load_panel(project, horizon=7)
    told = frame.select("shop", "item", "date", pl.lit(99.0).alias("units"))
    ingest_frame(project, clock, told, label="outcomes")
    after, second = load_panel(project, horizon=7)
    again, _ = load_panel(project, version=first.version, horizon=7)
    panels_equal(again, before)
    assert (first.version, second.version) == (0, 1)
    assert set(after.y[~np.isnan(after.y)]) == {99}


def test_no_data_and_too_early_cutoffs_are_said(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    with pytest.raises(DataError) as caught:
        load_panel(make_project(), horizon=7)
    assert caught.value.code == "no_data"
    project = filled(make_project, clock, sales())
    with pytest.raises(DataError) as caught:
        load_panel(project, cutoff=datetime(2020, 1, 1, tzinfo=UTC), horizon=7)
    assert caught.value.code == "no_history"


def test_the_truth_beside_sql(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    frame = sales()
    project = filled(make_project, clock, frame)
    later = clock.now() + timedelta(days=1)
    told = frame.tail(5).select("shop", "item", "date", pl.col("units") + 1)
    ingest_frame(project, ManualClock(later), told, label="outcomes")
    since = datetime(2024, 4, 15, tzinfo=UTC)
    found = truth(project, since=since)
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE sales (shop TEXT, item TEXT, date TEXT, units REAL)")
        rows = frame.select("shop", "item", pl.col("date").cast(pl.String), "units").rows()
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?)", rows)
        for shop, item, day, units in told.with_columns(pl.col("date").cast(pl.String)).rows():
            connection.execute(
                "UPDATE sales SET units = ? WHERE shop = ? AND item = ? AND date = ?", (units, shop, item, day)
            )
        expected = connection.execute("SELECT * FROM sales WHERE date >= '2024-04-15'").fetchall()
    connection.close()
    assert {(row[0], row[1].date().isoformat(), row[2]) for row in found.rows()} == {
        (join_key((shop, item)), day, units) for shop, item, day, units in expected
    }
    corrected = found.filter(pl.col("ingested_at") == later.replace(tzinfo=None))
    assert corrected.height == 5
    assert (corrected["known_at"] == clock.now().replace(tzinfo=None)).all()
    assert truth(make_project(name="none"), since=since).is_empty()
