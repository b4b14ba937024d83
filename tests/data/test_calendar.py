"""Calendar columns: the days they name, never missing ahead, the same from any cutoff and history, by series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from everloop.core.clock import ManualClock
from everloop.core.errors import DataError, SettingsError
from everloop.core.frequency import Frequency
from everloop.core.project import Project
from everloop.data.calendar import with_calendar
from everloop.data.calendar_days import payday_days
from everloop.data.ingest import ingest
from everloop.data.loading import load_panel
from everloop.data.panel import Future, Panel

HORIZON = 28
LAST = date(2023, 12, 10)
LAST_INSTANT = datetime.combine(LAST, time())


def panel_of(places: tuple[str, ...] = ("US", "DE-BY"), *, frequency: str = "1d", periods: int = 400) -> Panel:
    grid = Frequency.parse(frequency).anchored_for(LAST_INSTANT)
    n = len(places)
    return Panel(
        frequency=grid,
        series_columns=("item",),
        keys=tuple((f"i{number}",) for number in range(n)),
        cutoff=grid.index_of(LAST_INSTANT),
        offsets=np.arange(n + 1, dtype=np.int64) * periods,
        y=np.ones(n * periods, dtype=np.float32),
        static={"country": np.searchsorted(sorted(set(places)), places).astype(np.float32)},
        categories={"country": tuple(sorted(set(places)))},
        future=Future(0, {}),
    )


def ahead(panel: Panel, column: str, series: int, day: date) -> float:
    return float(panel.future.columns[column][series, (day - LAST).days - 1])


def past(panel: Panel, column: str, series: int, day: date) -> float:
    return float(panel.known[column][panel.offsets[series + 1] - 1 - (LAST - day).days])


def test_holidays_by_series_have_names_and_distances() -> None:
    panel = with_calendar(panel_of(), ["holidays:{country}"], root=Path(), horizon=HORIZON)
    names = panel.categories["holiday_country"]

    def name(series: int, day: date) -> str:
        where = ahead if day > LAST else past
        return names[int(where(panel, "holiday_country", series, day))]

    assert name(0, date(2023, 12, 25)) == "Christmas Day"
    assert name(1, date(2023, 12, 26)) == "Second Day of Christmas"
    assert name(0, date(2023, 12, 26)) == "none"
    assert name(0, date(2023, 11, 23)) == "Thanksgiving Day"
    assert name(1, date(2023, 11, 23)) == "none"
    assert name(1, date(2023, 11, 1)) == "All Saints' Day"
    to = [ahead(panel, "days_to_holiday_country", 0, date(2023, 12, 25) + timedelta(days=n)) for n in (-3, 0, 1)]
    since = [ahead(panel, "days_since_holiday_country", 0, date(2023, 12, 25) + timedelta(days=n)) for n in (-3, 0, 1)]
    assert to == [3, 0, 6]
    assert since == [29, 0, 1]  # Thanksgiving was 29 days before the 22nd


@pytest.mark.parametrize("cut", [1, 27, 28, 29, 300])
def test_no_value_is_missing_ahead_and_cutting_back_is_making_it_anew(cut: int) -> None:
    names = ["holidays:{country}", "paydays:15,last", "school_holidays:DE-BY"]
    bare = panel_of()
    whole = with_calendar(bare, names, root=Path(), horizon=HORIZON)
    then = whole.until(whole.cutoff - cut, horizon=HORIZON)
    anew = with_calendar(bare.until(bare.cutoff - cut, horizon=HORIZON), names, root=Path(), horizon=HORIZON)
    assert then.categories == anew.categories
    assert sorted(then.known) == sorted(anew.known)
    for column, block in anew.future.columns.items():
        assert block.shape == (2, HORIZON)
        assert np.isfinite(block).all()
        assert np.array_equal(then.future.columns[column], block)
        assert np.array_equal(then.known[column], anew.known[column])
        assert np.isfinite(then.known[column]).all()


def test_distances_beside_a_naive_count() -> None:
    panel = with_calendar(panel_of(("US",)), ["paydays:15,last"], root=Path(), horizon=HORIZON)
    days = [LAST + timedelta(days=n) for n in range(-399, HORIZON + 1)]

    def is_payday(day: date) -> bool:
        return day.day == 15 or (day + timedelta(days=1)).day == 1

    for column, sign in (("days_to_payday_15_last", 1), ("days_since_payday_15_last", -1)):
        values = np.concatenate([panel.known[column], panel.future.columns[column][0]])
        expected = [next(n for n in range(40) if is_payday(day + timedelta(days=sign * n))) for day in days]
        assert values.tolist() == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("15,last", ["2024-02-15", "2024-02-29", "2024-03-15", "2024-03-31"]),
        ("15,last,workday", ["2024-02-15", "2024-02-29", "2024-03-15", "2024-03-29"]),
        ("31", ["2024-02-29", "2024-03-31"]),
        (
            "friday",
            [f"2024-02-{day:02d}" for day in (2, 9, 16, 23)] + [f"2024-03-{day:02d}" for day in (1, 8, 15, 22, 29)],
        ),
    ],
)
def test_paydays(rule: str, expected: list[str]) -> None:
    first, last = (int(np.datetime64(day).astype(int)) for day in ("2024-02-01", "2024-03-31"))
    found = payday_days(rule, first, last).days
    inside = found[(found >= first) & (found <= last)]
    assert [str(each) for each in inside.astype("M8[D]")] == expected


def test_weeks_hold_the_holidays_within_them() -> None:
    panel = with_calendar(panel_of(("US",), frequency="1w", periods=60), ["holidays:US"], root=Path(), horizon=4)
    names = panel.categories["holiday_US"]
    starts = [str(each)[:10] for each in panel.ahead(4)]
    assert starts == ["2023-12-17", "2023-12-24", "2023-12-31", "2024-01-07"]
    told = [names[int(code)] for code in panel.future.columns["holiday_US"][0]]
    assert told == ["none", "Christmas Day", "New Year's Day", "none"]
    assert panel.future.columns["days_to_holiday_US"][0].tolist() == [8, 0, 0, 8]
    assert panel.future.columns["days_since_holiday_US"][0].tolist() == [30, 0, 0, 12]


def test_school_holidays_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "breaks.csv").write_text("start,end\n2022-07-01,2022-08-31\n2023-12-20,2024-01-05\n")
    panel = with_calendar(
        panel_of(("US",), periods=200), ["school_holidays:breaks.csv"], root=tmp_path, horizon=HORIZON
    )
    block = panel.future.columns["school_holiday_breaks"][0]
    inside = [date(2023, 12, 20) <= LAST + timedelta(days=n + 1) <= date(2024, 1, 5) for n in range(HORIZON)]
    assert block.tolist() == inside


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("holiday:US", "calendar_name"),
        ("paydays:41", "calendar_name"),
        ("paydays:workday", "calendar_name"),
        ("holidays:XX", "calendar_place"),
        ("holidays:DE-QQ", "calendar_place"),
        ("holidays:{shop}", "calendar_place"),
        ("school_holidays:US", "calendar_place"),
        ("school_holidays:none.csv", "calendar_file"),
        ("school_holidays:old.csv", "calendar_years"),
    ],
)
def test_what_is_not_known_is_named(tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "old.csv").write_text("start,end\n2021-07-01,2021-08-31\n")
    with pytest.raises((DataError, SettingsError)) as caught:
        with_calendar(panel_of(), [name], root=tmp_path, horizon=HORIZON)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_column_of_the_data_is_not_overwritten() -> None:
    panel = panel_of()
    taken = replace(panel, observed={"holiday_US": panel.y})
    with pytest.raises(DataError, match="holiday_US"):
        with_calendar(taken, ["holidays:US"], root=Path(), horizon=HORIZON)


def test_from_the_table_it_is_the_same_for_any_history(
    make_project: Callable[..., Project], clock: ManualClock, sales: Callable[..., pl.DataFrame]
) -> None:
    project = make_project(calendar=["holidays:US", "paydays:15,last"], missing_ahead="last")
    sales(60).write_parquet(project.root / "sales.parquet")
    ingest(project, clock, source="sales.parquet")
    whole, _ = load_panel(project, horizon=7)
    tail, _ = load_panel(project, history=20, horizon=7)
    assert {"holiday_US", "days_to_holiday_US", "days_since_payday_15_last", "price", "event"} <= set(whole.known)
    for name in ("holiday_US", "days_to_holiday_US", "days_to_payday_15_last"):
        assert np.array_equal(whole.tail(20).known[name][-20:], tail.known[name][-20:])
        assert np.array_equal(whole.future.columns[name], tail.future.columns[name])
        assert np.isfinite(whole.future.columns[name]).all()
