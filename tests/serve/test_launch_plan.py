"""Plans of launches: every form that a table may give them, and what it cannot say."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from everloop.core.errors import DataError, NotFoundError
from everloop.data.panel import Panel
from everloop.serve.batch.plan import LaunchPlan, read_plan
from everloop.serve.served import Served, load_served, wanted_in

STEPS = 3
"""The forecast goes from 2026-03-01 to 2026-03-03."""


def with_static(panel: Panel) -> Panel:
    """A department that is a text, and a size that is a number."""
    code = (np.arange(panel.n_series) % 3 == 0).astype(np.float32)
    return replace(
        panel,
        static={"dept": code, "size": code + 1},
        categories={**panel.categories, "dept": ("007", "large")},
    )


@pytest.fixture
def served(world: Any) -> Served:
    world.panel = with_static(world.panel)
    world.champion()
    return load_served(world.project, world.store, wanted_in(world.store, "champion"))


def plan(table: Any, served: Served) -> LaunchPlan:
    frame = table if isinstance(table, pl.DataFrame) else pl.DataFrame(table)
    return LaunchPlan.of(frame, served, time="date", horizon=STEPS, path="plan.csv")


ONE = {"store_id": ["S1"], "item_id": ["x"], "dept": ["007"], "size": ["1.5"]}
DAYS = ["2026-03-01", "2026-03-02", "2026-03-03"]


def by_date(**columns: list[Any]) -> dict[str, list[Any]]:
    n = len(next(iter(columns.values())))
    return {name: values * n for name, values in ONE.items()} | columns


def test_one_row_tells_of_all_steps(served: Served) -> None:
    found = plan({**ONE, "price": ["2.5"], "event": [" fair "]}, served)
    static = {"dept": "007", "size": 1.5}
    future = {"price": [2.5] * STEPS, "event": ["fair"] * STEPS}
    assert found.series == ({"store_id": "S1", "item_id": "x", "static": static, "future": future},)
    assert found.notes == ()


def test_types_of_a_file_make_no_difference(served: Served, tmp_path: Path) -> None:
    typed = {"store_id": ["S1", "S0"], "item_id": [12.0, 7.0], "dept": ["large", None], "size": [2, None]}
    pl.DataFrame(typed).write_parquet(tmp_path / "plan.parquet")
    (tmp_path / "plan.csv").write_text("size,dept,price,item_id,store_id\n,,,7,S0\n2.0,large,,12,S1\n")
    one, other = (plan(read_plan(tmp_path / name), served) for name in ("plan.parquet", "plan.csv"))
    assert one == other
    assert [each["item_id"] for each in one.series] == ["7", "12"]
    assert one.series[0]["static"] == {"dept": None, "size": None}
    assert one.series[0]["future"] == {}, "a price that is told of none is not told"


def test_dates_tell_of_their_steps(served: Served) -> None:
    told = [date(2026, 3, 3), date(2026, 3, 1), date(2026, 3, 2)]
    found = plan(by_date(date=told, price=[3.0, 1.0, 2.0]), served)
    assert found.series[0]["future"] == {"price": [1.0, 2.0, 3.0]}
    assert found.notes == ()


def test_dates_that_are_not_forecast_and_dates_that_are_not_told_are_noted(served: Served) -> None:
    told = ["2026-02-28", "2026-03-02", "2026-03-03T08:00:00Z", "2026-03-04"]
    found = plan(by_date(date=told, price=[1.0, 2.0, None, 4.0]), served)
    assert found.series[0]["future"] == {"price": [None, 2.0, None]}
    assert found.notes == (
        "2 rows are left out of plan.csv: the forecast goes from 2026-03-01 to 2026-03-03",
        "1 new series has no row for some dates, whose known-ahead values count as not told",
    )


@pytest.mark.parametrize(
    ("table", "code", "told"),
    [
        ({"store_id": ["S1"], "item_id": ["x"], "dept": ["007"]}, "column_missing", "leave its cells empty"),
        ({**ONE, "prices": ["1"]}, "launch_column", "did you mean 'price'?"),
        ({**ONE, "units": ["1"]}, "launch_column", "leave out"),
        ({name: [] for name in ONE}, "launch_empty", "a row for each"),
        ({**ONE, "item_id": [" "]}, "launch_series", "row 1 of plan.csv has no 'item_id'"),
        ({**ONE, "item_id": ["item/1"]}, "launch_known", "'S1/item%2F1' is no new series"),
        ({name: values * 2 for name, values in ONE.items()}, "launch_twice", "rows 1 and 2"),
        ({**ONE, "dept": ["larg"]}, "static_value", "did you mean 'large'?"),
        ({**ONE, "size": ["big"]}, "static_value", "row 1 of plan.csv has 'big' in 'size'"),
        ({**ONE, "price": ["1e39"]}, "future_value", "which is no number"),
        ({**ONE, "price": ["inf"]}, "future_value", "which is no number"),
        ({**ONE, "event": ["fare"]}, "future_value", "did you mean 'fair'?"),
        (by_date(date=["2026-03-01", "1.3.2026"]), "launch_time", "write it as 2026-03-01"),
        (by_date(date=["2026-03-01", None]), "launch_time", "row 2"),
        (by_date(date=["2026-03-01", "2026-03-01"]), "launch_twice", "for one period"),
        (by_date(date=["2025-03-01", "2025-03-02"]), "launch_dates", "from 2026-03-01 to 2026-03-03"),
        (by_date(date=DAYS) | {"dept": ["007", "007", None]}, "launch_static", "None in row 3"),
    ],
)
def test_what_cannot_be_is_told(served: Served, table: Any, code: str, told: str) -> None:
    with pytest.raises(DataError) as raised:
        plan(table, served)
    error = raised.value
    assert (error.code, error.path) == (code, "plan.csv")
    assert told in f"{error.message}; {error.hint}"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_plan(tmp_path / "plan.csv")
    for name, content, code in [("plan.xlsx", b"PK", "source_format"), ("plan.parquet", b"PAR", "source_unreadable")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as raised:
            read_plan(tmp_path / name)
        assert (raised.value.code, raised.value.path) == (code, str(tmp_path / name))
