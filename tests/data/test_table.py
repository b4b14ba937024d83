"""The versioned table: what it says depends on the rows alone, and every version can be read back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everloop.core.clock import ManualClock
from everloop.core.errors import IntegrityError, NotFoundError
from everloop.core.project import Project
from everloop.data import table, table_draft, table_files
from everloop.data.ingest import ingest, ingest_frame
from everloop.data.merging import content_digest
from everloop.data.stack import MonthSpill, bytes_of
from everloop.data.table import Merge
from everloop.data.table_columns import Columns

Make = Callable[..., Project]
Sales = Callable[..., pl.DataFrame]
COLUMNS = Columns(("item",), "at", "units", ("price", "kind"))
NOW = datetime(2024, 6, 1, tzinfo=UTC)
MONTH_OF = {"x": 0, "y": 40, "z": 0}
"""Some writers meet in one month, some do not."""
FIRST = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def rows_of(*rows: tuple[str, int, float | None, float | None, str | None]) -> pl.DataFrame:
    """Rows of item, day, units, price, kind."""
    schema: dict[str, Any] = {
        "item": pl.String,
        "at": pl.Int64,
        "units": pl.Float64,
        "price": pl.Float64,
        "kind": pl.String,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns((pl.lit(FIRST) + pl.duration(days=pl.col("at"))).cast(pl.Datetime("us")).alias("at"))


def put(
    path: Path,
    frame: pl.DataFrame,
    *,
    now: datetime = NOW,
    origin: str = "",
    rows_in_part: int = 1_000,
    memory: int = 10**9,
) -> Merge:
    spill = MonthSpill(COLUMNS, rows_in_part=rows_in_part, bytes_in_memory=memory)
    for part in frame.iter_slices(5):
        spill.add(part)
    try:
        return table.merge(path, COLUMNS, spill, now=now, origin=origin)
    finally:
        spill.close()


number = st.one_of(st.none(), st.floats(-5, 5, width=16))
row = st.tuples(
    st.sampled_from(["x", "y", "z"]), st.integers(0, 90), number, number, st.sampled_from([None, "p", "q", ""])
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    days=st.lists(st.lists(row, min_size=1, max_size=30, unique_by=lambda each: each[:2]), min_size=1, max_size=3),
    rows_in_part=st.integers(1, 9),
    memory=st.integers(0, 2_000),
)
def test_a_month_in_parts_is_what_it_is_in_one(
    tmp_path_factory: pytest.TempPathFactory, days: list[list[Any]], rows_in_part: int, memory: int
) -> None:
    """The same digests, counts and rows, whatever is cut or lies on disk, and whichever file brings the rows."""
    folder = tmp_path_factory.mktemp("parts")
    for place, rows in enumerate([*days, days[-1]]):
        frame, origin = rows_of(*rows), str(place % 2)
        whole = put(folder / "whole", frame, origin=origin)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table_files, "ROWS_IN_PART", rows_in_part)
            patch.setattr(table_draft, "ROWS_IN_PART", rows_in_part)
            patch.setattr(table_files, "_BYTES_AT_ONCE", 0)
            parts = put(folder / "parts", frame, origin=origin, rows_in_part=rows_in_part, memory=memory)
            read = table.read(folder / "parts")
        assert (parts.added, parts.corrected, parts.unchanged) == (whole.added, whole.corrected, whole.unchanged)
        assert (parts.version.digest, parts.version.rows) == (whole.version.digest, whole.version.rows)
        assert table.month_digests(folder / "parts") == table.month_digests(folder / "whole")
        assert read.sort("item", "at").equals(table.read(folder / "whole").sort("item", "at"))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(row, min_size=1, max_size=30, unique_by=lambda each: each[:2]),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    random=st.randoms(use_true_random=False),
)
def test_order_and_batches_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], cuts: list[int], random: Any
) -> None:
    folder = tmp_path_factory.mktemp("table")
    whole = put(folder / "whole", rows_of(*rows)).version
    shuffled = list(rows)
    random.shuffle(shuffled)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    later = NOW
    for start, end in itertools.pairwise(edges):
        if start < end:
            later += timedelta(days=1)
            put(folder / "parts", rows_of(*shuffled[start:end]), now=later)
    made = table.head(folder / "parts")
    assert made is not None
    assert (made.digest, made.rows) == (whole.digest, whole.rows)
    again = put(folder / "parts", rows_of(*shuffled), now=later)
    assert (again.is_changed, again.added, again.corrected) == (False, 0, 0)
    assert table.head(folder / "parts") == made


def test_texts_count_with_where_they_lie() -> None:
    frame = pl.DataFrame({"short": ["a"] * 1000, "long": ["b" * 100] * 1000, "number": [1.0] * 1000})
    assert 1000 * (16 + 116 + 8) <= bytes_of(frame) <= 1000 * (17 + 116 + 8) + 100


@given(rows=st.lists(row, min_size=2, max_size=12, unique_by=lambda each: each[:2]), which=st.integers(0, 100))
def test_another_value_is_another_digest(rows: list[Any], which: int) -> None:
    place = which % len(rows)
    item, day, units, price, kind = rows[place]
    changed = (item, day, 7.25 if units is None else None, price, kind)
    other = [*rows[:place], changed, *rows[place + 1 :]]
    assert content_digest(rows_of(*rows), COLUMNS) != content_digest(rows_of(*other), COLUMNS)


def test_an_empty_value_is_no_zero_and_no_neighbour() -> None:
    digests = {
        content_digest(rows_of(*rows), COLUMNS)
        for rows in [
            [("x", 0, 0.0, None, None)],
            [("x", 0, None, 0.0, None)],
            [("x", 0, None, None, None)],
            [("x", 0, None, None, "")],
            [("xp", 0, 0.0, None, "q")],
            [("x", 0, 0.0, None, "pq")],
        ]
    }
    assert len(digests) == 6


def test_only_the_touched_months_are_written(tmp_path: Path) -> None:
    put(tmp_path / "t", rows_of(("x", 0, 1, 1, "p"), ("x", 40, 1, 1, "p"), ("x", 80, 1, 1, "p")))
    before = set(DeltaTable(tmp_path / "t").file_uris())
    result = put(tmp_path / "t", rows_of(("x", 40, 2, 1, "p")), origin="other")
    assert (result.added, result.corrected, result.unchanged) == (0, 1, 0)
    assert len(before & set(DeltaTable(tmp_path / "t").file_uris())) == 2


def test_a_correction_keeps_when_the_truth_was_first_known(tmp_path: Path) -> None:
    put(tmp_path / "t", rows_of(("x", 0, None, 1.5, "p")))
    put(tmp_path / "t", rows_of(("x", 0, 3, None, None)), now=NOW + timedelta(days=1))
    put(tmp_path / "t", rows_of(("x", 0, 4, 1.5, "q")), now=NOW + timedelta(days=2))
    put(tmp_path / "t", rows_of(("x", 0, None, None, None)), now=NOW + timedelta(days=3))
    (found,) = table.read(tmp_path / "t").rows(named=True)
    first = NOW.replace(tzinfo=None)
    assert (found["units"], found["price"], found["kind"]) == (4, 1.5, "q")
    assert found["_ingested_at"] == first + timedelta(days=2)
    assert found["_known_at"] == first + timedelta(days=1)


def test_a_value_that_is_taken_back_is_taken_back(tmp_path: Path) -> None:
    for units in (1.0, 2.0, 1.0):
        put(tmp_path / "t", rows_of(("x", 0, units, 1, "p")), origin="source")
        assert table.read(tmp_path / "t")["units"].to_list() == [units]


def test_a_source_that_says_nothing_new_does_not_undo_what_others_told(tmp_path: Path) -> None:
    put(tmp_path / "t", rows_of(("x", 0, 1, 1, "p")), origin="source")
    put(tmp_path / "t", rows_of(("x", 0, 5, None, None)), origin="outcomes")
    assert not put(tmp_path / "t", rows_of(("x", 0, 1, 1, "p")), origin="source").is_changed
    assert table.read(tmp_path / "t")["units"].to_list() == [5]
    put(tmp_path / "t", rows_of(("x", 0, 2, 1, "p")), origin="source")
    assert table.read(tmp_path / "t")["units"].to_list() == [2]


def test_what_another_origin_said_is_still_news(tmp_path: Path) -> None:
    for origin, units in (("source", 1.0), ("outcomes", 2.0), ("outcomes", 1.0)):
        put(tmp_path / "t", rows_of(("x", 0, units, 1, "p")), origin=origin)
        assert table.read(tmp_path / "t")["units"].to_list() == [units]


def test_every_version_reads_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "t"
    states = []
    for day in range(6):
        frame = rows_of(("x", day * 10, day, 1, "p"), ("x", 0, day, None, None))
        made = put(path, frame.unique(["item", "at"], keep="last"), now=NOW + timedelta(days=day)).version
        states.append((made, table.read(path)))
    assert [each for each, _ in states] == table.versions(path)
    for made, then in states:
        assert table.read(path, version=made.version).equals(then)
        assert table.head(path, made.version) == made
        assert table.as_of(path, made.at + timedelta(hours=1)) == made
        assert table.read(path, version=made.version).height == made.rows
    with pytest.raises(NotFoundError) as early:
        table.as_of(path, NOW - timedelta(days=1))
    assert early.value.code == "dataset_as_of"
    with pytest.raises(NotFoundError) as unknown:
        table.head(path, 99)
    assert unknown.value.code == "dataset_version"


def test_no_table_is_said(tmp_path: Path) -> None:
    assert table.head(tmp_path / "t") is None
    assert table.versions(tmp_path / "t") == []
    with pytest.raises(NotFoundError) as caught:
        table.read(tmp_path / "t")
    assert "everloop ingest" in caught.value.hint


def test_a_foreign_table_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", rows_of(("x", 0, 1, 1, "p")).to_arrow())
    with pytest.raises(IntegrityError, match="not made by Everloop"):
        table.head(tmp_path / "t")


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Also when the table does not exist yet: the losers of each race read again and merge anew."""
    start = threading.Barrier(3)
    failures: list[BaseException] = []

    def write(item: str) -> None:
        start.wait()
        try:
            for day in range(3):
                put(tmp_path / "t", rows_of((item, MONTH_OF[item] + day, day, 1, "p")), origin=item)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(item,)) for item in "xyz"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures
    rows = [(item, MONTH_OF[item] + day, day, 1, "p") for item in "xyz" for day in range(3)]
    expected = put(tmp_path / "u", rows_of(*rows)).version
    made = table.head(tmp_path / "t")
    assert made is not None
    assert (made.digest, made.rows) == (expected.digest, 9)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("day", [0, 40])
