"""Each rule of the contract, the quarantine, and what becomes of an ingestion with too many bad rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import DataError
from everloop.core.project import Project
from everloop.data import table
from everloop.data.ingest import IngestResult, ingest, ingest_frame

Make = Callable[..., Project]
Sales = Callable[..., pl.DataFrame]
GOOD = {"shop": "a", "item": "x", "date": "2024-02-01", "units": "3", "price": "1.5", "event": "none", "kind": "food"}


def quarantined(project: Project) -> pl.DataFrame:
    (file,) = project.quarantine.glob("*.parquet")
    return pl.read_parquet(file)


def take(project: Project, clock: ManualClock, frame: pl.DataFrame, *rows: dict[str, Any]) -> IngestResult:
    """Ingest good sales and some rows that are like ``GOOD`` but for what they say."""
    texts = frame.select(pl.all().cast(pl.String))
    extra = pl.DataFrame([{**GOOD, **row} for row in rows], schema=dict.fromkeys(GOOD, pl.String))
    pl.concat([texts, extra]).write_csv(project.root / "sales.csv")
    return ingest(project, clock)


@pytest.mark.parametrize(
    ("row", "reasons"),
    [
        ({"units": "three"}, ["type:units"]),
        ({"price": "1,5"}, ["type:price"]),
        ({"date": "01.02.2024"}, ["type:date"]),
        ({"units": "inf"}, ["type:units"]),
        ({"units": None}, ["empty:units"]),
        ({"item": "  "}, ["empty:item"]),
        ({"date": None}, ["empty:date"]),
        ({"event": None}, ["empty:event"]),
        ({"units": "-2"}, ["negative:units"]),
        ({"price": "1000"}, ["range:price"]),
        ({"price": "0.001"}, ["range:price"]),
        ({"units": "2.5"}, ["type:units"]),
        ({"date": "2024-02-01T05:30"}, ["off_grid"]),
        ({"date": "2024-06-02"}, ["future"]),
        ({"units": "-2", "price": "1000"}, ["negative:units", "range:price"]),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reasons(
    make_project: Make, sales: Sales, clock: ManualClock, row: dict[str, Any], reasons: list[str]
) -> None:
    contract = {"ranges": {"price": [0.01, 100]}, "types": {"units": "integer"}, "required": ["event"]}
    project = make_project(contract)
    good = sales()
    result = take(project, clock, good, row)
    assert (result.added, result.quarantined) == (good.height, 1)
    assert result.reasons == dict.fromkeys(reasons, 1)
    bad = quarantined(project)
    assert sorted(bad["_reasons"][0]) == sorted(reasons)
    said = {name: value for name, value in {**GOOD, **row}.items() if value is None or value.strip()}
    assert {name: bad[name][0] for name in said} == said


def test_unknown_series_are_accepted_first_and_refused_later(
    make_project: Make, sales: Sales, clock: ManualClock
) -> None:
    project = make_project({"unknown_series": "quarantine"})
    assert take(project, clock, sales()).quarantined == 0
    result = take(project, clock, sales(), {"shop": "new"})
    assert result.reasons == {"unknown_series": 1}
    assert table.read(project.table)["shop"].unique().sort().to_list() == ["a", "b/1"]


def test_what_is_accepted_by_the_settings_is_no_fault(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    project = make_project({"negative_target": "accept", "future_rows": "accept"})
    result = take(project, clock, sales(), {"units": "-2"}, {"date": "2024-06-02"})
    assert result.quarantined == 0


def test_a_known_ahead_row_of_the_future_is_good_and_the_present_day_too(
    make_project: Make, sales: Sales, clock: ManualClock
) -> None:
    project = make_project()
    result = take(project, clock, sales(), {"date": "2024-06-05", "units": None}, {"date": "2024-06-01"})
    assert result.quarantined == 0


def test_rows_that_say_the_same_are_one_row(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    project = make_project()
    good = sales()
    result = take(project, clock, pl.concat([good, good.head(50)]))
    assert (result.added, result.quarantined) == (good.height, 0)


def test_of_rows_that_contradict_each_other_the_last_stays(
    make_project: Make, sales: Sales, clock: ManualClock
) -> None:
    project = make_project()
    result = take(project, clock, sales(), {"units": "1"}, {"units": "2"}, {"units": "5"})
    assert result.reasons == {"duplicate": 2}
    assert sorted(quarantined(project)["units"].cast(pl.Float64)) == [1, 2]
    rows = table.read(project.table)
    assert rows.filter(pl.col("date") == datetime(2024, 2, 1, tzinfo=UTC).replace(tzinfo=None))["units"].to_list() == [
        5
    ]


def test_too_many_bad_rows_change_nothing(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    project = make_project()
    before = take(project, clock, sales())
    bad = [{"units": "?", "date": f"2024-02-{day:02d}"} for day in range(1, 29)]
    with pytest.raises(DataError, match=r"28 of \d+ rows of the source are bad .*type:units 28") as caught:
        take(project, clock, sales(), *bad)
    assert caught.value.code == "too_many_bad_rows"
    assert table.head(project.table) == before.version
    assert quarantined(project).height == 28


def test_too_many_bad_rows_make_no_table(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    project = make_project()
    with pytest.raises(DataError):
        take(project, clock, sales().head(1), {"units": "?"})
    assert not project.table.exists()


def test_the_same_bad_rows_twice_are_one_quarantine_file(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    project = make_project()
    for _ in range(2):
        take(project, clock, sales(), {"units": "?"})
    assert quarantined(project).height == 1


def test_rows_told_later_are_held_against_the_contract_too(
    make_project: Make, sales: Sales, clock: ManualClock
) -> None:
    project = make_project({"max_bad_share": 1.0})
    take(project, clock, sales())
    told = pl.DataFrame(
        {"shop": ["a", "a"], "item": ["x", "x"], "date": ["2024-05-30", "2024-05-31"], "units": [4.0, -1]}
    )
    result = ingest_frame(project, clock, told, label="outcomes")
    assert (result.added, result.reasons) == (1, {"negative:units": 1})


def test_stale_data_and_gaps_are_warnings(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    project = make_project({"max_age": 10, "max_gap": 3})
    frame = sales().filter(~pl.col("date").is_between(pl.date(2024, 3, 10), pl.date(2024, 3, 14)))
    warnings = " ".join(take(project, clock, frame).warnings)
    assert "stale: the newest data are of 2024-04-29, 33 steps ago" in warnings
    assert "gaps: 4 holes longer than" in warnings


def test_fresh_whole_data_have_no_warnings(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    clock.advance(-timedelta(days=32))
    assert take(make_project({"max_age": 10, "max_gap": 6}), clock, sales()).warnings == ()


def test_weeks_are_held_against_the_weekday_of_the_data(make_project: Make, clock: ManualClock) -> None:
    project = make_project({"max_bad_share": 1.0}, frequency="1w", known_ahead=[], static=[], series=["shop"])
    days = [datetime(2024, 1, 3, tzinfo=UTC) + timedelta(weeks=week) for week in range(10)]
    frame = pl.DataFrame({"shop": "a", "date": [*days, days[-1] + timedelta(days=3)], "units": range(11)})
    frame.write_parquet(project.root / "sales.parquet")
    result = ingest(project, clock, source="sales.parquet")
    assert (result.added, result.reasons) == (10, {"off_grid": 1})
