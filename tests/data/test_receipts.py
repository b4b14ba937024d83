"""A source that did not change is not read again; whatever could change the outcome makes it be read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

import everloop
from everloop.core.clock import ManualClock
from everloop.core.project import Project
from everloop.data import ingest as module
from everloop.data.ingest import ingest, ingest_frame

Make = Callable[..., Project]
Sales = Callable[..., pl.DataFrame]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were read."""
    found: list[str] = []

    def take(self: Any, raw: pl.DataFrame, *more: Any) -> None:
        found.append(self.origin)
        original(self, raw, *more)

    original = module._Ingestion._take
    monkeypatch.setattr(module._Ingestion, "_take", take)
    return found


@pytest.fixture
def project(make_project: Make, sales: Sales) -> Project:
    made = make_project(source="sales.parquet", contract={"max_age": 30, "max_gap": 1})
    sales().write_parquet(made.root / "sales.parquet")
    return made


def test_the_second_time_nothing_is_read_and_the_same_is_said(
    project: Project, clock: ManualClock, reads: list[str]
) -> None:
    first = ingest(project, clock)
    second = ingest(project, clock)
    assert reads == ["sales.parquet"]
    assert (second.version, second.warnings) == (first.version, first.warnings)
    assert len(first.warnings) == 2  # stale, and gaps
    assert (second.added, second.unchanged, second.changed) == (0, first.added, False)


def test_another_time_of_the_file_alone_does_not_matter(project: Project, clock: ManualClock, reads: list[str]) -> None:
    ingest(project, clock)
    (project.root / "sales.parquet").touch()
    ingest(project, clock)
    assert reads == ["sales.parquet"]


def test_age_is_that_of_today(project: Project, clock: ManualClock) -> None:
    before = ingest(project, clock).warnings[0]
    clock.advance(timedelta(days=5))
    after = ingest(project, clock).warnings[0]
    assert before != after
    assert "steps ago" in after


@pytest.mark.parametrize("change", ["a row", "the table", "a setting", "Everloop"])
def test_what_could_change_the_outcome_makes_it_be_read(
    project: Project,
    clock: ManualClock,
    reads: list[str],
    sales: Sales,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    make_project: Make,
) -> None:
    ingest(project, clock)
    frame = sales()
    if change == "a row":
        frame = frame.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(99.0).otherwise("units").alias("units"))
        frame.write_parquet(project.root / "sales.parquet")
    elif change == "the table":
        row = frame.head(1).with_columns(pl.lit(99.0).alias("units"))
        assert ingest_frame(project, clock, row, label="row").corrected == 1
    elif change == "a setting":
        project = make_project(source="sales.parquet", contract={"max_age": 30, "max_gap": 2})
    else:
        monkeypatch.setattr(everloop, "__version__", "0.0.0")
    clock.advance(timedelta(hours=1))
    again = ingest(project, clock)
    assert reads.count("sales.parquet") == 2
    assert again.corrected == (1 if change == "a row" else 0)


@pytest.mark.parametrize("units", [-1.0, None], ids=["a row set aside", "a day without a target so far"])
def test_rows_that_may_be_judged_otherwise_tomorrow_are_read_again(
    project: Project, clock: ManualClock, reads: list[str], sales: Sales, units: float | None
) -> None:
    frame = sales()
    today = pl.lit(clock.now().date()).cast(frame["date"].dtype)
    odd = frame.tail(1).with_columns(pl.lit(units, dtype=pl.Float64).alias("units"), today.alias("date"))
    pl.concat([frame, odd.cast(frame.schema)]).write_parquet(project.root / "sales.parquet")
    assert ingest(project, clock).quarantined == (units is not None)
    ingest(project, clock)
    assert len(reads) == 2


def test_a_broken_receipt_is_none(project: Project, clock: ManualClock, reads: list[str]) -> None:
    ingest(project, clock)
    (project.home / f"{project.table.name}.taken.json").write_text("{")
    ingest(project, clock)
    ingest(project, clock)
    assert len(reads) == 2


def test_a_table_that_was_taken_away_is_made_anew(project: Project, clock: ManualClock) -> None:
    first = ingest(project, clock)
    shutil.rmtree(project.table)
    assert ingest(project, clock).added == first.added