def test_a_commit_that_comes_between_is_merged_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool, day: int
) -> None:
    """In the same month or in another one: the version's description speaks of both."""
    write = table._write
    if exists:
        put(tmp_path / "t", rows_of(("w", 5, 1, 1, "p")))

    def write_late(*arguments: Any) -> None:
        monkeypatch.setattr(table, "_write", write)
        put(tmp_path / "t", rows_of(("y", day, 2, 1, "p")), origin="between")
        write(*arguments)

    monkeypatch.setattr(table, "_write", write_late)
    result = put(tmp_path / "t", rows_of(("x", 0, 3, 1, "p")))
    rows = [("x", 0, 3, 1, "p"), ("y", day, 2, 1, "p")] + ([("w", 5, 1, 1, "p")] if exists else [])
    assert result.version.digest == put(tmp_path / "u", rows_of(*rows)).version.digest
    assert table.head(tmp_path / "t") == result.version
    assert table.read(tmp_path / "t").height == len(rows)


def test_a_column_may_come_later(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    first = make_project(known_ahead=["price"], static=[])
    all_days = sales(days=70)
    all_days.filter(pl.col("date") <= pl.date(2024, 4, 29)).write_csv(first.root / "sales.csv")
    ingest(first, clock)
    more = make_project(observed=["weather"])
    fresh = all_days.filter(pl.col("date") > pl.date(2024, 4, 25))
    fresh.with_columns(pl.lit("sunny").alias("weather")).write_csv(more.root / "sales.csv")
    ingest(more, clock)
    rows = table.read(more.table, columns=["date", "event", "weather"])
    is_fresh = pl.col("date") > pl.date(2024, 4, 25)
    assert rows.filter(~is_fresh)["weather"].null_count() == rows.filter(~is_fresh).height
    assert rows.filter(is_fresh)["weather"].unique().to_list() == ["sunny"]


def test_outcomes_may_come_before_their_rows_and_in_a_new_month(
    make_project: Make, sales: Sales, clock: ManualClock
) -> None:
    project = make_project()
    frame = sales()
    frame.write_csv(project.root / "sales.csv")
    ingest(project, clock)
    told = frame.filter(pl.col("date") > pl.date(2024, 4, 1))
    told = told.select("shop", "item", pl.col("date") + pl.duration(days=30), "units").tail(40)
    result = ingest_frame(project, clock, told, label="outcomes")
    assert (result.added, result.quarantined) == (40, 0)
    late = table.read(project.table).filter(pl.col("date") > pl.date(2024, 4, 29))
    assert late["price"].null_count() == late.height
    assert late["event"].dtype == pl.String


def test_the_same_file_twice_is_one_version(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    project = make_project()
    sales().write_csv(project.root / "sales.csv")
    first = ingest(project, clock)
    clock.advance(timedelta(days=1))
    again = ingest(project, clock)
    assert (again.changed, again.version, again.unchanged) == (False, first.version, first.added)
    sales().sample(fraction=1.0, shuffle=True, seed=1).write_csv(project.root / "sales.csv")
    assert ingest(project, clock).version == first.version
    assert len(table.versions(project.table)) == 1


def test_a_replay_day_by_day_ends_where_the_whole_ends(make_project: Make, sales: Sales, clock: ManualClock) -> None:
    whole, walk = make_project(name="whole"), make_project(name="walk")
    for project in (whole, walk):
        sales().write_csv(project.root / "sales.csv")
    expected = ingest(whole, clock).version
    for day in range(61):
        at = datetime(2024, 3, 1, 3, tzinfo=UTC) + timedelta(days=day)
        until = at.replace(hour=0) - timedelta(microseconds=1)
        if day:
            ingest(walk, ManualClock(at), until=until)
            rows = table.read(walk.table)
            assert rows.filter(pl.col("units").is_not_null())["date"].max() <= until.replace(tzinfo=None)  # type: ignore[operator]
    made = table.head(walk.table)
    assert made is not None
    assert (made.digest, made.rows) == (expected.digest, expected.rows)
